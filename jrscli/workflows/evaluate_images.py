"""How alike the fixed image and the moved one look, before and after a registration. Pure: no files, no printing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.similarity import similarity
from jrscli.metrics.value import Value
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.body import CT_AIR_HU, segment_body

MOST_VOXELS = 500_000
"""Every n-th voxel of larger images is looked at: the figures are shown, not gated."""


def evaluate_images(
    fixed: Volume, moving: Geometry, transform: Transform, before: Volume, after: Volume, *, same_contrast: bool = True
) -> Evaluation:
    """``ncc.v1``, ``nmi.v1`` and ``mean_abs_diff.v1`` of the fixed image with the moving one, before and after registration.

    before, after: the moving image on the grid of the fixed one. They are compared where the moving image reaches after the
    registration; of a CT within the patient's outline, and the difference is in HU. Images of two contrasts have no
    difference.
    """
    stride = max(1, int(np.ceil((fixed.array.size / MOST_VOXELS) ** (1 / 3))))
    grid, still = _every(fixed, stride)
    is_ct = float(still.min()) <= CT_AIR_HU
    reached = _reached(grid, moving, transform)
    body = segment_body(Volume(still, grid)) if is_ct else np.ones(grid.shape, np.bool_)
    mask: Bool[np.ndarray, "i j k"] = reached & (body if (body & reached).any() else True)
    rows = []
    for name, image in (("before", before), ("after", after)):
        values = similarity(still, _every(image, stride)[1], mask)
        named = {value.id: _with_unit(value, is_ct=is_ct, same_contrast=same_contrast) for value in values}
        rows.append(Row(name, named))
    where = "patient outline" if is_ct else "overlap"
    return Evaluation("images", tuple(rows), {"spacing_mm": list(grid.spacing_mm), "stride": stride, "region": where})


def _every(image: Volume, stride: int) -> tuple[Geometry, np.ndarray]:
    """Every n-th voxel of an axis that has as many, with the grid of those."""
    steps = [stride if n > stride else 1 for n in image.geometry.shape]
    array = np.ascontiguousarray(image.array[:: steps[0], :: steps[1], :: steps[2]])
    affine = image.geometry.affine.copy()
    affine[:3, :3] *= steps
    i, j, k = array.shape
    return Geometry((i, j, k), affine), array


def _reached(grid: Geometry, moving: Geometry, transform: Transform) -> Bool[np.ndarray, "i j k"]:
    points = grid.index_to_world(np.indices(grid.shape).reshape(3, -1).T)
    return moving.contains(transform.map_points(points)).reshape(grid.shape)


def _with_unit(value: Value, *, is_ct: bool, same_contrast: bool) -> Value:
    if value.id != "mean_abs_diff.v1":
        return value
    if not same_contrast:
        return Value(value.id, None, "", "not_assessed")
    return Value(value.id, value.value, "HU" if is_ct else "", value.status)

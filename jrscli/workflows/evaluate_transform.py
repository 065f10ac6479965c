"""What landmarks and fields say of a transform. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from jrscli.errors import UsageError
from jrscli.metrics import deformation, landmarks, smoothness
from jrscli.metrics.contour_checks import is_body
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.slip import slip
from jrscli.metrics.value import Value
from jrscli.progress import Progress, silent
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.pairing import of_labels, structures_of

Mask = Bool[np.ndarray, "i j k"]


def evaluate_points(
    fixed_mm: Float[np.ndarray, "n 3"],
    moving_mm: Float[np.ndarray, "n 3"],
    transform: Transform | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Evaluation:
    """One row per pair of landmarks with its error in mm before and, given a transform (fixed to moving, pull), after.

    facts: the ``tre.v1`` values over all landmarks.

    Raises InputError `points.pairs`.
    """
    errors = landmarks.landmark_errors(fixed_mm, moving_mm, transform)
    labels = [str(name) for name in names] if names else [str(n + 1) for n in range(len(errors.before_mm))]
    rows = []
    for name, before, after, outside in zip(labels, errors.before_mm, errors.after_mm, errors.outside, strict=True):
        values = {"tre_before.v1": Value("tre_before.v1", float(before), "mm")}
        if transform is not None:
            values["tre.v1"] = Value("tre.v1", float(after), "mm")
        rows.append(Row(name, values, flags=("outside",) if outside else ()))
    facts = {value.id: value.as_json() for value in landmarks.tre(errors)} if transform is not None else {}
    return Evaluation("points", tuple(rows), facts)


def field_geometry(transform: Transform, image: Geometry | None) -> Geometry:
    """The grid to look at a transform on: that of its field, within the fixed image where that is known.

    Raises UsageError `evaluate.grid` for a linear transform without an image.
    """
    field = next((part for part in transform.parts if isinstance(part, DisplacementField)), None)
    if field is None:
        if image is None:
            raise UsageError(
                "a transform has no grid of its own", code="evaluate.grid", hint="name the fixed image: --reference IMAGE"
            )
        return image
    if image is None:
        return field.geometry
    corners = field.geometry.world_to_index(image.corners_mm)
    low = np.maximum(np.ceil(corners.min(axis=0) - 1e-3).astype(int), 0)
    high = np.minimum(np.floor(corners.max(axis=0) + 1e-3).astype(int) + 1, field.geometry.shape)
    if (high - low < 3).any():
        return image
    return field.geometry.cropped_to((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))


def masks_on(part: StructureSet | LabelMap, geometry: Geometry) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """The structures as masks on a grid, by name, and which of them are the outline of the patient."""
    structures = of_labels(resample_labels(part, geometry)) if isinstance(part, LabelMap) else structures_of(part, geometry)
    masks: dict[str, Mask] = {}
    for one in structures:
        if one.box is not None:
            masks[one.name] = np.zeros(geometry.shape, np.bool_)
            masks[one.name][one.box] = one.mask(one.box)
    return masks, tuple(one.name for one in structures if is_body(one.name, one.kind))


def evaluate_field(
    field: DisplacementField | Transform,
    geometry: Geometry | None = None,
    *,
    masks: Mapping[str, Mask] | None = None,
    inverse: Transform | None = None,
    moving: Geometry | None = None,
    stride: int = 1,
    bodies: Collection[str] = (),
    progress: Progress = silent,
) -> Evaluation:
    """Jacobian, folding and smoothness for the whole grid and for each mask; with the inverse its consistency as well.

    geometry: the grid to look at; needed for a Transform, by default the field's own.
    inverse, moving: the map back (moving mm -> fixed mm), and the grid that points must land in (by default ``geometry``).
        With the moving grid the whole image's inverse consistency is looked at from both sides, and the worse is given.
    stride: inverse consistency is taken at every n-th voxel along each axis.
    bodies: names of masks that are the outline of the patient, in which a fold is judged less strictly than in an organ.

    Raises UsageError `evaluate.grid`, GeometryError `grid.mismatch`.
    """
    chain = Transform((field,)) if isinstance(field, DisplacementField) else field
    if isinstance(field, DisplacementField) and geometry is None:
        geometry, dense = field.geometry, field
    elif geometry is None:
        raise UsageError(
            "a transform has no grid of its own", code="evaluate.grid", hint="name the fixed image: --reference IMAGE"
        )
    else:
        dense = chain.displacement(geometry)
    progress("jacobian", 0, 1)
    jacobian = dense.jacobian()
    regions: dict[str, Mask | None] = {"whole image": None, **(masks or {})}
    rows = []
    for done, (name, mask) in enumerate(regions.items()):
        progress("field", done, len(regions))
        values = [
            *deformation.jacobian_values(jacobian, mask),
            *deformation.neg_jac(jacobian, mask),
            deformation.sdlogj(jacobian, mask),
            deformation.ndv(dense, mask),
            smoothness.sdlogj_bench(jacobian, mask),
            smoothness.sdlogj_l2r(dense, mask, jacobian=jacobian),
            smoothness.bending(dense, mask),
        ]
        if mask is not None:
            values += slip(dense, mask)
        if inverse is not None:
            errors = deformation.inverse_consistency(chain, inverse, geometry, moving or geometry, mask, stride=stride)
            if moving is not None and mask is None:
                errors = deformation.worse_of(
                    errors, deformation.inverse_consistency(inverse, chain, moving, geometry, stride=stride)
                )
            values += errors
        flags = ("body",) if name in bodies else ()
        rows.append(Row(name, {value.id: value for value in values}, flags=flags))
    progress("field", len(regions), len(regions))
    facts: dict[str, object] = {"spacing_mm": list(geometry.spacing_mm), "direction": deformation.DIRECTION}
    facts |= {value.id: value.as_json() for value in smoothness.rigid_part(chain, geometry)}
    if inverse is not None:
        facts["stride"] = stride
    return Evaluation("field", tuple(rows), facts)

"""How smooth a field is: variants of SDlogJ that other programs print, bending, and the rigid part of a map."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from jrscli.metrics.deformation import near
from jrscli.metrics.value import Value
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

L2R_CROP = 2


def sdlogj_l2r(
    field: DisplacementField,
    mask: Bool[np.ndarray, "i j k"] | None = None,
    *,
    jacobian: Float[np.ndarray, "i j k"] | None = None,
) -> Value:
    """``sdlogj_l2r.v1``: what Learn2Reg publishes as SDlogJ: SD of ln(clip(J + 3, 1e-9, 1e9)), two voxels cut off each side.

    J is the determinant in voxel units from differences over two voxels (0.5, 0, −0.5). Not comparable with ``sdlogj.v1``.
    jacobian: that of the field, where it is known already.
    Source: the challenge's evaluation script, Hering et al. 2023, doi:10.1109/TMI.2022.3213983.
    """
    name = "sdlogj_l2r.v1"
    if min(field.geometry.shape) <= 2 * L2R_CROP:
        return Value(name, None, "", "not_assessed")
    inner = (slice(L2R_CROP, -L2R_CROP),) * 3
    values = (field.jacobian() if jacobian is None else jacobian)[inner]
    if mask is not None:
        values = values[mask[inner]]
    values = np.log(np.clip(values.astype(np.float64) + 3, 1e-9, 1e9))
    return Value(name, float(values.std()), "") if values.size else Value(name, None, "", "not_assessed")


def sdlogj_bench(jacobian: Float[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None = None) -> Value:
    """``sdlogj_bench.v1``: SD of ln(clip(J, 1e-3, 1e3)) over the region, border included."""
    values = (jacobian if mask is None else jacobian[mask]).astype(np.float64)
    if not values.size:
        return Value("sdlogj_bench.v1", None, "", "not_assessed")
    return Value("sdlogj_bench.v1", float(np.log(np.clip(values, 1e-3, 1e3)).std()), "")


def bending(field: DisplacementField, mask: Bool[np.ndarray, "i j k"] | None = None) -> Value:
    """``bending.v1``: mean squared Frobenius norm of the second derivatives of u in patient mm, mm⁻²; inner voxels.

    The norm does not depend on the direction of the axes, so index space with its voxel size is enough.
    """
    if mask is not None:
        field, mask = near(field, mask)
    shape, spacing = field.geometry.shape, field.geometry.spacing_mm
    if min(shape) < 3:
        return Value("bending.v1", None, "mm⁻²", "not_assessed")
    inside = np.s_[1:-1, 1:-1, 1:-1]
    total = np.zeros([n - 2 for n in shape])
    for c in range(3):
        u = field.array[..., c].astype(np.float64)
        for a in range(3):
            second = (np.roll(u, 1, a) - 2 * u + np.roll(u, -1, a)) / spacing[a] ** 2
            total += second[inside] ** 2
            for b in range(a + 1, 3):
                mixed = np.roll(u, (1, 1), (a, b)) + np.roll(u, (-1, -1), (a, b))
                mixed -= np.roll(u, (1, -1), (a, b)) + np.roll(u, (-1, 1), (a, b))
                total += 2 * (mixed / (4 * spacing[a] * spacing[b]))[inside] ** 2
    values = total if mask is None else total[mask[inside]]
    return (
        Value("bending.v1", float(values.mean()), "mm⁻²") if values.size else Value("bending.v1", None, "mm⁻²", "not_assessed")
    )


def rigid_part(transform: Transform, geometry: Geometry) -> tuple[Value, ...]:
    """``rigid_part.v1``: angle (deg) and shift (mm) of the rotation and translation that fit the map best, and what they leave.

    Fitted to a lattice of 9³ points of the image (Kabsch); the shift is that of the image's centre; ``(rest)`` is the largest
    distance of a lattice point from where the rigid map puts it: near 0 for a rigid map.
    """
    steps = [np.linspace(0, n - 1, 9) for n in geometry.shape]
    index = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = geometry.index_to_world(index)
    moved = transform.map_points(points)
    start, end = points.mean(axis=0), moved.mean(axis=0)
    u, _, vt = np.linalg.svd((moved - end).T @ (points - start))
    sign = np.diag((1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0))
    rotation = u @ sign @ vt
    fitted = (points - start) @ rotation.T + end
    angle = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    return (
        Value("rigid_part.v1(angle)", angle, "deg"),
        Value("rigid_part.v1(shift)", float(np.linalg.norm(end - start)), "mm"),
        Value("rigid_part.v1(rest)", float(np.linalg.norm(fitted - moved, axis=1).max()), "mm"),
    )

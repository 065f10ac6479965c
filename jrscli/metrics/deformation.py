"""What a displacement field does to the tissue: local volume change, folding, and whether its inverse is one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from jrscli.errors import GeometryError
from jrscli.metrics.pair import box_geometry
from jrscli.metrics.surfels import bounding_box
from jrscli.metrics.value import Value
from jrscli.spatial.displacement import DisplacementField, triple_product
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

DIRECTION = "J > 1: the tissue shrank on its way from the moving to the fixed image; J < 1: it grew; J ≤ 0: the field folds"
"""The sentence that belongs beside every Jacobian: the field pulls, so large J means shrinkage."""

_PARTS = ("min", "p1", "p5", "median", "p95", "p99", "max", "mean")


def near(field: DisplacementField, mask: Bool[np.ndarray, "i j k"]) -> tuple[DisplacementField, Bool[np.ndarray, "i j k"]]:
    """The part of field and mask that holds the mask and a voxel round it: all that differences at its voxels need."""
    box = bounding_box(mask)
    if box is None:
        return field, mask
    i, j, k = (slice(max(part.start - 1, 0), min(part.stop + 1, n)) for part, n in zip(box, mask.shape, strict=True))
    return DisplacementField(field.array[i, j, k], box_geometry(field.geometry, (i, j, k))), mask[i, j, k]


def inner_voxels(shape: tuple[int, int, int]) -> Bool[np.ndarray, "i j k"]:
    """All voxels but the outermost layer, where differences are one-sided; an axis of one voxel has no such layer."""
    inside = np.zeros(shape, np.bool_)
    inside[tuple(slice(None) if n == 1 else slice(1, -1) for n in shape)] = True
    return inside


def jacobian_values(jacobian: Float[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None = None) -> tuple[Value, ...]:
    """``jacobian.v1(min)`` … ``jacobian.v1(mean)`` over the inner voxels of the mask, no unit; see DIRECTION for the sign."""
    values = _within(jacobian, mask)
    if not len(values):
        return tuple(Value(f"jacobian.v1({part})", None, "", "not_assessed") for part in _PARTS)
    p1, p5, median, p95, p99 = np.percentile(values, (1, 5, 50, 95, 99))
    numbers = (values.min(), p1, p5, median, p95, p99, values.max(), values.mean())
    return tuple(Value(f"jacobian.v1({part})", float(number), "") for part, number in zip(_PARTS, numbers, strict=True))


def neg_jac(jacobian: Float[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None = None) -> tuple[Value, Value]:
    """``neg_jac.v1`` in % and ``neg_jac.v1(count)``: inner voxels of the mask with J ≤ 0, by central differences."""
    values = _within(jacobian, mask)
    if not len(values):
        return Value("neg_jac.v1", None, "%", "not_assessed"), Value("neg_jac.v1(count)", None, "voxels", "not_assessed")
    folds = int(np.count_nonzero(values <= 0))
    return Value("neg_jac.v1", 100 * folds / len(values), "%"), Value("neg_jac.v1(count)", folds, "voxels")


def sdlogj(jacobian: Float[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None = None) -> Value:
    """``sdlogj.v1``: standard deviation of ln(max(J, 1e-9)) over the inner voxels of the mask: how uneven the field is."""
    values = _within(jacobian, mask)
    if not len(values):
        return Value("sdlogj.v1", None, "", "not_assessed")
    return Value("sdlogj.v1", float(np.log(np.maximum(values, 1e-9)).std()), "")


def ndv(field: DisplacementField, mask: Bool[np.ndarray, "i j k"] | None = None) -> Value:
    """``ndv.v1``: volume turned inside out, in % of the inner voxels of the mask.

    Each cube of eight voxels is cut into five tetrahedra in both possible ways; a negative volume counts half in each. Central
    differences skip the voxel itself, so a field can fold like a checkerboard with ``neg_jac`` = 0; here it shows.
    Not assessed for a field one voxel thick. Source: Liu et al. 2024, IJCV, doi:10.1007/s11263-024-02047-1.
    """
    if mask is not None:
        field, mask = near(field, mask)
    inside = inner_voxels(field.geometry.shape)
    if mask is not None:
        inside &= mask
    voxels = int(np.count_nonzero(inside))
    if min(field.geometry.shape) < 3 or not voxels:
        return Value("ndv.v1", None, "%", "not_assessed")
    linear = np.linalg.inv(field.geometry.affine[:3, :3])
    depth = field.geometry.shape[2]
    total = 0.0
    for k in range(1, depth - 1):
        if not inside[:, :, k].any():
            continue
        # three planes at a time: a whole CT in float64 would take gigabytes
        moved = np.einsum("cd,ijkd->ckij", linear, field.array[:, :, k - 1 : k + 2], order="C")
        volume = sum(np.maximum(-_determinant(moved, corners), 0) for corners in _tetrahedra())
        total += float(volume[inside[1:-1, 1:-1, k]].sum()) / 12
    return Value("ndv.v1", 100 * total / voxels, "%")


def inverse_consistency(
    there: Transform,
    back: Transform,
    start: Geometry,
    end: Geometry,
    mask: Bool[np.ndarray, "i j k"] | None = None,
    *,
    stride: int = 1,
    name: str = "inverse_consistency.v1",
) -> tuple[Value, ...]:
    """``inverse_consistency.v1``: mean, p95 and max of ‖back(there(x)) − x‖ in mm, and the share of voxels left out in %.

    Over the voxels of ``start`` (every ``stride``-th along each axis) in the mask that land in ``end``.
    name: "symmetry.v1" where ``back`` is not the inverse of ``there`` but the same method with both images exchanged.

    Raises GeometryError `grid.mismatch` for a mask of another shape.
    """
    if mask is not None and mask.shape != start.shape:
        raise GeometryError(
            f"a mask of {mask.shape} for a grid of {start.shape}",
            code="grid.mismatch",
            hint="give the mask on the grid of the field",
        )
    errors, seen = [], 0
    for k in range(0, start.shape[2], stride):
        i, j = np.meshgrid(np.arange(0, start.shape[0], stride), np.arange(0, start.shape[1], stride), indexing="ij")
        if mask is not None:
            chosen = mask[::stride, ::stride, k]
            i, j = i[chosen], j[chosen]
        points = start.index_to_world(np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1))
        moved = there.map_points(points)
        lands = end.contains(moved)
        seen += len(points)
        errors.append(np.linalg.norm(back.map_points(moved[lands]) - points[lands], axis=1))
    all_errors = np.concatenate(errors)
    outside = Value(f"{name}(outside)", 100 * (1 - len(all_errors) / seen), "%") if seen else None
    if not len(all_errors):
        missing = tuple(Value(f"{name}({part})", None, "mm", "not_assessed") for part in ("mean", "p95", "max"))
        return (*missing, outside or Value(f"{name}(outside)", None, "%", "not_assessed"))
    numbers = (all_errors.mean(), np.percentile(all_errors, 95), all_errors.max())
    found = tuple(Value(f"{name}({part})", float(n), "mm") for part, n in zip(("mean", "p95", "max"), numbers, strict=True))
    return (*found, outside) if outside else found


def worse_of(one: tuple[Value, ...], other: tuple[Value, ...]) -> tuple[Value, ...]:
    """Of two directions' errors the one with the larger 95th percentile."""
    errors = [next((value.value for value in part if value.id.endswith("(p95)")), None) for part in (one, other)]
    return other if errors[1] is not None and (errors[0] is None or errors[1] > errors[0]) else one


def transitivity(
    there: tuple[Transform, Transform, Transform],
    grids: tuple[Geometry, Geometry, Geometry],
    mask: Bool[np.ndarray, "i j k"] | None = None,
    *,
    stride: int = 1,
) -> tuple[Value, ...]:
    """``transitivity.v1``: `inverse_consistency` of three transforms a→b, b→c, c→a of three images, over the voxels of a.

    grids: of a, b and c; a voxel counts if it lands in c by way of b.
    """
    first, second, third = there
    return inverse_consistency(first.then(second), third, grids[0], grids[2], mask, stride=stride, name="transitivity.v1")


def _within(jacobian: Float[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None) -> Float[np.ndarray, " n"]:
    i, j, k = jacobian.shape
    inside = inner_voxels((i, j, k))
    if mask is not None:
        if mask.shape != jacobian.shape:
            raise GeometryError(
                f"a mask of {mask.shape} for a field of {jacobian.shape}",
                code="grid.mismatch",
                hint="give the mask on the grid of the field",
            )
        inside &= mask
    return jacobian[inside]


Offset = tuple[int, int, int]


def _tetrahedra() -> Iterator[tuple[Offset, Offset, Offset]]:
    """The far corners of ten tetrahedra at a voxel, in the order that makes the determinant of the resting grid positive."""
    for a, b, c in product((1, -1), repeat=3):
        x, y, z = (a, 0, 0), (0, b, 0), (0, 0, c)
        yield (x, y, z) if a * b * c > 0 else (y, x, z)
    yield (-1, -1, 0), (-1, 0, -1), (0, -1, -1)
    yield (1, 1, 0), (0, 1, 1), (1, 0, 1)


def _determinant(moved: Float[np.ndarray, "3 3 i j"], corners: tuple[Offset, Offset, Offset]) -> Float[np.ndarray, "a b"]:
    """Six times the volume of a tetrahedron at each inner voxel of the middle plane, after the displacement (voxels)."""
    height, width = moved.shape[2:]
    rest = moved[:, 1, 1:-1, 1:-1]
    a, b, c = (
        moved[:, 1 + k, 1 + i : height - 1 + i, 1 + j : width - 1 + j] - rest + np.array((i, j, k))[:, None, None]
        for i, j, k in corners
    )
    return triple_product(a, b, c)

"""Known motions: rigid after smooth, made of analytic bumps; what a simulated daily image has been moved by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from jrscli.errors import InputError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

SAMPLING_MM = 4.0
MARGIN_MM = 24.0
TRIES = 200


@dataclass(frozen=True, eq=False)
class Motion:
    """``x -> rigid(x + Σ amplitude · (1 − (r/reach)²)³)``, daily mm -> planning mm (pull).

    A sum of compact bumps, neither a B-spline nor the flow of a velocity field: no registration method has it as its own model.
    """

    centres_mm: Float[np.ndarray, "b 3"]
    amplitudes_mm: Float[np.ndarray, "b 3"]
    reaches_mm: Float[np.ndarray, "b"]
    rigid: AffineTransform

    def bend(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """The smooth displacement alone, mm."""
        out = np.zeros((len(points_mm), 3))
        for centre, amplitude, reach in zip(self.centres_mm, self.amplitudes_mm, self.reaches_mm, strict=True):
            out += _bump(points_mm - centre, reach)[:, None] * amplitude
        return out

    def map_points(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Where daily points come from in the planning image, LPS mm; exact."""
        return self.rigid.map_points(points_mm + self.bend(points_mm))

    def sampled(self, geometry: Geometry) -> tuple[Transform, Transform]:
        """(the motion, its inverse) as transforms that hold a field of 4 mm round ``geometry``.

        Linear interpolation between the samples errs by less than 0.05 mm for bumps that reach 60 mm.
        """
        margin = [int(np.ceil(MARGIN_MM / s)) for s in geometry.spacing_mm]
        grid = geometry.padded((margin[0], margin[1], margin[2])).with_spacing((SAMPLING_MM,) * 3)
        field = DisplacementField(self._field(grid), grid)
        back = Transform((self.rigid.inverse(), field.inverse()))
        return Transform((field, self.rigid)), back

    def _with_peak(self, peak_mm: float, grid: Geometry) -> Motion:
        size = float(np.linalg.norm(self._field(grid), axis=-1).max())
        return replace(self, amplitudes_mm=self.amplitudes_mm * (peak_mm / max(size, 1e-6)))

    def _field(self, grid: Geometry) -> Float[np.ndarray, "i j k 3"]:
        field = np.empty((*grid.shape, 3), np.float32)
        i, j = np.meshgrid(*(np.arange(n) for n in grid.shape[:2]), indexing="ij")
        for k in range(grid.shape[2]):
            index = np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1)
            field[:, :, k] = self.bend(grid.index_to_world(index)).reshape(*grid.shape[:2], 3)
        return field


def _bump(offset_mm: np.ndarray, reach_mm: float) -> np.ndarray:
    return np.clip(1 - (offset_mm**2).sum(axis=1) / reach_mm**2, 0, None) ** 3


def random_motion(
    geometry: Geometry,
    targets_mm: Float[np.ndarray, "t 3"],
    seed: int,
    *,
    shift_mm: float = 4.0,
    rotation_deg: float = 2.5,
    peak_mm: float = 10.0,
    apart: bool = True,
) -> Motion:
    """A motion of the grid's content: rigid by this shift and rotation, then a smooth bend with this peak over the grid.

    apart: each target moves by its own nearly full-size bend, in a direction of its own that does not undo the rigid part,
    and a few bumps more move what lies between; one must see the targets in the image to follow that. Otherwise wide bumps
    bend the whole region, and the targets go with the tissue round them, none by less than 0.8 of the peak in all.
    Draws that squeeze tissue below 0.4 or stretch it above 2.2 of its volume are thrown away.

    Raises InputError `simulate.motion` when no draw of this size is smooth enough.
    """
    rng = np.random.default_rng(seed)
    targets = np.asarray(targets_mm, float).reshape(-1, 3)
    grid, coarse = geometry.with_spacing((2 * SAMPLING_MM,) * 3), geometry.with_spacing((8 * SAMPLING_MM,) * 3)
    for _ in range(TRIES):
        rigid = _random_rigid(rng, geometry.centre_mm, shift_mm, rotation_deg)
        motion = (_bumps_apart if apart else _bumps_together)(rng, geometry, targets, rigid)
        if not apart and not _all_move(motion._with_peak(peak_mm, coarse), targets, 0.8 * peak_mm):
            continue
        motion = motion._with_peak(peak_mm, grid)
        jacobian = DisplacementField(motion._field(grid), grid).jacobian()
        if jacobian.min() > 0.4 and jacobian.max() < 2.2:
            return motion
    raise InputError(
        f"no smooth motion with a peak of {peak_mm:g} mm was found",
        code="simulate.motion",
        hint="ask for a smaller peak, or another seed",
    )


def _bumps_apart(rng: np.random.Generator, geometry: Geometry, targets: np.ndarray, rigid: AffineTransform) -> Motion:
    """Bumps whose sum has a size and direction of its own at each target."""
    extent = (np.array(geometry.shape) - 1) * np.array(geometry.spacing_mm)
    others = geometry.centre_mm + (rng.uniform(-0.35, 0.35, (6, 3)) * extent) @ geometry.axes.T
    if len(targets):
        others = others[np.linalg.norm(others[:, None] - targets[None], axis=2).min(axis=1) > 45]
    own = _directions(rng, targets, rigid) * rng.uniform(0.85, 1, (len(targets), 1))
    wanted = np.concatenate([own, _unit(rng, len(others)) * 0.6])
    centres = np.concatenate([targets, others])
    reach = float(rng.uniform(62, 75))
    kernel = np.stack([_bump(centres - centre, reach) for centre in centres], axis=1)
    amplitudes = np.linalg.lstsq(kernel, wanted, rcond=None)[0]
    return Motion(centres, amplitudes, np.full(len(centres), reach), rigid)


def _bumps_together(rng: np.random.Generator, geometry: Geometry, targets: np.ndarray, rigid: AffineTransform) -> Motion:
    """Five wide bumps round the middle of the targets."""
    middle = targets.mean(axis=0) if len(targets) else geometry.centre_mm
    centres = middle + rng.uniform(-70, 70, (5, 3))
    return Motion(centres, _unit(rng, 5) * rng.uniform(0.4, 1, (5, 1)), rng.uniform(110, 150, 5), rigid)


def _all_move(motion: Motion, targets: np.ndarray, least_mm: float) -> bool:
    return bool((np.linalg.norm(motion.map_points(targets) - targets, axis=1) >= least_mm).all())


def _random_rigid(rng: np.random.Generator, centre_mm: np.ndarray, shift_mm: float, rotation_deg: float) -> AffineTransform:
    axis = _unit(rng, 1)[0]
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(rotation_deg)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return AffineTransform.about(rotation, centre_mm, _unit(rng, 1)[0] * shift_mm)


def _unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _directions(rng: np.random.Generator, targets_mm: np.ndarray, rigid: AffineTransform) -> np.ndarray:
    """One unit vector per target, turned over where it would undo the rigid displacement."""
    vectors = _unit(rng, len(targets_mm))
    along = ((rigid.map_points(targets_mm) - targets_mm) * vectors).sum(axis=1, keepdims=True)
    return np.where(along < 0, -vectors, vectors)

"""Geometry: where the voxels of an array lie in the patient."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float

from jrscli.errors import GeometryError

ORTHOGONAL_TOLERANCE = 1e-3
# letter -> LPS axis and direction along it
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular grid: index -> LPS mm, index 0 at the centre of the first voxel.

    shape: voxels along the three array axes (a 2-D image is one voxel thick).
    affine: (4, 4), column n is the step in mm along array axis n; made read-only.

    Raises GeometryError `geometry.affine` for a matrix that is not a grid, `geometry.shear` for axes that are not orthogonal.
    """

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(
                f"a grid needs three positive sizes, found {self.shape}",
                code="geometry.shape",
                hint="check the header of the image (jrs info FILE)",
            )
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError(
                "the header has no usable index-to-patient matrix",
                code="geometry.affine",
                hint="set a valid sform or qform, or direction cosines, in the file",
            )
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() < 1e-6:
            raise GeometryError(
                f"voxel size {tuple(np.round(spacing, 6).tolist())} mm: a size is zero",
                code="geometry.affine",
                hint="repair the voxel size in the header",
            )
        axes = affine[:3, :3] / spacing
        if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHOGONAL_TOLERANCE:
            raise GeometryError(
                "the image axes are not at right angles (sheared grid)",
                code="geometry.shear",
                hint="resample the image to an orthogonal grid first",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size in mm, in the order of the array's axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def origin_mm(self) -> Float[np.ndarray, "3"]:
        """Centre of the first voxel, LPS mm."""
        return self.affine[:3, 3]

    @cached_property
    def axes(self) -> Float[np.ndarray, "3 3"]:
        """Unit vectors of the array's axes in LPS, one per column."""
        return self.affine[:3, :3] / np.array(self.spacing_mm)

    @cached_property
    def _inverse(self) -> Float[np.ndarray, "4 4"]:
        return np.linalg.inv(self.affine)

    @cached_property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return float(np.prod(self.spacing_mm))

    @cached_property
    def centre_mm(self) -> Float[np.ndarray, "3"]:
        """Middle of the grid, LPS mm."""
        return self.index_to_world((np.array([self.shape]) - 1) / 2)[0]

    @cached_property
    def corners_mm(self) -> Float[np.ndarray, "8 3"]:
        """Centres of the eight corner voxels, LPS mm."""
        last = np.array(self.shape) - 1
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        return self.index_to_world(corners * last)

    @cached_property
    def sha256(self) -> str:
        """A hash of shape and affine (rounded to 1e-4 mm): tells which grid a transform was made for."""
        # whole numbers of 1e-4 mm: free of print options, of the sign of zero and of the machine's byte order
        steps = np.round(self.affine * 1e4).astype("<i8")
        return hashlib.sha256(repr(self.shape).encode() + steps.tobytes()).hexdigest()

    def index_to_world(self, index: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """LPS mm of continuous voxel indices."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Continuous voxel indices of LPS mm points."""
        return np.asarray(points_mm, dtype=np.float64) @ self._inverse[:3, :3].T + self._inverse[:3, 3]

    def contains(self, points_mm: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Whether each LPS mm point lies in a voxel of the grid (half a voxel beyond the outer centres included)."""
        index = self.world_to_index(points_mm)
        return np.asarray(((index >= -0.5) & (index <= np.array(self.shape) - 0.5)).all(axis=1))

    def matches(self, other: Geometry, atol_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and the same corners within ``atol_mm``."""
        return self.shape == other.shape and bool(np.abs(self.corners_mm - other.corners_mm).max() <= atol_mm)

    def with_spacing(self, spacing_mm: tuple[float, float, float]) -> Geometry:
        """A grid over the same field with about this voxel size: first and last voxel centres stay where they are.

        The size is rounded up, so the spacing is at most the asked one; an axis of one voxel stays as it is.
        """
        extent = (np.array(self.shape) - 1) * np.array(self.spacing_mm)
        shape = np.maximum(np.ceil(extent / np.array(spacing_mm) - 1e-6).astype(int) + 1, 1)
        step = np.where(shape > 1, extent / np.maximum(shape - 1, 1), self.spacing_mm)
        affine = self.affine.copy()
        affine[:3, :3] = self.axes * step
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def oriented(self, letters: str) -> Geometry:
        """The same voxels with the array's axes pointing as near as they can to ``letters``.

        "RAS" is right, anterior, superior. Axes are swapped and turned round, nothing is resampled.

        Raises ValueError for letters that are not three axes.
        """
        if sorted(_LETTERS[letter][0] for letter in letters) != [0, 1, 2]:
            raise ValueError(f"{letters} are not three axes")
        wanted = np.zeros((3, 3))
        for n, letter in enumerate(letters):
            axis, sign = _LETTERS[letter]
            wanted[axis, n] = sign
        likeness = self.axes.T @ wanted  # own axis by wanted axis
        order = max(permutations(range(3)), key=lambda own: sum(abs(likeness[a, n]) for n, a in enumerate(own)))
        affine = self.affine.copy()
        origin = np.zeros(3)
        for n, own in enumerate(order):
            forward = likeness[own, n] >= 0
            affine[:3, n] = self.affine[:3, own] * (1 if forward else -1)
            origin[own] = 0 if forward else self.shape[own] - 1
        affine[:3, 3] = self.index_to_world(origin[None])[0]
        i, j, k = (self.shape[own] for own in order)
        return Geometry((i, j, k), affine)

    def cropped_to(self, lower: tuple[int, int, int], upper: tuple[int, int, int]) -> Geometry:
        """The grid of ``array[lower:upper]``; bounds outside the present grid pad it."""
        shape = [int(u) - int(o) for o, u in zip(lower, upper, strict=True)]
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(np.array([lower], dtype=float))[0]
        return Geometry((shape[0], shape[1], shape[2]), affine)

    def padded(self, voxels: tuple[int, int, int]) -> Geometry:
        """The grid with this many voxels more on both sides of each axis."""
        upper = tuple(n + p for n, p in zip(self.shape, voxels, strict=True))
        return self.cropped_to((-voxels[0], -voxels[1], -voxels[2]), (upper[0], upper[1], upper[2]))

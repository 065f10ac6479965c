"""Display planes: which array axes look axial, coronal and sagittal, which way round they are shown, and where they cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from jrscli.spatial.geometry import Geometry

PlaneName = Literal["axial", "coronal", "sagittal"]

# what lies to the right of the picture and what below, as patient axis (0 = L, 1 = P, 2 = S) and direction: radiological view
_VIEWS: dict[PlaneName, tuple[tuple[int, int], tuple[int, int]]] = {
    "axial": ((0, 1), (1, 1)),
    "coronal": ((0, 1), (2, -1)),
    "sagittal": ((1, 1), (2, -1)),
}
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))


@dataclass(frozen=True)
class Plane:
    """A plane of array axes and how it is shown.

    right, down: the array axes that run to the right and down in the picture, with their direction (1 or −1).
    box: the part shown, in voxels of the array, per array axis; along ``normal`` it is the one slice.
    slices: how many there are along ``normal``.
    letters: patient directions at the left, right, top and bottom of the picture, one or two letters each (oblique grids).
    """

    name: PlaneName
    normal: int
    right: tuple[int, int]
    down: tuple[int, int]
    box: tuple[slice, slice, slice]
    slices: int
    spacing_mm: tuple[float, float]
    letters: tuple[str, str, str, str]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the picture."""
        width, height = (self.box[axis].stop - self.box[axis].start for axis in (self.right[0], self.down[0]))
        return width * self.spacing_mm[0], height * self.spacing_mm[1]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice as rows (downwards) of columns (to the right): a view."""
        part = array[self.box].take(0, axis=self.normal)
        if self.down[0] > self.right[0]:
            part = part.T
        return part[:: self.down[1], :: self.right[1]]


def choose_planes(geometry: Geometry, content: Bool[np.ndarray, "i j k"], structures: Sequence[np.ndarray] = ()) -> list[Plane]:
    """The axial, coronal and sagittal plane through the middle of the content, cropped to it.

    With structures (bool masks), each plane is the one that cuts most of them, and among those the one nearest to their middle.
    A plane that would be a line (a grid one voxel thick) is left out.
    """
    box = [_extent(content, axis) for axis in range(3)]
    centre = [_middle(content, axis) for axis in range(3)]
    if structures:
        centre = [_most_cut(structures, axis) for axis in range(3)]
        for axis in range(3):
            seen = np.flatnonzero(np.any([_profile(mask, axis) > 0 for mask in structures], axis=0))
            if len(seen):
                box[axis] = slice(min(box[axis].start, int(seen[0])), max(box[axis].stop, int(seen[-1]) + 1))
    patient_axis = _array_axes(geometry)
    planes = []
    for name, ((right, right_way), (down, down_way)) in _VIEWS.items():
        r, d = patient_axis[right], patient_axis[down]
        normal = 3 - r - d
        if geometry.shape[r] == 1 or geometry.shape[d] == 1:
            continue
        ways = [_way(geometry, axis, target) * way for axis, target, way in ((r, right, right_way), (d, down, down_way))]
        shown = list(box)
        for axis in (r, d):
            margin = max(2, round(0.04 * (box[axis].stop - box[axis].start)))
            shown[axis] = slice(max(0, box[axis].start - margin), min(geometry.shape[axis], box[axis].stop + margin))
        shown[normal] = slice(centre[normal], centre[normal] + 1)
        to_right, to_bottom = geometry.axes[:, r] * ways[0], geometry.axes[:, d] * ways[1]
        letters = (
            direction_letters(-to_right),
            direction_letters(to_right),
            direction_letters(-to_bottom),
            direction_letters(to_bottom),
        )
        planes.append(
            Plane(
                name,
                normal,
                (r, ways[0]),
                (d, ways[1]),
                (shown[0], shown[1], shown[2]),
                geometry.shape[normal],
                (geometry.spacing_mm[r], geometry.spacing_mm[d]),
                letters,
            )
        )
    return planes


def direction_letters(vector: Float[np.ndarray, "3"]) -> str:
    """The patient direction of a unit vector in LPS: its main letter, and a second one from 20° of tilt."""
    order = np.argsort(-np.abs(vector), kind="stable")
    letters = [_LETTERS[axis][0 if vector[axis] > 0 else 1] for axis in order if abs(vector[axis]) > np.sin(np.radians(20))]
    return "".join(letters[:2])


def content_of(array: np.ndarray, low: float, high: float) -> Bool[np.ndarray, "i j k"]:
    """Where there is more than background: a tenth of the way from ``low`` to ``high``; everything if that is nowhere."""
    found = array > low + 0.1 * (high - low)
    return found if found.any() else np.ones(array.shape, np.bool_)


def _array_axes(geometry: Geometry) -> tuple[int, int, int]:
    """The array axis closest to L, to P and to S, each used once."""
    fit = np.abs(geometry.axes)
    return max(permutations(range(3)), key=lambda order: sum(fit[patient, array] for patient, array in enumerate(order)))  # type: ignore[return-value]


def _way(geometry: Geometry, array_axis: int, patient_axis: int) -> int:
    return 1 if geometry.axes[patient_axis, array_axis] >= 0 else -1


def _profile(mask: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(n for n in range(3) if n != axis)
    return np.count_nonzero(mask, axis=others)


def _extent(mask: np.ndarray, axis: int) -> slice:
    """Where the mask is, without the thin ends that a table or noise makes."""
    profile = _profile(mask, axis)
    held = np.flatnonzero(profile > 0.02 * profile.max())
    return slice(int(held[0]), int(held[-1]) + 1)


def _middle(mask: np.ndarray, axis: int) -> int:
    profile = _profile(mask, axis)
    return round(float(profile @ np.arange(len(profile)) / profile.sum()))


def _most_cut(structures: Sequence[np.ndarray], axis: int) -> int:
    profiles = np.array([_profile(mask, axis) for mask in structures], dtype=np.float64)
    profiles = profiles[profiles.sum(axis=1) > 0]
    if not len(profiles):
        return structures[0].shape[axis] // 2
    places = np.arange(profiles.shape[1])
    middle = float((profiles @ places / profiles.sum(axis=1)).mean())
    count = (profiles > 0).sum(axis=0)
    best = np.flatnonzero(count == count.max())
    return int(best[np.abs(best - middle).argmin()])

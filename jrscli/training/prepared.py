"""Cases as arrays on the network's grid, kept in memory once read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from jrscli.errors import InputError, JrsError
from jrscli.io import read_image
from jrscli.runtime.prepare import mass_centre, natural_shape, network_grid, prepared
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.training.cases import Case, DataList
from jrscli.training.drawn import read_drawn
from jrscli.training.simulated.contact import frame
from jrscli.training.simulated.followups import FollowUps, follow_up

GREY_RANGE = (1, 99)
"""Percentiles of an image between which its grey values lie, where it gets the noise of another visit."""


@dataclass(frozen=True)
class Prepared:
    """One case on the network's grid; of a method for slices the third axis counts them.

    labels: label numbers, or None where the case has none. drawn: whether each foreground label was drawn in it at all.
    natural: voxels of the whole image at the grid's spacing. voxel_cc: what one of the array measures, slices as they are.
    """

    patient: str
    image: Float[np.ndarray, "c i j k"]
    labels: UInt8[np.ndarray, "i j k"] | None
    drawn: tuple[bool, ...] = ()
    natural: tuple[int, ...] = ()
    voxel_cc: float = 0.0


class Cases(Sequence[Prepared]):
    """The cases of one part; each is read from disk once, when first asked for."""

    def __init__(self, data: DataList, cases: Sequence[Case], part: str) -> None:
        self.data = data
        self.part = part
        self.cases = [case for case in cases if case.part == part]
        self._kept: dict[int, Prepared] = {}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Prepared:  # type: ignore[override]
        if index not in self._kept:
            try:
                self._kept[index] = prepare_case(self.data, self.cases[index])
            except JrsError as error:  # which of many it is; its name may be a patient's
                error.message = f"case {index + 1} of the {self.part} part: {error.message}"
                raise
        return self._kept[index]

    def make_a_pair(self, one: int, other: int) -> bool:
        """Whether the two are what the data list registers: two patients, two visits of one, a case and its simulation."""
        same = self.cases[one].patient == self.cases[other].patient
        if self.data.simulates:
            return one == other
        return one != other and same == self.data.within_patient

    @property
    def labelled(self) -> list[int]:
        """Which cases have labels."""
        return [n for n, case in enumerate(self.cases) if case.labels is not None]


def prepare_case(data: DataList, case: Case) -> Prepared:
    """A case as the runtime will prepare it.

    Raises InputError `labels.unknown` for a label that the data list does not name.
    """
    volume, found = _as_read(data, case)
    geometry = grid_of(data, volume)
    image = prepared(volume, geometry, data.input)
    labels = None
    drawn = (True,) * max(len(data.labels) - 1, 0)
    if found is not None and data.labels:
        on_grid = resample_labels(found, geometry).array
        if int(on_grid.max(initial=0)) >= len(data.labels):
            raise InputError(
                f"a label file holds {on_grid.max()} where the data list names labels up to {len(data.labels) - 1}",
                code="labels.unknown",
                hint="name every label in the data list under labels, background first",
            )
        labels = on_grid.astype(np.uint8)
        drawn = data.drawn(case.patient, np.unique(labels).tolist())
    followups = data.simulate.followups if data.simulate else None
    if followups is not None and case.made is not None:
        spacing = geometry.spacing_mm
        made = follow_up(image, labels, spacing, data.range, followups, case.patient, case.made)
        image, labels = made.image, made.labels
    voxel_cc = geometry.voxel_volume_mm3 / 1000
    return Prepared(case.patient, image, labels, drawn, natural_shape(volume.geometry, data.grid), voxel_cc)


def grid_of(data: DataList, volume: Volume) -> Geometry:
    """Where the network's voxels lie for an image."""
    # batches need one shape: in training the size is meant exactly, where the runtime may pad up to a multiple
    mass = mass_centre(volume) if data.grid.centre == "mass" else None
    return network_grid(volume.geometry, replace(data.grid, multiple=None, patch=None, overlap=None), mass_mm=mass)


def _as_read(data: DataList, case: Case) -> tuple[Volume, LabelMap | None]:
    """Image and labels of a file or of a simulated series, before any later visit is made of them."""
    contact = data.simulate.contact if data.simulate else None
    if contact is not None and case.made is not None:
        image, labels = frame(contact, contact.names().index(case.patient), case.made, _of_grid(data))
        return image, None if case.labels is None else labels
    read = read_image(case.image)
    labels_of = read_drawn(case.labels, read, data) if case.labels is not None and data.labels else None
    return replace(read.volume, others=tuple(read_image(other).volume for other in case.others)), labels_of


def source_of(data: DataList, case: Case) -> tuple[Volume, LabelMap | None]:
    """Image and labels on their own grid, as they were read or made, the labels numbered as the data list names them."""
    image, labels = _as_read(data, case)
    followups = data.simulate.followups if data.simulate else None
    return _visited(image, labels, followups, case) if followups and case.made is not None else (image, labels)


def _visited(image: Volume, labels: LabelMap | None, amounts: FollowUps, case: Case) -> tuple[Volume, LabelMap | None]:
    """The later visit that is made of a case, on the image's own grid."""
    low, high = (float(value) for value in np.percentile(image.array, GREY_RANGE))
    numbers = None if labels is None else labels.array.astype(np.int64)
    spacing = image.geometry.spacing_mm
    visit = follow_up(
        image.array.astype(np.float32)[None], numbers, spacing, (low, high), amounts, case.patient, case.made or 0
    )
    found = None
    if labels is not None and visit.labels is not None:
        found = LabelMap(visit.labels.astype(np.uint32), labels.geometry, labels.names)
    return replace(image, array=visit.image[0]), found


def labelled_source(data: DataList, case: Case) -> tuple[Volume, LabelMap]:
    """Image and labels of a labelled case, without labels that are not to be trusted in it."""
    image, labels = source_of(data, case)
    assert labels is not None
    drawn = data.drawn(case.patient, labels.numbers())
    wrong = [n for n, there in enumerate(drawn, start=1) if not there]
    if wrong:
        labels = LabelMap(np.where(np.isin(labels.array, wrong), 0, labels.array), labels.geometry, labels.names)
    return image, labels


def _of_grid(data: DataList) -> Geometry:
    """A grid of one slice as the data list has it, for images that lie nowhere."""
    i, j, _ = data.grid.size or (1, 1, 1)
    return Geometry((i, j, 1), np.diag([*(data.grid.spacing_mm or (1.0, 1.0, 1.0)), 1.0]))


VOLUME_MARGIN = 0.25
"""By how much labels found in a new image may lie beyond the volumes of the training images, as a part."""


def volumes_cc(cases: Cases) -> dict[str, tuple[float, float]]:
    """The least and the most that each label measures in these cases, with a margin: what a card says of the images it knows.

    A label that some labelled case does not have is left out, but for cases in which it was not drawn. Images of a single slice
    have no volumes to tell.
    """
    names = cases.data.labels[1:]
    found: dict[str, list[float]] = {}
    for case in cases:
        if case.labels is not None:
            if case.labels.shape[2] == 1:
                return {}
            counts = np.bincount(np.ravel(case.labels), minlength=len(names) + 1)
            for name, count, drawn in zip(names, counts[1:], case.drawn, strict=True):
                if drawn:
                    found.setdefault(name, []).append(float(count) * case.voxel_cc)
    return {
        name: (_three_digits(min(sizes) * (1 - VOLUME_MARGIN)), _three_digits(max(sizes) * (1 + VOLUME_MARGIN)))
        for name, sizes in found.items()
        if min(sizes) > 0
    }


LARGER = 1.1
"""An image so many times longer than the grid along an axis is cropped; less is a margin that nobody misses."""


def mostly_cropped(cases: Cases) -> bool:
    """Whether most of these cases reach beyond the grid: then the network has seen, and will be used on, the crop alone."""
    grid = cases.data.grid
    size = (grid.size or ())[: grid.dims]
    beyond = [any(n > LARGER * m for n, m in zip(case.natural, size, strict=False)) for case in cases]
    return 2 * sum(beyond) > len(beyond)


def largest(cases: Cases) -> list[int]:
    """The most voxels along each axis of the grid that an image of these cases has before it is cropped."""
    return np.max([case.natural for case in cases], axis=0).tolist()


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")

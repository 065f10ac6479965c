"""Training on DICOM as a clinic has it: a folder per patient, contours found by the names of their organs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.io import read_image
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases, prepare_case
from jrscli.workflows.contours import structures_of_labels

from .conftest import phantom, write_list

GRID = Geometry((28, 30, 26), np.diag([1.0, 1.0, 1.0, 1.0]))
ORGANS = ["background", "left parotid", "right parotid"]


def patient(folder: Path, seed: int, names: dict[int, str]) -> np.ndarray:
    """A CT series and an RTSTRUCT in one folder, with a BODY round everything and a GTV in the left organ; what was drawn."""
    image, labels = phantom(seed)
    header = write_series(Volume((image * 10).astype(np.int16), GRID), folder / "ct", seed=f"p{seed}")
    body = np.zeros(labels.shape, np.uint32)
    body[1:-1, 1:-1, 1:-1] = 9
    i, j, k = (int(n) for n in np.argwhere(labels == 1).mean(axis=0))
    tumour = np.zeros(labels.shape, np.uint32)
    tumour[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = 8
    drawn = structures_of_labels(LabelMap(np.where(np.isin(labels, list(names)), labels, 0).astype(np.uint32), GRID, names))
    others = [
        structures_of_labels(LabelMap(part, GRID, {n: name})) for part, n, name in ((body, 9, "BODY"), (tumour, 8, "GTV"))
    ]
    rois = (*others[0].rois, *drawn.rois, *others[1].rois)
    write_rtstruct(replace(drawn, rois=rois), header, GRID, folder / "plan.dcm", seed=f"p{seed}")
    for path in (folder / "ct").iterdir():
        path.rename(folder / path.name)
    (folder / "ct").rmdir()
    return labels


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clinic")
    spellings = [{1: "Parotid_L", 2: "Parotid_R"}, {1: "LeftParotid", 2: "parotid right"}, {1: "PAROTID_L"}]
    for n, names in enumerate(spellings):
        patient(folder / f"patients/{n}", n, names)
    return folder


def listed(folder: Path, **changes: object) -> Path:
    given = {"images": "patients/*", "label_files": "patients/*", "labels": ORGANS, "split": {"validation": ["2"]}}
    return write_list(folder / "data.yaml", **{**given, "absent": "undrawn", **changes})


def test_contours_are_found_by_their_organs_and_others_hide_none(clinic: Path) -> None:
    data, cases = read_data(listed(clinic))
    assert [case.patient for case in cases] == ["0", "1", "2"]
    for n in (0, 1):
        found = prepare_case(data, cases[n])
        truth = phantom(n)[1]
        assert found.drawn == (True, True)
        for label in (1, 2):  # contours through voxel centres: the same voxels but for a few at the rim
            assert abs(int((found.labels == label).sum()) - int((truth == label).sum())) < 0.05 * (truth == label).sum()
    assert prepare_case(data, cases[2]).drawn == (True, False)
    assert Cases(data, cases, "train").labelled == [0, 1]


def test_where_what_is_absent_would_be_background_an_organ_must_be_drawn(clinic: Path) -> None:
    data, cases = read_data(listed(clinic, absent="background"))
    assert prepare_case(data, cases[0]).drawn == (True, True)
    with pytest.raises(InputError) as caught:
        Cases(data, cases, "validation")[0]
    assert caught.value.message.startswith("case 1 of the validation part: a structure set has no contour of right parotid")
    assert caught.value.code == "labels.undrawn"


def test_contours_without_any_of_the_organs_are_refused(clinic: Path) -> None:
    data, cases = read_data(listed(clinic, labels=["background", "mandible"]))
    with pytest.raises(InputError) as caught:
        prepare_case(data, cases[0])
    assert caught.value.code == "labels.organs"
    assert "mandible" in caught.value.hint


def test_the_star_may_be_in_any_part_of_the_path(clinic: Path, tmp_path: Path) -> None:
    for n in range(3):
        for kind in ("ct", "rs"):
            (tmp_path / f"in/p{n}/{kind}").mkdir(parents=True)
        for file in sorted((clinic / f"patients/{n}").iterdir()):
            place = "rs" if file.name == "plan.dcm" else "ct"
            (tmp_path / f"in/p{n}/{place}/{file.name}").symlink_to(file)
    data, cases = read_data(listed(tmp_path, images="in/p*/ct", label_files="in/p*/rs"))
    assert [case.patient for case in cases] == ["0", "1", "2"]
    assert cases[1].labels == tmp_path / "in/p1/rs"
    np.testing.assert_array_equal(
        prepare_case(data, cases[1]).labels, prepare_case(data, read_data(listed(clinic))[1][1]).labels
    )
    assert read_image(cases[1].image).volume.geometry.shape == GRID.shape

"""No command says or writes who the patient is, outside of the DICOM objects that have to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import pydicom
import pytest

from jrscli.io.run_record import recorded_outputs, sha256_of

SECRETS = {
    "PatientName": "XQZNAME^ANN",
    "PatientID": "XQZID77",
    "PatientBirthDate": "19610203",
    "AccessionNumber": "XQZACC",
    "StudyID": "XQZSTUDY",
    "StudyDescription": "XQZDESCRIPTION",
    "ReferringPhysicianName": "XQZDOCTOR",
    "InstitutionName": "XQZHOUSE",
    "StudyDate": "20190807",
    "StationName": "XQZSTATION",
}
ROI = "XQZROI"
METRICS = ("metrics.json", "metrics.csv", "metrics.md", "report.html")


class Study:
    """The DICOM files of the ball, with secrets in every header and file name."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        self.words: set[str] = {"XQZNAME", ROI, *SECRETS.values()}
        for name in ("fixed", "moving"):
            for number, path in enumerate(sorted((source / f"{name}-ct").iterdir())):
                self._copy(path, folder / f"{name}-ct" / f"XQZNAME_{number}.dcm")
            self._copy(source / f"{name}-RS.dcm", folder / f"{name}-rs" / "XQZNAME.dcm")
        for path in (folder / "fixed-ct").iterdir():  # a wrong number: parsers quote what they cannot read
            dataset = pydicom.dcmread(path)
            dataset.add(pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x00200032), "DS", 10, b"XQZID77\\\\1", 0, False, True))
            (folder / "damaged").mkdir(exist_ok=True)
            dataset.save_as(folder / "damaged" / path.name)

    def _copy(self, source: Path, target: Path) -> None:
        dataset = pydicom.dcmread(source)
        for keyword, value in SECRETS.items():
            setattr(dataset, keyword, value)
        for item in dataset.get("StructureSetROISequence", ()):
            item.ROIName = ROI
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            if keyword in dataset:
                self.words.add(str(dataset[keyword].value))
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target)

    def path(self, name: str) -> Path:
        return self.folder / name

    def told_in(self, text: str, *, but: tuple[str, ...] = ()) -> list[str]:
        """The secrets that a text tells, in any letters."""
        for word in but:
            text = re.sub(re.escape(word), "", text, flags=re.IGNORECASE)
        return sorted(word for word in self.words if word.lower() in text.lower())


@pytest.fixture
def study(files: Any, tmp_path: Path) -> Study:
    return Study(files.folder, tmp_path / "study")


def _commands(study: Study, files: Any, out: Path) -> dict[str, tuple[object, ...]]:
    fixed, moving = study.path("fixed-ct"), study.path("moving-ct")
    fixed_rs, moving_rs = study.path("fixed-rs"), study.path("moving-rs")
    plain = files.folder
    return {
        "register": ("register", fixed, moving, "-o", out, "-v"),
        "propagate": ("propagate-contours", moving, moving_rs, fixed, "-o", out, "-v"),
        "propagate json": ("propagate-contours", moving, moving_rs, fixed, "-o", out, "--json"),
        "default folder": ("propagate-contours", moving, moving_rs, fixed),
        "segment": (
            "segment",
            fixed,
            "--atlas",
            plain / "moving.nii.gz",
            "--atlas-labels",
            plain / "moving-seg.nii.gz",
            "-o",
            out,
        ),
        "evaluate": ("evaluate", fixed_rs, fixed_rs, "--reference", fixed, "-o", out, "-v"),
        "convert series": ("convert", "series", fixed, "--to", out / "image.nii.gz"),
        "convert contours": ("convert", "contours", fixed_rs, "--reference", fixed, "--to", out / "labels.nii.gz"),
        "info": ("info", fixed),
        "info json": ("info", fixed, "--json"),
        "info structures": ("info", fixed_rs / "XQZNAME.dcm", "--json"),
        "info all": ("info", study.folder),
        "other space": ("convert", "contours", moving_rs, "--reference", fixed, "--to", out / "labels.nii.gz"),
        "several series": ("register", study.folder, moving, "-o", out),
        "no such series": ("register", study.folder, moving, "--select", "9", "-o", out),
        "no such roi": ("propagate-contours", moving, moving_rs, fixed, "--roi", "XQZRO", "-o", out),
        "evaluate others": ("evaluate", fixed_rs, plain / "fixed-seg.nii.gz", "--reference", fixed, "-o", out),
        "info damaged": ("info", study.path("damaged")),
        "not an image": ("register", fixed_rs, moving, "-o", out),
    }


REFUSED = ("other space", "several series", "no such series", "no such roi", "not an image")
NAMES = (
    "register", "propagate", "propagate json", "default folder", "segment", "evaluate", "convert series", "convert contours",
    "info", "info json", "info structures", "info all", "info damaged", "evaluate others", *REFUSED,
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_named(
    jrs: Callable, files: Any, optimiser: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not on stdout, stderr, in file names, run.json, pictures, NIfTI headers or any other file that is not DICOM.

    Names of ROIs are what `info` and `evaluate` are asked for; they stand on stdout, in tables of labels and metrics, and
    nowhere else. A path that the user gave is repeated as it was given.
    """
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    (tmp_path / "out").mkdir()
    before = set(tmp_path.rglob("*"))
    said = jrs(*_commands(study, files, out)[name])
    given = (str(study.folder), "XQZNAME.dcm") if name == "info structures" else (str(study.folder),)
    asked = (*given, ROI) if name.startswith(("info", "evaluate")) else given
    assert not study.told_in(said.out, but=asked), said.out
    assert not study.told_in(said.err, but=given), said.err
    new = [path for path in tmp_path.rglob("*") if path not in before]
    assert not [path for path in new if study.told_in(path.name)]
    for path in new:
        if path.is_file() and path.suffix != ".dcm":
            names = (ROI,) if path.name in ("labels.json", "seg_space-fixed.json", *METRICS) else ()
            assert not study.told_in(path.read_bytes().decode("latin-1"), but=names), path
        if path.name.endswith(".nii.gz"):
            assert not study.told_in(nibabel.load(path).header.__str__()), path
    assert said.code == (4 if name in REFUSED else 0)


def test_the_test_above_can_fail(study: Study) -> None:
    assert study.told_in("patient xqzname^ann")
    assert study.told_in(next(iter(word for word in study.words if word[0] == "2")))
    assert not study.told_in("P-7f3a91")


def test_what_is_shown_on_request(jrs: Callable, files: Any, optimiser: Any, study: Study, tmp_path: Path) -> None:
    words = (
        "propagate-contours",
        study.path("moving-ct"),
        study.path("moving-rs"),
        study.path("fixed-ct"),
        "-o",
        tmp_path / "o",
    )
    said = jrs(*words, "--show-phi")
    assert said.code == 0
    assert "[phi.shown]" in said.err
    assert ROI in said.err
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["rois"][0]["name"] == ROI
    assert "phi.shown" in [notice["code"] for notice in record["notices"]]


def test_deidentified_results_name_nobody_at_all(
    jrs: Callable, files: Any, optimiser: Any, study: Study, tmp_path: Path
) -> None:
    words = (
        "propagate-contours",
        study.path("moving-ct"),
        study.path("moving-rs"),
        study.path("fixed-ct"),
        "-o",
        tmp_path / "o",
    )
    assert jrs(*words).code == 0
    told = study.told_in((tmp_path / "o" / "RS_space-fixed_propagated.dcm").read_bytes().decode("latin-1"))
    assert {"XQZNAME^ANN", ROI} <= set(told)
    said = jrs(*words, "--deidentify", "--exist", "overwrite")
    assert said.code == 0, said.err
    for path in (tmp_path / "o").iterdir():
        assert not study.told_in(path.read_bytes().decode("latin-1")), path
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert "burned into pixels" in next(n["message"] for n in record["notices"] if n["code"] == "phi.deidentified")
    # the hashes are those of what was left there
    hashes = recorded_outputs(tmp_path / "o")
    assert hashes
    assert all(sha256_of(tmp_path / "o" / name) == digest for name, digest in hashes.items())


@pytest.mark.parametrize("kind", ["series", "contours"])
def test_what_is_converted_can_be_deidentified(jrs: Callable, files: Any, study: Study, tmp_path: Path, kind: str) -> None:
    words = {
        "series": ("series", study.path("fixed-ct"), "--to", tmp_path / "made"),
        "contours": (
            "contours",
            files.folder / "fixed-seg.nii.gz",
            "--reference",
            study.path("fixed-ct"),
            "--to",
            tmp_path / "a.dcm",
        ),
    }[kind]
    said = jrs("convert", *words, "--deidentify")
    assert said.code == 0, said.err
    made = [tmp_path / "a.dcm"] if kind == "contours" else list((tmp_path / "made").iterdir())
    assert made
    for path in made:
        assert not study.told_in(path.read_bytes().decode("latin-1"))
        assert pydicom.dcmread(path).PatientIdentityRemoved == "YES"


def test_every_kind_of_object_is_valid_once_deidentified(
    jrs: Callable, files: Any, optimiser: Any, study: Study, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    words = (
        "propagate-contours",
        study.path("moving-ct"),
        study.path("moving-rs"),
        study.path("fixed-ct"),
        "-o",
        tmp_path / "o",
    )
    said = jrs(*words, "--write-reg", "deformable", "--write-seg", "--deidentify")
    assert said.code == 0, said.err
    made = sorted((tmp_path / "o").glob("*.dcm"))
    assert [path.name.split("_")[0] for path in made] == ["REG", "RS", "SEG"]
    for path in made:
        assert not study.told_in(path.read_bytes().decode("latin-1")), path
        assert_valid_dicom(path)
    spaces = {str(pydicom.dcmread(path).FrameOfReferenceUID) for path in made}
    assert len(spaces) == 1

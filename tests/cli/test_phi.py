"""No command says or writes who the patient is, outside of the DICOM objects that have to."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from jrscli.io import read_image
from jrscli.io.dose import Dose, write_dose
from jrscli.io.registration_object_write import write_rigid
from jrscli.io.run_record import recorded_outputs, sha256_of
from jrscli.io.sidecar import Sidecar
from jrscli.io.transforms import write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

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
        self._objects(folder)
        for path in (folder / "fixed-ct").iterdir():  # a wrong number: parsers quote what they cannot read
            dataset = pydicom.dcmread(path)
            dataset.add(pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x00200032), "DS", 10, b"XQZID77\\\\1", 0, False, True))
            (folder / "damaged").mkdir(exist_ok=True)
            dataset.save_as(folder / "damaged" / path.name)

    def _objects(self, folder: Path) -> None:
        """A dose on the moving image, a registration of both, and an ITK transform between them."""
        fixed, moving = (read_image(folder / f"{name}-ct") for name in ("fixed", "moving"))
        there = AffineTransform.about(np.eye(3), np.zeros(3), np.array([6.0, -4.0, 3.0]))
        grids = fixed.volume.geometry, moving.volume.geometry
        write_transform(Transform((there,)), folder.parent / "xfm.h5", Sidecar("moving_to_fixed", *grids))
        kept, plan = Dataset(), Dataset()
        kept.DoseType, kept.DoseSummationType, kept.ReferencedRTPlanSequence = "PHYSICAL", "PLAN", [plan]
        plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4.5.6.7"
        dose = Dose(Volume(np.ones(grids[1].shape, np.float32), grids[1]), "GY", "", kept)
        assert fixed.series is not None
        assert moving.series is not None
        write_dose(dose.volume, dose, moving.series, folder.parent / "dose.dcm")
        write_rigid(there, fixed.series, moving.series, folder.parent / "reg.dcm")
        for name in ("dose", "reg"):
            self._copy(folder.parent / f"{name}.dcm", folder / name / "XQZNAME.dcm")
            (folder.parent / f"{name}.dcm").unlink()
        self.words.add("1.2.3.4.5.6.7")

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
        "register report": ("register", fixed, moving, "--report", "--write-reg", "deformable", "-o", out, "-v"),
        "propagate all": (
            *("propagate-contours", moving, moving_rs, fixed, "--reg", study.path("reg") / "XQZNAME.dcm", "-o", out, "-v"),
            *("--dose", study.path("dose") / "XQZNAME.dcm", "--write-seg", "--write-reg", "rigid", "--no-both"),
        ),
        "segment report": (
            *("segment", fixed, "--atlas", plain / "moving.nii.gz", "--atlas-labels", plain / "moving-seg.nii.gz"),
            *("--report", "--write-seg", "-o", out, "-v"),
        ),
        "warp image": ("warp", "--xfm", study.folder.parent / "xfm.h5", moving, "-o", out, "-v"),
        "warp contours": (
            *(
                "warp",
                "--xfm",
                study.folder.parent / "xfm.h5",
                moving_rs / "XQZNAME.dcm",
                "--reference",
                fixed,
                "-o",
                out,
                "-v",
            ),
        ),
        "warp by reg": ("warp", "--xfm", study.path("reg") / "XQZNAME.dcm", moving, "--reference", fixed, "-o", out, "-v"),
        "warp dose": (
            *("warp", "--xfm", study.folder.parent / "xfm.h5", study.path("dose") / "XQZNAME.dcm"),
            *("--reference", fixed, "-o", out, "-v"),
        ),
        "evaluate dose": (
            *("evaluate", moving_rs, moving_rs, "--reference", moving, "--dose", study.path("dose") / "XQZNAME.dcm", "-o", out),
        ),
        "convert reg": ("convert", "reg", study.path("reg") / "XQZNAME.dcm", "--to", out / "map.h5"),
        "info reg": ("info", study.path("reg") / "XQZNAME.dcm"),
        "info dose": ("info", study.path("dose") / "XQZNAME.dcm"),
        "info codes": ("info", study.folder, "--json"),
    }


NAMED_FILES = (
    "info structures",
    "info reg",
    "info dose",
    "warp contours",
    "warp dose",
    "warp by reg",
    "convert reg",
    "evaluate dose",
    "propagate all",
)
REFUSED = ("other space", "several series", "no such series", "no such roi", "not an image")
NAMES = (
    "register", "propagate", "propagate json", "default folder", "segment", "evaluate", "convert series", "convert contours",
    "info", "info json", "info structures", "info all", "info damaged", "evaluate others", "register report", "propagate all",
    "segment report", "warp image", "warp contours", "warp by reg", "warp dose", "evaluate dose", "convert reg", "info reg",
    "info dose", "info codes", *REFUSED,
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
    given = (str(study.folder), "XQZNAME.dcm") if name in NAMED_FILES else (str(study.folder),)
    asked = (*given, ROI) if name.startswith(("info", "evaluate")) else given
    assert not study.told_in(said.out, but=asked), said.out
    assert not study.told_in(said.err, but=given), said.err
    new = [path for path in tmp_path.rglob("*") if path not in before]
    assert not [path for path in new if study.told_in(path.name)]
    assert said.code == (4 if name in REFUSED else 0), said.err
    _names_nobody(study, new)


def _names_nobody(study: Study, files: list[Path]) -> None:
    for path in files:
        if path.is_file() and path.suffix != ".dcm":
            names = (ROI,) if path.name in ("labels.json", "seg_space-fixed.json", *METRICS) else ()
            content = path.read_bytes()
            assert not study.told_in(content.decode("latin-1"), but=names), path
            if path.suffix == ".gz":
                assert not study.told_in(gzip.decompress(content)[:10_000].decode("latin-1")), path
            if path.suffix == ".png":
                assert not Image.open(path).text, path  # type: ignore[attr-defined]


def test_pages_of_earlier_runs_name_nobody(jrs: Callable, files: Any, optimiser: Any, study: Study, tmp_path: Path) -> None:
    runs = []
    for name in ("propagate", "evaluate", "register report", "segment report"):
        runs.append(tmp_path / name.replace(" ", "-"))
        assert jrs(*_commands(study, files, runs[-1])[name]).code == 0
    said = jrs("report", *runs, "-o", tmp_path / "page" / "all.html", "-v")
    assert said.code == 0, said.err
    assert not study.told_in(said.out + said.err, but=(str(tmp_path),))
    text = (tmp_path / "page" / "all.html").read_text("utf-8")
    assert "4 runs" in text
    # the names of ROIs are what the tables of the runs are about
    assert not study.told_in(text, but=(ROI,))


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

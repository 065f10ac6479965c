"""propagate-contours, segment, evaluate, convert and info, on small files; the optimiser is a stand-in."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jrscli.io import read_image, read_labels
from jrscli.io.rtstruct import read_rtstruct
from jrscli.spatial.rasterize import rasterize


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture
def truth(files: Any) -> np.ndarray:
    return read_labels(files.folder / "fixed-seg.nii.gz").mask(3)


def test_dicom_gets_an_rtstruct_that_refers_to_the_daily_series(
    jrs: Callable, files: Any, optimiser: Any, truth: np.ndarray, tmp_path: Path
) -> None:
    f = files.folder
    words = ("propagate-contours", f / "moving-ct", f / "moving-RS.dcm", f / "fixed-ct", "-o", tmp_path / "out")
    said = jrs(*words)
    assert said.code == 0, said.err
    assert said.paths["rtstruct"].name == "RS_space-fixed_propagated.dcm"
    header = read_image(f / "fixed-ct").series
    found = read_rtstruct(said.paths["rtstruct"], header, files.fixed)
    assert found.frame_of_reference_uid == header.frame_of_reference_uid
    assert _dice(rasterize(found.roi("Ball"), files.fixed), truth) > 0.9
    record = (tmp_path / "out" / "run.json").read_text()
    assert json.loads(record)["rois"][0]["status"] == "ok"
    assert "Ball" not in record


def test_labels_to_a_nifti_image(jrs: Callable, files: Any, optimiser: Any, truth: np.ndarray, tmp_path: Path) -> None:
    f = files.folder
    words = ("propagate-contours", f / "moving.nii.gz", f / "moving-seg.nii.gz", f / "fixed.nii.gz", "-o", tmp_path / "out")
    labels = read_labels(jrs(*words).paths["labels"])
    assert dict(labels.names) == {3: "Ball"}
    assert _dice(labels.mask(3), truth) > 0.9


def test_several_days_have_a_folder_each(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("propagate-contours", f / "moving.nii.gz", f / "moving-seg.nii.gz", f / "fixed.nii.gz", f / "fixed.nii.gz")
    said = jrs(*words, "-o", tmp_path / "out")
    assert said.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["daily-1", "daily-2"]
    assert len(optimiser.calls) == 2


def test_a_cine_gets_the_labels_of_one_frame(
    jrs: Callable, files: Any, optimiser: Any, truth: np.ndarray, tmp_path: Path
) -> None:
    import nibabel as nib

    from jrscli.io.nifti import read_frames, write_frames
    from jrscli.spatial.resample import resample

    fixed = read_image(files.folder / "fixed.nii.gz").volume
    moving = resample(read_image(files.folder / "moving.nii.gz").volume, files.fixed)
    write_frames((fixed, moving, fixed), tmp_path / "cine.nii.gz")
    # every frame but the labelled one is found to be SHIFT_MM away, as the stand-in always says
    seg = files.folder / "fixed-seg.nii.gz"
    said = jrs("propagate-contours", tmp_path / "cine.nii.gz", seg, "--labelled-frame", "2", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    assert said.err.count("folds") == 1
    assert "2 frames in" in said.err
    assert nib.load(said.paths["labels"]).shape == (*files.fixed.shape, 3)
    assert nib.load(said.paths["labels"]).get_data_dtype() == np.uint8
    frames, _ = read_frames(said.paths["labels"])
    np.testing.assert_array_equal(frames[2].array == 3, truth)
    assert len(optimiser.calls) == 2
    apart = np.argwhere(frames[0].array == 3).mean(0) - np.argwhere(truth).mean(0)
    np.testing.assert_allclose(apart * files.fixed.spacing_mm, (-6, 4, -3), atol=0.5)
    assert "as it was drawn" in said.paths["report"].read_text()
    beat = json.loads(said.paths["metrics-json"].read_text())
    assert beat["kind"] == "beat"
    assert [row["name"] for row in beat["rows"]] == ["Ball"]
    # the ball is moved, not squeezed
    assert abs(beat["rows"][0]["metrics"]["ejection_fraction.v1(test)"]["value"]) < 6

    seg = said.paths["labels"]
    said = jrs("evaluate", seg, seg, "-o", tmp_path / "judged", "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert {row["case"] for row in document["structures"]} == {"frame 0", "frame 1", "frame 2"}
    assert document["beat"]["rows"][0]["metrics"]["ejection_fraction_diff.v1"]["value"] == 0
    jrs("evaluate", seg, files.folder / "fixed-seg.nii.gz", "-o", tmp_path / "no").failed_with(2, "usage.combination")


def test_a_folder_of_frames_is_a_cine(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (1, 2, 10):
        shutil.copy(files.folder / "fixed.nii.gz", frames / f"frame-{number}.nii.gz")
    seg = files.folder / "fixed-seg.nii.gz"
    words = ("propagate-contours", frames, seg, "--labelled-frame", "0", "--anonymise-rois", "--no-report")
    said = jrs(*words, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    assert "[cine.gap]" in said.err
    assert "report" not in said.paths
    assert len(optimiser.calls) == 2
    assert "Ball" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix != ".gz")


def test_a_cine_says_what_is_wrong_with_it(jrs: Callable, files: Any, tmp_path: Path) -> None:
    from jrscli.io.nifti import write_frames

    f = files.folder
    fixed = read_image(f / "fixed.nii.gz").volume
    write_frames((fixed, fixed), tmp_path / "cine.nii.gz")
    cine = ("propagate-contours", tmp_path / "cine.nii.gz")
    jrs(*cine, f / "fixed-seg.nii.gz", "--labelled-frame", "2").failed_with(2, "cine.frame")
    jrs(*cine, f / "moving-seg.nii.gz", "--labelled-frame", "0").failed_with(4, "cine.grid")
    jrs(*cine, f / "fixed-seg.nii.gz").failed_with(2, "usage.missing")
    jrs(*cine, f / "fixed-seg.nii.gz", f / "fixed.nii.gz", "--labelled-frame", "0").failed_with(2, "usage.combination")
    words = ("propagate-contours", f / "fixed.nii.gz", f / "fixed-seg.nii.gz", "--labelled-frame", "0")
    jrs(*words).failed_with(4, "cine.frames")


def test_an_atlas_gives_its_labels(jrs: Callable, files: Any, optimiser: Any, truth: np.ndarray, tmp_path: Path) -> None:
    f = files.folder
    atlas = ("--atlas", f / "moving.nii.gz", "--atlas-labels", f / "moving-seg.nii.gz")
    said = jrs("segment", f / "fixed-ct", *atlas, "-o", tmp_path / "one")
    assert said.code == 0, said.err
    assert _dice(read_labels(said.paths["labels"]).mask(3), truth) > 0.9
    found = read_rtstruct(said.paths["rtstruct"], read_image(f / "fixed-ct").series, files.fixed)
    assert _dice(rasterize(found.rois[0], files.fixed), truth) > 0.9
    said = jrs("segment", f / "fixed.nii.gz", *atlas, *atlas, "-o", tmp_path / "two")
    assert _dice(read_labels(said.paths["labels"]).mask(3), truth) > 0.9
    assert "rtstruct" not in said.paths


def test_evaluate_prints_a_table_and_writes_csv_and_json(jrs: Callable, files: Any, tmp_path: Path) -> None:
    seg = files.folder / "fixed-seg.nii.gz"
    said = jrs("evaluate", seg, seg, "-o", tmp_path / "out")
    header, row = said.out.splitlines()[:2]
    assert header.split()[0] == "name"
    assert row.split()[:2] == ["Ball", "1.000"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["structures"][0]["metrics"]["dice.v1"]["value"] == 1
    with (tmp_path / "out" / "metrics.csv").open() as file:
        assert {"Ball"} == {line["name"] for line in csv.DictReader(file)}
    document = json.loads(jrs("evaluate", seg, seg, "-o", tmp_path / "b", "--json", "--metrics", "dice").out)
    assert list(document["structures"][0]["metrics"]) == ["dice.v1"]


def test_evaluate_compares_an_rtstruct_with_labels(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("evaluate", f / "fixed-seg.nii.gz", f / "fixed-RS.dcm", "-o", tmp_path / "out", "--json")
    document = json.loads(jrs(*words).out)
    assert document["structures"][0]["metrics"]["dice.v1"]["value"] == 1


def test_evaluate_measures_landmarks(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    xfm = jrs("register", f / "fixed.nii.gz", f / "moving.nii.gz", "-o", tmp_path / "r").paths["xfm"]
    (tmp_path / "fixed.csv").write_text("x_lps_mm,y_lps_mm,z_lps_mm\n27,23,22\n")
    words = ("evaluate", tmp_path / "fixed.csv", f / "points.csv", "--xfm", xfm, "--json", "-o", tmp_path / "out")
    values = json.loads(jrs(*words).out)["rows"][0]["metrics"]
    assert values["tre_before.v1"]["value"] == pytest.approx(np.sqrt(61))
    assert values["tre.v1"]["value"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
def test_convert_series_there_and_back(name: str, jrs: Callable, files: Any, tmp_path: Path) -> None:
    assert jrs("convert", "series", files.folder / "fixed-ct", "--to", tmp_path / name).out == f"image\t{tmp_path / name}\n"
    assert jrs("convert", "series", tmp_path / name, "--modality", "ct", "--to", tmp_path / "dicom").code == 0
    one, two = read_image(files.folder / "fixed-ct"), read_image(tmp_path / "dicom")
    assert two.modality == "CT"
    assert one.volume.geometry.matches(two.volume.geometry)
    np.testing.assert_array_equal(one.volume.array, two.volume.array)


def test_convert_contours_there_and_back(jrs: Callable, files: Any, truth: np.ndarray, tmp_path: Path) -> None:
    f = files.folder
    to_labels = ("convert", "contours", f / "fixed-RS.dcm", "--reference", f / "fixed-ct", "--to", tmp_path / "a.nii.gz")
    assert jrs(*to_labels).code == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").mask(3), truth)
    back = ("convert", "contours", tmp_path / "a.nii.gz", "--reference", f / "fixed-ct", "--to", tmp_path / "a.dcm")
    assert jrs(*back).code == 0
    found = read_rtstruct(tmp_path / "a.dcm", read_image(f / "fixed-ct").series, files.fixed)
    np.testing.assert_array_equal(rasterize(found.roi("Ball"), files.fixed), truth)


def test_convert_contours_asks_for_the_image(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    jrs("convert", "contours", f / "fixed-RS.dcm", "--to", tmp_path / "a.nii.gz").failed_with(2, "convert.reference")
    words = ("convert", "contours", f / "fixed-seg.nii.gz", "--reference", f / "fixed.nii.gz", "--to", tmp_path / "a.dcm")
    jrs(*words).failed_with(2, "convert.reference")


def test_convert_fields_and_transforms(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    xfm = jrs("register", f / "fixed.nii.gz", f / "moving.nii.gz", "-o", tmp_path / "r").paths["xfm"]
    assert jrs("convert", "field", xfm, "--to", tmp_path / "field.nii.gz").code == 0
    assert jrs("convert", "field", tmp_path / "field.nii.gz", "--to", tmp_path / "field.nrrd").code == 0
    assert jrs("convert", "reg", tmp_path / "field.nrrd", "--to", tmp_path / "field.h5").code == 0
    assert jrs("convert", "reg", xfm, "--to", tmp_path / "copy.h5").code == 0
    from jrscli.io.transforms import read_transform

    points = np.array([[20.0, 20.0, 20.0]])
    wanted = read_transform(xfm).map_points(points)
    for name in ("field.nii.gz", "field.nrrd", "field.h5", "copy.h5"):
        np.testing.assert_allclose(read_transform(tmp_path / name).map_points(points), wanted, atol=1e-4)
    assert (tmp_path / "copy.json").exists()
    jrs("convert", "field", tmp_path / "field.h5", "--to", tmp_path / "x.nii.gz")
    (tmp_path / "copy.json").unlink()
    jrs("convert", "field", tmp_path / "copy.h5", "--to", tmp_path / "y.nii.gz").failed_with(4, "transform.not_field")


def test_info_tells_images_labels_and_points(jrs: Callable, files: Any) -> None:
    f = files.folder
    assert "28 × 24 × 16 voxels of 2 × 2 × 3 mm, axes LPS" in jrs("info", f / "fixed.nii.gz").out
    assert "labels 3 Ball" in jrs("info", f / "fixed-seg.nii.gz").out
    assert "1 points, 1 of them named" in jrs("info", f / "points.csv").out
    assert "Ball" in jrs("info", f / "fixed-RS.dcm").out
    document = json.loads(jrs("info", f / "fixed-ct", "--json").out)
    assert document["contents"][0]["geometry"]["geometry_sha256"] == files.fixed.sha256


def test_info_tells_which_rtstruct_belongs_to_which_series(jrs: Callable, files: Any, tmp_path: Path) -> None:
    for name in ("fixed", "moving"):
        shutil.copytree(files.folder / f"{name}-ct", tmp_path / "study" / name)
        shutil.copy(files.folder / f"{name}-RS.dcm", tmp_path / "study")
    contents = json.loads(jrs("info", tmp_path / "study", "--json").out)["contents"]
    sizes = {part["path"]: part["geometry"]["size"] for part in contents if part["kind"] == "image"}
    owners = [part["belongs_to"] for part in contents if part["kind"] == "rtstruct"]
    # structure sets come in the order of their file names: fixed, then moving
    assert [sizes[f"series {number}"] for (number,) in owners] == [list(files.fixed.shape), list(files.moving.shape)]


def test_info_describes_a_transform_in_a_sentence(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    xfm = jrs("register", f / "fixed.nii.gz", f / "moving.nii.gz", "-o", tmp_path / "r").paths["xfm"]
    text = jrs("info", xfm).out
    assert "moves images moving -> fixed, points fixed -> moving" in text
    assert "moves points by 7.81 mm on average" in text
    assert "folds nowhere" in text
    document = json.loads(jrs("info", xfm, "--json").out)
    assert document["displacement_max_mm"] == pytest.approx(np.sqrt(61), abs=1e-3)
    assert document["jacobian"] == pytest.approx([1, 1], abs=1e-4)


def test_info_shows_why_a_series_is_refused(jrs: Callable, files: Any, tmp_path: Path) -> None:
    shutil.copytree(files.folder / "fixed-ct", tmp_path / "ct")
    sorted((tmp_path / "ct").iterdir())[7].unlink()
    said = jrs("info", tmp_path / "ct")
    assert said.code == 0
    assert "[series.missing]" in said.out


def test_the_doctor_looks_at_everything(jrs: Callable) -> None:
    document = json.loads(jrs("doctor", "--json").out)
    names = {check["name"] for check in document["checks"]}
    assert {"python", "platform", "torch", "GPU", "memory", "scratch space", "plastimatch", "dciodvfy"} <= names
    assert {check["state"] for check in document["checks"]} <= {"ok", "note", "warn", "bad"}


def test_the_doctor_sees_two_onnxruntimes(jrs: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from jrscli.cli import checks

    real = checks._version
    monkeypatch.setattr(checks, "_version", lambda name: "1.0" if name.startswith("onnxruntime") else real(name))
    found = next(check for check in checks.checks() if check.name == "onnxruntime")
    assert found.state == "warn"
    assert "pip uninstall" in found.hint

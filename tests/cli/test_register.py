"""What `jrs register` writes and says; the optimiser itself is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.io import read_image, read_labels
from jrscli.io.sidecar import read_sidecar
from jrscli.io.transforms import read_field, read_transform

FORWARD = "from-moving_to-fixed_mode-image_xfm"
BACKWARD = "from-fixed_to-moving_mode-image_xfm"
SHIFT_MM = np.array([6.0, -4.0, 3.0])


@pytest.fixture
def pair(files: Any) -> tuple[Path, Path]:
    return files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz"


def test_outputs_have_their_names_and_are_named(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    said = jrs("register", *pair, "-o", tmp_path / "out")
    assert said.code == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    names = ["warped.nii.gz", "overlay.png", "run.json", *(f"{x}.{e}" for x in (FORWARD, BACKWARD) for e in ("h5", "json"))]
    assert written == sorted(names)
    assert said.out.splitlines() == [
        f"image\t{tmp_path}/out/warped.nii.gz",
        f"overlay\t{tmp_path}/out/overlay.png",
        f"xfm\t{tmp_path}/out/{FORWARD}.h5",
        f"xfm-inverse\t{tmp_path}/out/{BACKWARD}.h5",
        f"run\t{tmp_path}/out/run.json",
    ]
    assert said.err.splitlines()[-1] == f"next: look at {tmp_path}/out/overlay.png"


def test_the_transform_pulls_and_its_inverse_comes_back(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, "-o", tmp_path)
    point = np.array([[27.0, 23.0, 22.0]])
    there = read_transform(tmp_path / f"{FORWARD}.h5").map_points(point)
    np.testing.assert_allclose(there - point, [SHIFT_MM], atol=1e-6)
    np.testing.assert_allclose(read_transform(tmp_path / f"{BACKWARD}.h5").map_points(there), point, atol=1e-6)


def test_the_image_is_on_the_fixed_grid_and_itk_agrees_with_it(
    jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path
) -> None:
    jrs("register", *pair, "-o", tmp_path)
    warped = read_image(tmp_path / "warped.nii.gz").volume
    assert warped.geometry.matches(files.fixed)
    assert warped.array.dtype == np.int16
    fixed, moving = (sitk.ReadImage(str(path)) for path in pair)
    transform = sitk.ReadTransform(str(tmp_path / f"{FORWARD}.h5"))
    expected = sitk.Resample(sitk.Cast(moving, sitk.sitkFloat32), fixed, transform, sitk.sitkLinear, float(warped.array.min()))
    np.testing.assert_allclose(sitk.GetArrayFromImage(expected).transpose(2, 1, 0), warped.array, atol=0.51)


def test_the_sidecars_say_both_directions(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, "-o", tmp_path)
    there, back = (read_sidecar(tmp_path / f"{name}.h5") for name in (FORWARD, BACKWARD))
    assert there.target.matches(files.fixed)
    assert there.source.matches(files.moving)
    assert back.target.matches(files.moving)
    assert (there.inverse, back.inverse) == (f"{BACKWARD}.h5", f"{FORWARD}.h5")
    assert there.document()["inverse_consistency_p95_mm"] == 0.01


def test_the_record(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, "-o", tmp_path, "--preset", "fast", "--seed", "7", "--threads", "2")
    text = (tmp_path / "run.json").read_text()
    record = json.loads(text)
    assert record["command"] == "register"
    assert record["status"] == "ok"
    assert {"preset": "fast", "seed": 7, "threads": 2}.items() <= record["options"].items()
    assert [entry["role"] for entry in record["inputs"]] == ["fixed", "moving"]
    assert record["inputs"][0]["geometry_sha256"] == files.fixed.sha256
    assert [entry["step"] for entry in record["steps"]] == ["linear", "deformable"]
    assert {entry["file"] for entry in record["outputs"]} == {
        "warped.nii.gz",
        "overlay.png",
        f"{FORWARD}.h5",
        f"{BACKWARD}.h5",
    }
    assert record["timing"]["peak_memory_mib"] > 0
    assert str(files.folder) not in text


def test_options_reach_the_optimiser(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    words = ("--preset", "best", "--init", "moments", "--linear-only", "--seed", "3", "--device", "cpu", "--threads", "1")
    mask = files.folder / "fixed-seg.nii.gz"
    jrs("register", *pair, "-o", tmp_path, *words, "--fixed-mask", mask)
    (options,) = optimiser.calls
    expected = {"preset": "best", "init": "moments", "linear_only": True, "seed": 3, "device": "cpu", "threads": 1}
    assert expected.items() <= options.items()
    assert options["fixed_mask"].numbers() == [3]
    assert options["moving_mask"] is None


def test_a_linear_transform_can_be_the_start(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, "-o", tmp_path / "first")
    start = tmp_path / "first" / f"{FORWARD}.h5"
    jrs("register", *pair, "-o", tmp_path / "second", "--init", start).failed_with(4, "transform.not_linear")
    from jrscli.io.transforms import write_transform
    from jrscli.spatial.affine import AffineTransform
    from jrscli.spatial.transform import Transform

    shift = AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM)
    write_transform(Transform((shift,)), tmp_path / "start.tfm")
    assert jrs("register", *pair, "-o", tmp_path / "third", "--init", tmp_path / "start.tfm").code == 0
    np.testing.assert_allclose(optimiser.calls[-1]["init"].matrix, shift.matrix)


def test_one_frame_of_reference_starts_at_the_headers(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    jrs("register", f / "fixed-ct", f / "fixed-ct", "-o", tmp_path / "same")
    jrs("register", f / "fixed-ct", f / "moving-ct", "-o", tmp_path / "other")
    assert [options["init"] for options in optimiser.calls] == ["header", "auto"]


def test_labels_of_the_moving_image_come_along(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, "-o", tmp_path, "--moving-labels", files.folder / "moving-seg.nii.gz")
    labels = read_labels(tmp_path / "seg_space-fixed.nii.gz")
    truth = read_labels(files.folder / "fixed-seg.nii.gz").mask(3)
    assert dict(labels.names) == {3: "Ball"}
    assert 2 * (labels.mask(3) & truth).sum() / (labels.mask(3).sum() + truth.sum()) > 0.9


def test_the_field_is_written_where_asked(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    said = jrs("register", *pair, "-o", tmp_path / "out", "--write-field", tmp_path / "field.nii.gz")
    assert said.paths["field"] == tmp_path / "field.nii.gz"
    field = read_field(tmp_path / "field.nii.gz")
    assert field.geometry.matches(files.fixed)
    np.testing.assert_allclose(field.array[5, 5, 5], SHIFT_MM, atol=1e-5)


def test_without_the_inverse(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    said = jrs("register", *pair, "-o", tmp_path / "out", "--no-inverse")
    assert "xfm-inverse" not in said.paths
    assert not (tmp_path / "out" / f"{BACKWARD}.h5").exists()
    assert "inverse" not in json.loads((tmp_path / "out" / f"{FORWARD}.json").read_text())


def test_a_failed_registration_is_written_marked_and_ends_with_3(
    jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path
) -> None:
    optimiser.failed = "the images have nothing in common"
    said = jrs("register", *pair, "-o", tmp_path / "out").failed_with(3, "register.failed")
    assert "nothing in common" in said.err
    assert said.paths["image"].exists()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["code"]) == ("failed", "register.failed")
    assert json.loads((tmp_path / "out" / f"{FORWARD}.json").read_text())["failed"] == "the images have nothing in common"


def test_json_is_one_document(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    document = json.loads(jrs("register", *pair, "-o", tmp_path / "out", "--json").out)
    assert document["command"] == "register"
    assert {"kind": "image", "path": f"{tmp_path}/out/warped.nii.gz"} in document["outputs"]


def test_quiet_says_nothing_and_json_progress_says_steps(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    assert jrs("register", *pair, "-o", tmp_path / "a", "-q").err == ""
    lines = jrs("register", *pair, "-o", tmp_path / "b", "-q", "--progress", "json").err.splitlines()
    assert [json.loads(line)["done"] for line in lines] == [1, 2]
    assert json.loads(lines[0])["stage"] == "linear"
    assert json.loads(lines[0])["eta_s"] is not None


def test_default_folder_suffix_and_skip(
    jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert jrs("register", *pair).paths["image"] == Path("jrs-out/fixed/warped.nii.gz")
    assert jrs("register", *pair).paths["image"] == Path("jrs-out/fixed-2/warped.nii.gz")
    said = jrs("register", *pair, "--exist", "skip")
    assert said.paths["image"] == Path("jrs-out/fixed/warped.nii.gz")
    assert len(optimiser.calls) == 2
    jrs("register", *pair, "--exist", "error").failed_with(1, "output.exists")


def test_dicom_results_go_by_a_pseudonym(
    jrs: Callable, files: Any, optimiser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = jrs("register", files.folder / "fixed-ct", files.folder / "moving-ct")
    assert said.paths["image"].parent.name.startswith("P-")


def test_a_mask_on_another_grid_is_resampled_and_said(
    jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path
) -> None:
    said = jrs("register", *pair, "-o", tmp_path, "--fixed-mask", files.folder / "moving-seg.nii.gz")
    assert "[mask.grid]" in said.err
    assert optimiser.calls[0]["fixed_mask"].geometry.matches(files.fixed)
    assert json.loads((tmp_path / "run.json").read_text())["repairs"] == ["mask.grid"]


def test_select_picks_series_in_order(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    import shutil

    both = tmp_path / "both"
    for name in ("fixed", "moving"):
        shutil.copytree(files.folder / f"{name}-ct", both / name)
    from jrscli.io.dicom_series import list_series, read_series

    shapes = {read_series(both, select=str(s.number))[0].geometry.shape: str(s.number) for s in list_series(both)}
    fixed, moving = shapes[files.fixed.shape], shapes[files.moving.shape]
    said = jrs("register", both, both, "--select", fixed, "--select", moving, "-o", tmp_path / "out")
    assert said.code == 0
    assert [entry["size"] for entry in json.loads((tmp_path / "out" / "run.json").read_text())["inputs"]] == [
        list(files.fixed.shape),
        list(files.moving.shape),
    ]

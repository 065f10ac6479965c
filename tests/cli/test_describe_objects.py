"""`jrs info` on registrations, segmentations and doses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from jrscli.io import read_image, read_labels
from jrscli.io.dose import Dose, write_dose
from jrscli.io.registration_object_write import write_rigid
from jrscli.io.segmentation_object import write_segmentation
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.masks import Masks
from jrscli.spatial.volume import Volume


@pytest.fixture
def moving(files: Any) -> Any:
    return read_image(files.folder / "moving-ct")


def told(jrs: Callable, path: Path) -> dict[str, Any]:
    lines, document = jrs("info", path), jrs("info", path, "--json")
    assert lines.code == document.code == 0, lines.err
    found: dict[str, Any] = json.loads(document.out)
    assert found["what"] in lines.out
    return found


def test_a_registration(jrs: Callable, files: Any, moving: Any, tmp_path: Path) -> None:
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([3.0, 4.0, 0.0]))
    write_rigid(shift, read_image(files.folder / "fixed-ct").series, moving.series, tmp_path / "r.dcm")
    found = told(jrs, tmp_path / "r.dcm")
    assert found["what"] == "DICOM Spatial Registration with 2 items"
    assert [(item["frame"], item["identity"], item["images"]) for item in found["items"]] == [
        ("other", False, 20),
        ("registered", True, 16),
    ]
    np.testing.assert_allclose(np.array(found["items"][0]["matrix_lps_mm"])[:3, 3], (3, 4, 0))


def test_a_segmentation(jrs: Callable, files: Any, moving: Any, tmp_path: Path) -> None:
    labels = read_labels(files.folder / "moving-seg.nii.gz")
    write_segmentation(Masks.of_labels(labels), moving.series, files.moving, tmp_path / "s.dcm")
    found = told(jrs, tmp_path / "s.dcm")
    volume = labels.mask(3).sum() * 0.01
    assert found["segments"] == [{"number": 1, "name": "Ball", "volume_cc": pytest.approx(volume, abs=1e-3)}]


def test_a_dose(jrs: Callable, files: Any, moving: Any, tmp_path: Path) -> None:
    kept, plan = Dataset(), Dataset()
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4"
    kept.ReferencedRTPlanSequence = [plan]
    given = Dose(Volume(np.full(files.moving.shape, 42.0, np.float32), files.moving), "GY", "", kept)
    write_dose(given.volume, given, moving.series, tmp_path / "d.dcm")
    found = told(jrs, tmp_path / "d.dcm")
    assert found["what"] == "RTDOSE, up to 42.00 Gy"
    assert found["geometry"]["size"] == list(files.moving.shape)

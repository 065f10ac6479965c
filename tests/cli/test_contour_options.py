"""Options of commands that read or write contours: what is asked for is done, said and recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from jrscli.io import read_image, read_labels
from jrscli.io.rtstruct import read_rtstruct, write_rtstruct
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet


def drawn(files: Any, path: Path, *rois: Roi) -> Path:
    """A structure set of the moving series."""
    write_rtstruct(StructureSet(rois), read_image(files.folder / "moving-ct").series, files.moving, path, seed="drawn")
    return path


def ball(files: Any) -> Roi:
    (roi,) = read_rtstruct(files.folder / "moving-RS.dcm").rois
    return roi


@pytest.fixture
def carry(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> Callable:
    def run(contours: Path, *options: object) -> Any:
        words = (files.folder / "moving-ct", contours, files.folder / "fixed-ct", "-o", tmp_path / "out", *options)
        return jrs("propagate-contours", *words)

    return run


def read_back(said: Any, files: Any) -> StructureSet:
    return read_rtstruct(said.paths["rtstruct"], read_image(files.folder / "fixed-ct").series, files.fixed)


def test_gaps_are_told_and_filled_if_asked(carry: Callable, files: Any, tmp_path: Path) -> None:
    whole = ball(files)
    z = sorted({c.points[0, 2] for c in whole.contours})
    thin = drawn(files, tmp_path / "rs.dcm", Roi(3, "Ball", tuple(c for c in whole.contours if c.points[0, 2] in z[::2])))
    plain, filled = carry(thin), carry(thin, "--fill-gaps")
    assert "[rs.gap]" in plain.err
    assert "[rs.filled]" in filled.err
    volumes = [rasterize(read_back(said, files).rois[0], files.fixed).sum() for said in (plain, filled)]
    assert volumes[0] < 0.75 * volumes[1]


def test_simpler_outlines_are_recorded_with_their_dice(carry: Callable, files: Any) -> None:
    said = carry(files.folder / "moving-RS.dcm", "--simplify", "1")
    record = json.loads(said.paths["run"].read_text())
    (words,) = [notice["message"] for notice in record["notices"] if notice["code"] == "rs.simplified"]
    assert "Dice 0.9" in words
    assert record["options"]["simplify_mm"] == 1


def test_contours_outside_are_an_error_under_strict(carry: Callable, files: Any, tmp_path: Path) -> None:
    far = Contour(ball(files).contours[0].points + np.array([500.0, 0, 0]))
    both = drawn(files, tmp_path / "rs.dcm", ball(files), Roi(4, "Far", (far,)))
    said = carry(both)
    assert said.code == 0
    assert "[rs.outside]" in said.err
    carry(both, "--strict").failed_with(4, "rs.outside")
    assert carry(files.folder / "moving-RS.dcm", "--strict").code == 0


def test_holes_are_written_as_asked(carry: Callable, files: Any, tmp_path: Path) -> None:
    whole = ball(files)
    middle = np.array([whole.contours[5].points[:, 0].mean(), whole.contours[5].points[:, 1].mean(), 0])
    inner = tuple(Contour(middle + (c.points - middle) * (0.5, 0.5, 1)) for c in whole.contours[3:-3])
    ring = drawn(files, tmp_path / "rs.dcm", Roi(3, "Ball", whole.contours + inner))
    kinds = {}
    for holes in ("keyhole", "xor"):
        found = pydicom.dcmread(carry(ring, "--holes", holes).paths["rtstruct"])
        kinds[holes] = {c.ContourGeometricType for c in found.ROIContourSequence[0].ContourSequence}
    assert kinds == {"keyhole": {"CLOSED_PLANAR"}, "xor": {"CLOSEDPLANAR_XOR"}}


def test_new_names_are_written_and_idle_ones_told(carry: Callable, files: Any, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("Ball,GTVp\nLiver,Liver_1\n")
    said = carry(files.folder / "moving-RS.dcm", "--rename", tmp_path / "names.csv")
    assert [roi.name for roi in read_back(said, files).rois] == ["GTVp"]
    assert "1 of 2 names" in said.err
    (tmp_path / "names.csv").write_text("Ball\n")
    carry(files.folder / "moving-RS.dcm", "--rename", tmp_path / "names.csv").failed_with(4, "rename.unreadable")


def test_labels_get_new_names_too(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    (tmp_path / "names.json").write_text('{"Ball": "GTVp"}')
    words = (f / "moving.nii.gz", f / "moving-seg.nii.gz", f / "fixed.nii.gz", "--rename", tmp_path / "names.json")
    said = jrs("propagate-contours", *words, "-o", tmp_path / "out")
    assert dict(read_labels(said.paths["labels"]).names) == {3: "GTVp"}


def test_convert_knows_the_same_options(jrs: Callable, files: Any, tmp_path: Path) -> None:
    whole, ct = ball(files), files.folder / "moving-ct"
    z = sorted({c.points[0, 2] for c in whole.contours})
    thin = drawn(files, tmp_path / "rs.dcm", Roi(3, "Ball", tuple(c for c in whole.contours if c.points[0, 2] in z[::2])))
    (tmp_path / "names.csv").write_text("Ball;GTVp\n")
    words = ("convert", "contours", thin, "--reference", ct, "--fill-gaps", "--rename", tmp_path / "names.csv", "--json")
    said = jrs(*words, "--to", tmp_path / "b.dcm")
    document = json.loads(said.out)
    assert "rs.filled" in {notice["code"] for notice in document["notices"]}
    assert document["rois"][0]["contours"] == 2 * len(z[::2]) - 1
    header = read_image(ct).series
    filled = read_rtstruct(tmp_path / "b.dcm", header, files.moving)
    assert [roi.name for roi in filled.rois] == ["GTVp"]
    assert pydicom.dcmread(tmp_path / "b.dcm").StructureSetROISequence[0].ROIDescription == "converted"
    words = ("convert", "contours", files.folder / "moving-seg.nii.gz", "--reference", ct, "--simplify", "1")
    said = jrs(*words, "--to", tmp_path / "c.dcm")
    assert "[rs.simplified]" in said.err
    count = [sum(len(c.points) for c in roi.contours) for roi in (read_rtstruct(tmp_path / "c.dcm").rois[0], whole)]
    assert count[0] < 0.8 * count[1]


def test_convert_refuses_labels_of_another_grid(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("convert", "contours", f / "moving-seg.nii.gz", "--reference", f / "fixed-ct", "--to", tmp_path / "a.dcm")
    jrs(*words).failed_with(4, "geometry.other_grid")


def test_convert_takes_labels_whose_axes_run_otherwise(jrs: Callable, files: Any, tmp_path: Path) -> None:
    from jrscli.io import write_labels
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.volume import LabelMap

    labels = read_labels(files.folder / "fixed-seg.nii.gz")
    affine = files.fixed.affine[:, [2, 1, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (files.fixed.shape[1] - 1)
    affine[:3, 1] *= -1
    turned = np.flip(labels.array.transpose(2, 1, 0), 1)
    write_labels(LabelMap(turned, Geometry(turned.shape, affine), labels.names), tmp_path / "turned.nii.gz")
    words = ("convert", "contours", tmp_path / "turned.nii.gz", "--reference", files.folder / "fixed-ct")
    assert jrs(*words, "--to", tmp_path / "a.dcm").code == 0
    (roi,) = read_rtstruct(tmp_path / "a.dcm").rois
    np.testing.assert_array_equal(rasterize(roi, files.fixed), labels.mask(3))


def test_contours_of_another_space_are_used_only_if_asked(jrs: Callable, carry: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("convert", "contours", f / "moving-RS.dcm", "--reference", f / "fixed-ct", "--to", tmp_path / "a.nii.gz")
    assert "--assume-aligned" in jrs(*words).failed_with(4, "rs.other_space").err
    said = jrs(*words, "--assume-aligned")
    assert said.code == 0
    assert "[rs.for]" in said.err
    far = ("propagate-contours", f / "fixed-ct", f / "moving-RS.dcm", f / "fixed-ct", "-o", tmp_path / "out")
    jrs(*far).failed_with(4, "rs.other_space")

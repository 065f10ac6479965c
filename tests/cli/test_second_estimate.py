"""Carried and found contours side by side, and fused: files, words, the record and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from jrscli.io import read_contours, read_image, read_labels, write_image, write_labels
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.report import overlay, sheets
from jrscli.runtime.card import Grid, Input, Window
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

SHAPE = (40, 30, 14)
TURNS = {"head first": (1, 1, 1), "feet first": (-1, 1, -1)}
PLACES = {1: (-20, 0, 0), 2: (20, 0, 0), 3: (0, 16, 0)}  # patient's right, left, behind (LPS mm from the middle)
GREY = {1: 350, 2: 650, 3: 900}
NAMES = {1: "Parotid_R", 2: "Parotid_L", 7: "GTVp"}
LABELS = ("background", "right parotid", "left parotid", "larynx")


def ball(grid: Geometry, place_mm: tuple[float, float, float], radius_mm: float = 11.5) -> np.ndarray:
    index = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
    away = grid.index_to_world(index) - grid.centre_mm - np.array(place_mm)
    return (np.linalg.norm(away, axis=1) < radius_mm).reshape(grid.shape)


@pytest.fixture(scope="module")
def study(request, make_model, tmp_path_factory):
    """CT of three organs, contours of two of them (one of these 4 mm off) and of a target, and a model that knows the three."""
    folder = tmp_path_factory.mktemp("study")
    grid = Geometry(SHAPE, np.diag([*(np.array(TURNS[getattr(request, "param", "head first")]) * (2.0, 2.0, 3.0)), 1.0]))
    array = np.zeros(SHAPE, np.int16)
    for number, place in PLACES.items():
        array[ball(grid, place)] = GREY[number]
    header = write_series(Volume(array, grid), folder / "plan", seed="plan")
    write_series(Volume(array, grid), folder / "day", seed="day", header_from=header)
    write_image(Volume(array, grid), folder / "day.nii.gz")
    drawn = np.zeros(SHAPE, np.uint32)
    drawn[ball(grid, (0, -10, 0), 6)] = 7
    drawn[ball(grid, (-20, 4, 0))] = 1
    drawn[ball(grid, PLACES[2])] = 2
    labels = LabelMap(drawn, grid, NAMES)
    write_rtstruct(structures_of_labels(labels), header, grid, folder / "RS.dcm", seed="RS")
    write_labels(labels, folder / "labels.nii.gz")
    card = make_model(
        folder / "model", "joint", shift=(0, 0, 0), levels=(0.2, 0.5, 0.8), labels=LABELS, fusion={"left parotid": 0.25},
        spec=Input(modality=("CT",), window=Window(values=(0, 1000))), grid=Grid(multiple=(2, 2, 2)),
    )  # fmt: skip
    return SimpleNamespace(folder=folder, grid=grid, card=card, labels=labels)


@pytest.fixture
def carry(jrs, study, tmp_path, monkeypatch):
    """``carry(plan, contours, day, …)``: what was said, the folder of the results, the record."""
    monkeypatch.setattr(overlay, "draw_overlay", lambda *args, **options: b"")
    monkeypatch.setattr(sheets, "WIDTH_PX", 240)

    def run(*words):
        names = [word if str(word).startswith("-") else study.folder / word for word in words[:3]]
        given = (*names, *words[3:], "--model", study.card, "--refine", "0", "--device", "cpu", "-o", tmp_path / "out")
        said = jrs("propagate-contours", *given)
        assert said.code == 0, said.err
        return said, tmp_path / "out", json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))

    return run


def middles(structures, grid):
    """Where each ROI lies, relative to the middle of the grid, LPS mm."""
    found = {}
    for roi in structures.rois:
        mask = rasterize(roi, grid)
        found[roi.name] = grid.index_to_world(np.argwhere(mask)).mean(axis=0) - grid.centre_mm
    return found


@pytest.mark.parametrize("study", list(TURNS), indirect=True)
def test_three_structure_sets_of_one_day(carry, study):
    said, out, record = carry("plan", "RS.dcm", "day")
    image = read_image(study.folder / "day")
    sets = {
        name: read_contours(out / f"RS_space-fixed_{name}.dcm", reference=image) for name in ("propagated", "network", "fused")
    }
    grid = image.volume.geometry
    assert [roi.name for roi in sets["fused"].rois] == [roi.name for roi in sets["propagated"].rois] == list(NAMES.values())
    assert [roi.name for roi in sets["network"].rois] == list(LABELS[1:])
    carried, network, fused = (middles(sets[name], grid) for name in ("propagated", "network", "fused"))
    assert carried["Parotid_R"] == pytest.approx([-20, 4, 0], abs=0.6)
    assert network["right parotid"] == pytest.approx([-20, 0, 0], abs=0.6)
    assert fused["Parotid_R"] == pytest.approx([-20, 2, 0], abs=0.6)  # midway: the card says nothing of it
    assert fused["Parotid_L"] == pytest.approx([20, 0, 0], abs=0.6)
    assert fused["GTVp"] == pytest.approx(carried["GTVp"], abs=1e-3)
    told = {}
    for name in sets:
        item = pydicom.dcmread(out / f"RS_space-fixed_{name}.dcm")
        assert item.ApprovalStatus == "UNAPPROVED"
        assert item.StructureSetDescription.startswith("QA: ")
        told[name] = {roi.ROIName: roi.ROIDescription for roi in item.StructureSetROISequence}
    assert told["fused"] == {
        "Parotid_R": "fused, 0.5 of the network",
        "Parotid_L": "fused, 0.25 of the network",
        "GTVp": "propagated only",
    }
    assert told["network"] == {"right parotid": "network", "left parotid": "network", "larynx": "network only"}
    assert "rtstruct-fused\t" in said.out
    assert record["fused"] == [{"number": 1, "network_share": 0.5}, {"number": 2, "network_share": 0.25}]


def test_what_is_said_and_recorded_names_nobody(carry):
    said, out, record = carry("plan", "RS.dcm", "day")
    lines = [line.split() for line in said.err.splitlines()]
    assert any(line[:4] == ["ROI", "1", "right", "parotid"] and "apart" in line for line in lines)
    assert any(line == ["ROI", "7", "-", "propagated", "only"] for line in lines)
    assert any(line == ["-", "larynx", "network", "only"] for line in lines)
    for name in NAMES.values():
        assert name not in said.err + said.out + (out / "run.json").read_text("utf-8")
    assert {(one["model_label"], one["status"], one.get("number")) for one in record["organs"]} == {
        ("right parotid", "both", 1),
        ("left parotid", "both", 2),
        ("larynx", "network only", None),
    }
    assert record["propagated_only"] == 1
    right, left = record["disagreement"]
    assert (right["structure"], right["number"], right["status"]) == ("right parotid", 1, "review")
    assert left["status"] == "pass"
    assert left["dice"] > 0.95 > right["dice"] > 0.7
    stages = record["timing"]["stages"]
    assert list(stages) == ["read", "register and carry", "write", "segment", "compare", "fuse", "report"]
    assert 0 < sum(stages.values()) <= record["timing"]["seconds"] + 0.01


def test_the_report_begins_with_the_two_estimates(carry):
    _, out, _ = carry("plan", "RS.dcm", "day")
    page = (out / "report.html").read_text("utf-8")
    first = page.index("<h2>")
    assert page[first:].startswith("<h2>Two estimates of each contour</h2>")
    table = page[first : page.index("</table>", first)]
    for words in (
        "Parotid_R",
        "GTVp",
        "propagated only",
        "network only",
        "larynx",
        "0.25 network",
        "as propagated",
        "left out",
    ):
        assert words in table
    assert "contours of the network dashed" in page
    rows = json.loads((out / "metrics.json").read_text("utf-8"))["gate"]["rows"]
    assert {row["structure"] for row in rows if row["id"] == "disagreement.v1"} == {"Parotid_R", "Parotid_L"}


def test_without_names_where_none_are_wanted(carry):
    _, out, _ = carry("plan", "RS.dcm", "day", "--anonymise-rois")
    named = [roi.ROIName for roi in pydicom.dcmread(out / "RS_space-fixed_fused.dcm").StructureSetROISequence]
    assert named == ["ROI-1", "ROI-2", "ROI-7"]
    for file in ("report.html", "run.json", "metrics.json"):
        text = (out / file).read_text("utf-8")
        assert not any(name in text for name in NAMES.values()), file
    assert "ROI-1" in (out / "report.html").read_text("utf-8")


def test_label_files_too(carry, study):
    _, out, _ = carry("plan", "labels.nii.gz", "day.nii.gz", "--no-report", "--gate", "off")
    assert not list(out.glob("*.dcm"))
    fused = read_labels(out / "seg_space-fixed_fused.nii.gz")
    assert fused.names == NAMES
    place = fused.geometry.index_to_world(np.argwhere(fused.mask(1))).mean(axis=0) - study.grid.centre_mm
    assert place == pytest.approx([-20, 2, 0], abs=0.7)
    assert not (fused.array == 3).any()
    assert (out / "seg_space-fixed_network.nii.gz").exists()


def test_exchanged_names_are_told(carry, study, tmp_path):
    swapped = {1: "Parotid_L", 2: "Parotid_R", 7: "GTVp"}
    header = read_image(study.folder / "plan").series
    labels = replace(study.labels, names=swapped)
    write_rtstruct(structures_of_labels(labels), header, study.grid, tmp_path / "swapped.dcm", seed="swapped")
    said, out, record = carry("plan", tmp_path / "swapped.dcm", "day", "--no-report")
    assert "[rs.sides]" in said.err
    assert record["fused"] == []
    image = read_image(study.folder / "day")
    both = [read_contours(out / f"RS_space-fixed_{name}.dcm", reference=image) for name in ("propagated", "fused")]
    for one, other in zip(both[0].rois, both[1].rois, strict=True):
        assert one.name == other.name
        assert np.array_equal(rasterize(one, study.grid), rasterize(other, study.grid))


def test_an_image_of_another_kind_is_not_fused(carry, study, make_model, monkeypatch):
    other = make_model(
        study.folder / "other", "other", shift=(0, 0, 0), levels=(0.2, 0.5, 0.8), labels=LABELS,
        volumes_cc={"larynx": (100.0, 200.0)},
        spec=Input(modality=("CT",), window=Window(values=(0, 1000))), grid=Grid(multiple=(2, 2, 2)),
    )  # fmt: skip
    monkeypatch.setattr(study, "card", other)
    said, out, record = carry("plan", "RS.dcm", "day", "--no-report")
    assert "[model.unlike]" in said.err
    assert "fused" not in record
    assert not (out / "RS_space-fixed_fused.dcm").exists()
    assert (out / "RS_space-fixed_network.dcm").exists()

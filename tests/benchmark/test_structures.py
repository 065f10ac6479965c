"""Structure sets of real patients and of a phantom: their voxels, their volumes, and what another reader makes of ours.

    JRS_DATA=/path/to/data pytest -m benchmark tests/benchmark/test_structures.py -s

The data folder holds dicom/pelvis-phantom and dicom/sarcoma. Each structure set is read, its ROIs become masks, the masks
become contours again, and what is written is read by plastimatch and judged by dciodvfy. One line is printed for each ROI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.cli import app
from jrscli.io import read_labels
from jrscli.io.dicom_series import read_series
from jrscli.io.rtstruct import read_rtstruct, write_rtstruct
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.contouring import contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, coverage, rasterize
from jrscli.spatial.structures import Roi, StructureSet

pytestmark = pytest.mark.benchmark
CASES = {"pelvis": ("pelvis-phantom", "CT", "RS")} | {
    f"{patient} {kind}": (f"sarcoma/{patient}", f"{kind}/image", f"{kind}/mask")
    for patient in ("STS_002", "STS_003", "STS_008")
    for kind in ("CT", "MR_T1", "PET")
}


@dataclass(frozen=True)
class Case:
    name: str
    images: Path
    contours: Path
    header: SeriesHeader
    geometry: Geometry
    structures: StructureSet
    masks: dict[int, np.ndarray]


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    if "JRS_DATA" not in os.environ:
        pytest.skip("JRS_DATA does not name the data folder")
    folder, images, contours = CASES[request.param]
    root = Path(os.environ["JRS_DATA"]) / "dicom" / folder
    path = next(p for p in sorted((root / contours).iterdir()) if p.is_file())
    volume, header, _ = read_series(root / images)
    structures = read_rtstruct(path, header, volume.geometry)
    masks = {roi.number: rasterize(roi, volume.geometry) for roi in structures.rois}
    return Case(request.param, root / images, path, header, volume.geometry, structures, masks)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}")


def plastimatch(tool: Path, contours: Path, images: Path, out: Path) -> dict[int, np.ndarray]:
    """The masks that plastimatch fills, by the ROI's number (names are made safe to be files)."""
    words = ["--input", contours, "--referenced-ct", images, "--output-prefix", out, "--prefix-format", "nii.gz"]
    subprocess.run([tool, "convert", *words], check=True, capture_output=True)
    return {int(f.name.split(".")[0]): sitk.GetArrayFromImage(sitk.ReadImage(str(f))).T > 0 for f in out.iterdir()}


def shoelace_mm3(roi: Roi, geometry: Geometry) -> float:
    """Σ area · slice distance by the shoelace formula, which shares nothing with ours; none of these ROIs has a hole."""
    total = 0.0
    for contour in roi.closed:
        x, y = (geometry.world_to_index(contour.points)[:, :2] * geometry.spacing_mm[:2]).T
        total += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2 * geometry.spacing_mm[2]
    return total


def numbered(structures: StructureSet) -> StructureSet:
    """With numbers for names, so that no reader has to make file names of them."""
    return replace(structures, rois=tuple(replace(roi, name=str(roi.number)) for roi in structures.rois))


def test_voxels_have_the_volume_of_the_polygons(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    for roi in case.structures.rois:
        drawn = shoelace_mm3(roi, case.geometry) / 1000
        assert contour_volume_mm3(roi, case.geometry) / 1000 == pytest.approx(drawn, rel=1e-3)
        voxels = np.count_nonzero(case.masks[roi.number]) * case.geometry.voxel_volume_mm3 / 1000
        shares = float(coverage(roi, case.geometry).sum(dtype=np.float64)) * case.geometry.voxel_volume_mm3 / 1000
        off, off_shares = 100 * (voxels / drawn - 1), 100 * (shares / drawn - 1)
        of = f"{case.name:14} ROI {roi.number}: polygons {drawn:10.3f} cc, {np.count_nonzero(case.masks[roi.number])} voxels"
        say(capsys, f"{of} {voxels:10.3f} cc {off:+.3f} %, their shares {shares:10.3f} cc {off_shares:+.3f} %")
        assert abs(off_shares) < 0.5
        # a few hundred whole voxels (PET) cannot tell a volume better than this
        assert abs(off) < (0.5 if np.count_nonzero(case.masks[roi.number]) > 2000 else 5)


@pytest.mark.parametrize("made", ["as read", "from masks"])
def test_plastimatch_and_the_way_back_agree(
    case: Case, made: str, requires_tool: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = case.structures
    if made == "from masks":
        again = tuple(replace(r, contours=contours_from_mask(case.masks[r.number], case.geometry)) for r in structures.rois)
        structures = replace(structures, rois=again)
    write_rtstruct(numbered(structures), case.header, case.geometry, tmp_path / "rs.dcm")
    done = subprocess.run([requires_tool("dciodvfy"), tmp_path / "rs.dcm"], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert any("RTStructureSet" in line for line in said)
    assert not [line for line in said if line.startswith("Error")]
    theirs = plastimatch(requires_tool("plastimatch"), tmp_path / "rs.dcm", case.images, tmp_path / "out")
    back = read_rtstruct(tmp_path / "rs.dcm", case.header, case.geometry)
    for roi, written in zip(back.rois, structures.rois, strict=True):
        assert (roi.number, roi.kind) == (written.number, written.kind)
        assert written.colour in (None, roi.colour)
        for a, b in zip(roi.contours, written.contours, strict=True):
            assert np.abs(a.points - b.points).max() <= 0.001
        mask, ours = case.masks[roi.number], rasterize(roi, case.geometry)
        foreign, own = dice(theirs[roi.number], mask), dice(ours, mask)
        bias = 100 * (np.count_nonzero(ours) / np.count_nonzero(mask) - 1)
        of = f"{case.name:14} ROI {roi.number} {made:10}"
        say(capsys, f"{of}: plastimatch Dice {foreign:.5f}, own Dice {own:.5f}, volume {bias:+.3f} %")
        assert foreign >= 0.999
        assert own >= 0.995
        assert abs(bias) < 1


RINGS = {"keyhole": 42.4, "two": 42.4, "xor": 42.4, "solid": 56.5, "offplane": 56.5, "skip": 28.3}
RING_CODES = {"offplane": {"rs.offplane"}, "skip": {"rs.gap"}}


@pytest.mark.parametrize("way", list(RINGS))
def test_rings_are_read_in_each_way_that_they_are_drawn(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "JRS_DATA" not in os.environ:
        pytest.skip("JRS_DATA does not name the data folder")
    root = Path(os.environ["JRS_DATA"]) / "dicom"
    words = ["convert", "contours", root / "objects" / f"ring_{way}.dcm", "--reference", root / "pelvis-phantom" / "CT"]
    assert app([*map(str, words), "--to", str(tmp_path / "ring.nii.gz"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    labels = read_labels(tmp_path / "ring.nii.gz")
    volume = np.count_nonzero(labels.array) * labels.geometry.voxel_volume_mm3 / 1000
    told = {notice["code"] for notice in document["notices"] if notice["code"].startswith("rs.")}
    say(capsys, f"ring {way:9}: {volume:.2f} cc, {sorted(told)}")
    assert abs(volume - RINGS[way]) <= 0.3
    assert told == RING_CODES.get(way, set())

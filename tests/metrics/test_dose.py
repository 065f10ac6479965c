"""Dose–volume points: hand-made doses, and plastimatch."""

import subprocess

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.metrics.dose import dose_difference, dose_samples, dvh_points, dvh_values
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((20, 20, 20), np.diag((2.0, 2.0, 2.0, 1.0)))


def ramp(grid=GRID):
    """1 Gy per mm along the first axis."""
    array = np.broadcast_to((np.arange(grid.shape[0]) * grid.spacing_mm[0])[:, None, None], grid.shape)
    return Volume(array.astype(np.float32), grid)


def box(low=5, high=15):
    mask = np.zeros(GRID.shape, bool)
    mask[low:high, low:high, low:high] = True
    return mask


def points(mask=None, dose=None, levels=()):
    samples = dose_samples(box() if mask is None else mask, GRID, dose or ramp())
    return {name: value for name, (value, _) in dvh_points(samples, levels).items()}


def test_uniform_dose():
    found = points(dose=Volume(np.full(GRID.shape, 50.0, np.float32), GRID), levels=(20.0, 60.0))
    for name in ("Dmean", "Dmax", "D2%", "D50%", "D95%", "D98%", "D0.03cc"):
        assert found[name] == pytest.approx(50.0, abs=0.011)
    assert found["V20Gy"] == 100.0
    assert found["V20Gy_cc"] == pytest.approx(8.0)
    assert found["V60Gy"] == 0.0


def test_ramp_by_hand():
    # voxel centres at 10, 12 … 28 mm: 10 equal layers
    found = points()
    assert found["Dmean"] == pytest.approx(19.0)
    assert found["Dmax"] == 28.0
    assert found["D95%"] == pytest.approx(10.0, abs=0.02)
    assert found["D2%"] == pytest.approx(28.0, abs=0.02)
    assert found["D50%"] == pytest.approx(20.0, abs=0.02)
    assert found["D1cc"] == pytest.approx(26.0, abs=0.02)  # 1 of 8 cc is more than one layer of 0.8 cc


def test_finer_dose_grid_is_interpolated():
    fine = Geometry((39, 20, 20), np.diag((1.0, 2.0, 2.0, 1.0)))
    assert points(dose=ramp(fine))["Dmean"] == pytest.approx(19.0)


def test_few_voxels_are_divided_into_a_thousand_points():
    mask = np.zeros(GRID.shape, bool)
    mask[10, 10, 10:12] = True
    samples = dose_samples(mask, GRID, ramp())
    assert len(samples.gray) >= 1000
    # the voxel reaches from 19 to 21 mm
    found = points(mask)
    assert found["D95%"] == pytest.approx(19.1, abs=0.13)
    assert found["D2%"] == pytest.approx(20.95, abs=0.13)
    assert found["D0.03cc"] is None


def test_structure_beyond_the_dose_grid_has_no_histogram():
    small = Volume(ramp().array[:10], GRID.cropped_to((0, 0, 0), (10, 20, 20)))
    samples = dose_samples(box(), GRID, small)
    assert samples.outside_percent == pytest.approx(50.0)
    assert set(points(dose=small).values()) == {None}


def test_empty_structure_is_not_assessed():
    assert dose_samples(np.zeros(GRID.shape, bool), GRID, ramp()) is None
    values = {value.id: value for value in dvh_values(None, dose_samples(box(), GRID, ramp()))}
    assert values["dvh.v1(Dmean reference)"].status == "not_assessed"
    assert values["dvh.v1(Dmean test)"].value == pytest.approx(19.0)
    assert values["dvh.v1(Dmean difference)"].value is None


def test_difference_is_test_minus_reference():
    higher = Volume(ramp().array + 1.5, GRID)
    ours, theirs = dose_samples(box(), GRID, ramp()), dose_samples(box(), GRID, higher)
    values = {value.id: value.value for value in dvh_values(ours, theirs)}
    assert values["dvh.v1(D50% difference)"] == pytest.approx(1.5, abs=0.02)
    mean, largest = dose_difference(ours, theirs)
    assert (mean.value, largest.value) == (pytest.approx(1.5), pytest.approx(1.5))


def test_agrees_with_plastimatch(tmp_path, requires_tool):
    tool = requires_tool("plastimatch")
    i, j, k = np.indices(GRID.shape) - 9.5
    dose = (60 * np.exp(-(i**2 + 2 * j**2 + k**2) / 60)).astype(np.float32)
    mask = i**2 + j**2 + k**2 < 49
    for name, array in (("dose", dose), ("ss", mask.astype(np.uint32))):
        image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
        image.SetSpacing(GRID.spacing_mm)
        sitk.WriteImage(image, str(tmp_path / f"{name}.mha"))
    (tmp_path / "list.txt").write_text("0|255 0 0|Organ\n")
    files = ["--input-dose", "dose.mha", "--input-ss-img", "ss.mha", "--input-ss-list", "list.txt"]
    bins = ["--bin-width", "0.05", "--num-bins", "1300", "--output-csv", "dvh.csv"]
    subprocess.run([tool, "dvh", *files, *bins], cwd=tmp_path, check=True, capture_output=True)
    lines = [line.split(",") for line in (tmp_path / "dvh.csv").read_text().splitlines()]
    table = np.array([[float(cell) for cell in line[:2]] for line in lines if line[0].replace(".", "").isdigit()])
    found = points(mask, Volume(dose, GRID))
    for percent in (2, 50, 95, 98):
        theirs = table[table[:, 1] >= percent / 100][-1, 0]
        assert found[f"D{percent}%"] == pytest.approx(theirs, abs=0.1)
    for level in (20.0, 40.0):
        theirs = 100 * np.interp(level, table[:, 0], table[:, 1])
        assert points(mask, Volume(dose, GRID), (level,))[f"V{level:g}Gy"] == pytest.approx(theirs, abs=0.5)


def test_more_than_one_percent_beyond_the_dose_grid_is_too_much():
    def cut(layers):
        return Volume(ramp().array[:layers], GRID.cropped_to((0, 0, 0), (layers, 20, 20)))

    mask = np.zeros(GRID.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    mask[15, 5:15, 5] = True  # ten voxels of 1010 beyond the dose: 0.99 %
    assert points(mask, cut(15))["Dmean"] is not None
    mask[15, 5:7, 6] = True  # twelve of 1012: 1.2 %
    assert points(mask, cut(15))["Dmean"] is None


def test_dose_of_an_absolute_volume_by_hand():
    # layers of 0.8 cc: the hottest 0.03 cc lie in the last one
    assert points()["D0.03cc"] == pytest.approx(28.0, abs=0.02)
    small = np.zeros(GRID.shape, bool)
    small[5:9, 5:9, 5:9] = True  # 0.51 cc: less than 1 cc
    assert points(small)["D1cc"] is None

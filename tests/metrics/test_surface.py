"""Distances between surfaces: closed forms, edge rules, invariances, agreement with surface-distance."""

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance as oracle
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from jrscli.metrics import surface
from jrscli.metrics.surface import surface_distances

# the oracle is old; it is compared with, not relied on
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

SPACING = (1.0, 1.0, 1.0)


def cube(shift=(0, 0, 0), size=5, shape=(14, 14, 14)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(4 + s, 4 + s + size) for s in shift)] = True
    return mask


def ball(radius, shape=(48, 48, 48), spacing=SPACING):
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    return i**2 + j**2 + k**2 <= radius**2


def blobs(seed, shape=(18, 16, 14)):
    rng = np.random.default_rng(seed)
    first = gaussian_filter(rng.normal(size=shape), 2.0)
    second = first + rng.uniform(0, 0.6) * gaussian_filter(rng.normal(size=shape), 1.2)
    level = np.quantile(first, rng.uniform(0.3, 0.95))
    return first > level, second > level


def numbers(reference, test, spacing=SPACING, tolerance=1.0):
    found = surface_distances(reference, test, spacing)
    return {
        value.id: value.value
        for value in (
            surface.hd(found),
            surface.hd95(found),
            surface.hd95_pooled(found),
            surface.msd(found),
            surface.masd(found),
            surface.nsd(found, tolerance),
            *surface.msd_directed(found),
        )
    }


def test_shifted_cube():
    found = numbers(cube(), cube((1, 0, 0)))
    assert found["hd95.v1"] == 1.0
    assert found["msd_directed.v1(reference)"] == pytest.approx(0.3355, abs=5e-5)
    assert found["msd_directed.v1(test)"] == pytest.approx(0.3355, abs=5e-5)
    assert found["nsd.v1(1mm)"] == 1.0


def test_same_mask_is_perfect():
    found = numbers(cube(), cube())
    assert found["hd.v1"] == 0
    assert found["msd.v1"] == 0
    assert found["nsd.v1(1mm)"] == 1


def test_concentric_spheres_give_the_difference_of_the_radii():
    found = numbers(ball(12), ball(18))
    for name in ("hd.v1", "hd95.v1", "msd.v1"):
        assert found[name] == pytest.approx(6, abs=0.5 * np.sqrt(3))


def test_nsd_counts_a_distance_equal_to_the_tolerance():
    # three steps of 0.1 are more than 0.3 in binary
    found = surface_distances(cube(), cube((3, 0, 0)), (0.1, 0.1, 0.1))
    assert surface.nsd(found, 0.3).value == 1.0


def test_nsd_names_its_tolerance():
    assert surface.nsd(surface_distances(cube(), cube(), SPACING), 2.5).id == "nsd.v1(2.5mm)"


def test_pooled_and_averaged_numbers_are_others():
    test = cube()
    test[5:8, 5:8, 10] = True  # a plate apart: only the test's surface is far from the other
    found = numbers(cube(), test)
    assert found["hd95.v1"] > found["hd95_pooled.v1"] + 0.5
    assert found["masd.v1"] != pytest.approx(found["msd.v1"], rel=0.01)


def test_both_empty_is_null():
    nothing = np.zeros((5, 5, 5), bool)
    found = surface_distances(nothing, nothing, SPACING)
    for value in (surface.hd95(found), surface.msd(found), surface.nsd(found, 1.0), *surface.msd_directed(found)):
        assert value.value is None
        assert value.status == "both_empty"
        assert value.limit is None


@pytest.mark.parametrize(("swap", "status"), [(False, "test_empty"), (True, "ref_empty")])
def test_one_empty_is_infinite_for_hd_and_zero_for_nsd(swap, status):
    masks = [cube(), np.zeros((14, 14, 14), bool)]
    found = surface_distances(*(masks[::-1] if swap else masks), SPACING)
    for value in (surface.hd(found), surface.hd95(found), surface.hd95_pooled(found)):
        assert (value.value, value.limit, value.status) == (None, "+inf", status)
    assert surface.nsd(found, 1.0).value == 0.0
    assert surface.nsd(found, 1.0).status == status
    assert surface.msd(found).value is None
    assert surface.masd(found).value is None


def test_mask_touching_the_border_has_a_surface_there():
    mask = np.zeros((10, 10, 10), bool)
    mask[:4] = True
    shifted = np.zeros((10, 10, 10), bool)
    shifted[2:6] = True
    assert numbers(mask, shifted)["hd.v1"] == 2.0


def test_full_image_against_a_smaller_mask():
    full = np.ones((8, 8, 8), bool)
    inner = np.zeros((8, 8, 8), bool)
    inner[2:6, 2:6, 2:6] = True
    assert numbers(full, inner)["hd.v1"] == pytest.approx(np.sqrt(12))


def test_one_voxel_against_its_neighbour():
    one, other = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    one[2, 2, 2] = other[2, 2, 3] = True
    assert numbers(one, other, (1.0, 1.0, 3.0))["hd.v1"] == 3.0


def test_roi_of_one_slice_has_two_faces_in_a_volume():
    one, other = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    one[2:7, 2:7, 4] = True
    other[2:7, 2:7, 4:6] = True
    assert numbers(one, other, (1.0, 1.0, 5.0))["hd.v1"] == 5.0


def test_image_one_voxel_thick_is_measured_in_its_plane():
    one, other = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    one[2:9, 2:9] = True
    other[4:9, 2:9] = True
    theirs = oracle.compute_surface_distances(one, other, (1.0, 1.5))
    found = numbers(one[:, :, None], other[:, :, None], (1.0, 1.5, 7.0))
    assert found["hd95.v1"] == pytest.approx(oracle.compute_robust_hausdorff(theirs, 95))
    assert found["msd_directed.v1(reference)"] == pytest.approx(oracle.compute_average_surface_distance(theirs)[0])


def test_swapping_reference_and_test_keeps_the_symmetric_metrics():
    there, back = numbers(*blobs(3)), numbers(*blobs(3)[::-1])
    for name in ("hd.v1", "hd95.v1", "hd95_pooled.v1", "msd.v1", "masd.v1", "nsd.v1(1mm)"):
        assert there[name] == pytest.approx(back[name], rel=1e-12)
    assert there["msd_directed.v1(reference)"] == pytest.approx(back["msd_directed.v1(test)"], rel=1e-12)


def test_moving_both_masks_changes_nothing():
    one, other = (np.pad(mask, 3) for mask in blobs(5))
    moved = numbers(np.roll(one, (2, -1, 3), (0, 1, 2)), np.roll(other, (2, -1, 3), (0, 1, 2)), (0.7, 1.1, 2.3))
    assert moved == pytest.approx(numbers(one, other, (0.7, 1.1, 2.3)), rel=1e-12)


def test_doubling_the_spacing_doubles_every_distance():
    one, other = blobs(7)
    fine, coarse = numbers(one, other, (0.7, 1.1, 2.3), 1.0), numbers(one, other, (1.4, 2.2, 4.6), 2.0)
    for name in ("hd.v1", "hd95.v1", "msd.v1", "masd.v1"):
        assert coarse[name] == pytest.approx(2 * fine[name], rel=1e-12)
    assert coarse["nsd.v1(2mm)"] == pytest.approx(fine["nsd.v1(1mm)"], rel=1e-12)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_spacing_travels_with_its_axis(order):
    one, other = blobs(11)
    spacing = (1.0, 1.0, 5.0)
    turned = numbers(one.transpose(order), other.transpose(order), tuple(spacing[n] for n in order))
    assert turned == pytest.approx(numbers(one, other, spacing), rel=1e-12)
    assert turned["hd95.v1"] != numbers(one.transpose(order), other.transpose(order), spacing)["hd95.v1"]


def test_far_surfaces_take_the_distance_transform_and_agree_with_the_tree(monkeypatch):
    one, other = ball(18), ball(5)
    by_tree = numbers(one, other, (1.0, 1.2, 0.9))
    monkeypatch.setattr(surface, "FEW", 0)
    assert numbers(one, other, (1.0, 1.2, 0.9)) == pytest.approx(by_tree, rel=1e-12)


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_surface_distance(seed):
    rng = np.random.default_rng(1000 + seed)
    one, other = blobs(seed, tuple(rng.integers(6, 20, 3)))
    one[2, 2, 2] = other[3, 3, 3] = True  # surface-distance fails on empty masks
    spacing = tuple(rng.choice([0.742, 1.0, 2.0, 3.27, 5.0], 3).tolist())
    tolerance = float(rng.choice([0.9, 2.2, 3.1]))
    theirs = oracle.compute_surface_distances(one, other, spacing)
    found = numbers(one, other, spacing, tolerance)
    assert found["hd.v1"] == pytest.approx(oracle.compute_robust_hausdorff(theirs, 100), abs=1e-6)
    assert found["hd95.v1"] == pytest.approx(oracle.compute_robust_hausdorff(theirs, 95), abs=1e-6)
    average = oracle.compute_average_surface_distance(theirs)
    assert found["msd_directed.v1(reference)"] == pytest.approx(average[0], abs=1e-6)
    assert found["msd_directed.v1(test)"] == pytest.approx(average[1], abs=1e-6)
    name = f"nsd.v1({tolerance:g}mm)"
    assert found[name] == pytest.approx(oracle.compute_surface_dice_at_tolerance(theirs, tolerance), abs=1e-9)
    weights = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
    assert found["msd.v1"] == pytest.approx((average[0] * weights[0] + average[1] * weights[1]) / sum(weights), abs=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_hd_lies_within_a_voxel_diagonal_of_simpleitk(seed):
    # SimpleITK measures between the centres of voxels, not between surfaces
    one, other = blobs(seed)
    one[2, 2, 2] = other[3, 3, 3] = True
    spacing = (0.742, 1.0, 3.0)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8).transpose(2, 1, 0)) for mask in (one, other)]
    for image in images:
        image.SetSpacing(spacing)
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    diagonal = float(np.linalg.norm(spacing))
    assert numbers(one, other, spacing)["hd.v1"] == pytest.approx(measure.GetHausdorffDistance(), abs=diagonal)


def test_hd95_in_voxels_is_that_of_spacing_one():
    one, other = blobs(9)
    theirs = oracle.compute_surface_distances(one, other, SPACING)
    found = surface.hd95_vox_l2r(one, other)
    assert (found.id, found.unit) == ("hd95_vox_l2r.v1", "voxels")
    assert found.value == pytest.approx(oracle.compute_robust_hausdorff(theirs, 95), abs=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_any_two_masks_keep_the_order_of_the_metrics(seed, voxels):
    rng = np.random.default_rng(seed)
    one, other = np.zeros((6, 7, 8), bool), np.zeros((6, 7, 8), bool)
    one.flat[rng.integers(0, one.size, voxels)] = True
    other.flat[rng.integers(0, other.size, voxels)] = True
    found = numbers(one, other, (1.0, 2.0, 0.5))
    assert 0 <= found["msd.v1"] <= found["hd.v1"]
    assert found["hd95.v1"] <= found["hd.v1"]
    assert found["hd95_pooled.v1"] <= found["hd95.v1"]
    assert 0 <= found["nsd.v1(1mm)"] <= 1

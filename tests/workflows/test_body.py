from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.volume import Volume
from jrscli.workflows.body import segment_body

GRID = Geometry((120, 110, 24), np.diag((3.0, 3.0, 3.0, 1.0)))


def patient(*, couch: bool = False, thighs: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(HU, true outline): an oval trunk, or two thighs; the couch is a shell of two thin sheets that touches it."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij")
    if thighs:
        inside = ((i - 35) ** 2 + (j - 50) ** 2 < 22**2) | ((i - 85) ** 2 + (j - 50) ** 2 < 22**2)
    else:
        inside = ((i - 60) / 45.0) ** 2 + ((j - 50) / 32.0) ** 2 < 1
    hu = np.where(inside, 20.0, -1000.0) + 0.0 * k
    hu[inside & ((i - 60) ** 2 + (j - 45) ** 2 < 8**2)] = -950  # bowel gas
    if couch:
        for row, value in ((82, -150), (83, -900), (84, -900), (85, -900), (86, -150)):
            sheet = (j == row) & (np.abs(i - 60) < 55) & ~inside
            hu[sheet] = value
    return hu, inside


def test_the_outline_of_the_phantom_is_found_in_both_images(study, simulation, dice):
    planned = rasterize(study.structures.roi("Body"), study.planning.geometry)
    assert dice(segment_body(study.planning), planned) > 0.99
    assert dice(segment_body(simulation.daily), simulation.masks[1]) > 0.99


@pytest.mark.parametrize("couch", [False, True], ids=["plain", "couch"])
def test_air_inside_belongs_to_the_patient_and_the_couch_does_not(couch, dice):
    hu, true = patient(couch=couch)
    found = segment_body(Volume(hu.astype(np.int16), GRID))
    assert found[60, 45, 10]
    assert dice(found, true) > 0.985
    assert not found[10:20, 82:87].any()


def test_both_thighs_are_kept():
    hu, true = patient(thighs=True)
    found = segment_body(Volume(hu.astype(np.int16), GRID))
    assert found[35, 50, 5]
    assert found[85, 50, 5]
    assert not found[60, 50, 5]
    assert abs(int(found.sum()) - int(true.sum())) < 0.03 * true.sum()


def test_cone_beam_shading_and_noise_are_borne(dice):
    hu, true = patient()
    i = np.linspace(-1, 1, GRID.shape[0])[:, None, None]
    noise = np.random.default_rng(0).normal(0, 60, GRID.shape)
    shaded = np.where(hu > -900, hu - 180 + 160 * i**2 + noise, -1000 + np.abs(noise))
    assert dice(segment_body(Volume(shaded.astype(np.float32), GRID)), true) > 0.98


def test_an_mr_image_without_hounsfield_units_works_too(dice):
    hu, true = patient()
    rng = np.random.default_rng(1)
    signal = np.where(hu > -900, 400 + rng.normal(0, 40, GRID.shape), np.abs(rng.normal(0, 15, GRID.shape)))
    assert dice(segment_body(Volume(signal.astype(np.float32), GRID)), true) > 0.98


def test_an_empty_image_has_no_patient():
    assert not segment_body(Volume(np.full((20, 20, 5), -1000, np.int16), Geometry((20, 20, 5), np.eye(4)))).any()


def test_the_grid_may_be_fine_and_the_slices_thick(dice):
    grid = Geometry((240, 220, 8), np.diag((1.5, 1.5, 9.0, 1.0)))
    i, j, _ = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    true = ((i - 120) / 90.0) ** 2 + ((j - 100) / 64.0) ** 2 < 1
    found = segment_body(Volume(np.where(true, 0, -1000).astype(np.int16), grid))
    assert dice(found, true) > 0.99

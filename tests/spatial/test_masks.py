"""Masks that may overlap, and the same grid with its axes in another order."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from jrscli.errors import GeometryError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.masks import Masks

GRID = Geometry((5, 4, 3), np.array([[1.0, 0, 0, -20], [0, 2.0, 0, 30], [0, 0, 3.0, -100], [0, 0, 0, 1.0]]))


def turned(geometry: Geometry, order: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    """The same voxels counted along other axes."""
    shape = tuple(geometry.shape[axis] for axis in order)
    affine = np.eye(4)
    affine[:3, :3] = geometry.affine[:3, list(order)] * signs
    first = np.zeros(3)
    for axis, sign in zip(order, signs, strict=True):
        first[axis] = geometry.shape[axis] - 1 if sign < 0 else 0
    affine[:3, 3] = geometry.index_to_world(first[None])[0]
    return Geometry(shape, affine)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_voxel_stays_where_it_is_in_all_orders_and_directions(order, oblique):
    for base, signs in product((GRID, oblique), product((1, -1), repeat=3)):
        rng = np.random.default_rng(3)
        mask = rng.random(base.shape) > 0.7
        other = turned(base, order, signs)
        found = Masks({1: mask}, base, {1: "A"}).on(other)
        assert found.geometry is other or found.geometry.matches(other)
        here = base.index_to_world(np.argwhere(mask))
        there = other.index_to_world(np.argwhere(found.masks[1]))
        np.testing.assert_allclose(here[np.lexsort(here.round(3).T)], there[np.lexsort(there.round(3).T)], atol=1e-6)


def test_another_grid_is_refused():
    masks = Masks({1: np.ones(GRID.shape, bool)}, GRID)
    half, other = GRID.affine.copy(), GRID.affine.copy()
    half[0, 3] += 0.5
    other[0, 0] = 1.01
    for geometry in (Geometry(GRID.shape, half), Geometry(GRID.shape, other), Geometry((5, 4, 2), GRID.affine)):
        with pytest.raises(GeometryError) as caught:
            masks.on(geometry)
        assert caught.value.code == "geometry.other_grid"


def test_smaller_masks_win_in_labels_and_losers_are_named():
    large, small, apart = (np.zeros(GRID.shape, bool) for _ in range(3))
    large[:3, :3], small[1, 1], apart[4, 3] = True, True, True
    masks = Masks({2: large, 7: small, 9: apart}, GRID, {7: "Small"})
    labels, hidden = masks.as_labels()
    assert hidden == [2]
    assert masks.overlap()
    assert (labels.mask(7) == small).all()
    assert labels.names[7] == "Small"
    assert not Masks({7: small, 9: apart}, GRID).overlap()
    back = Masks.of_labels(labels)
    assert sorted(back.masks) == [2, 7, 9]
    assert (back.masks[2] == large & ~small).all()

"""The overlay picture: planes, letters, edges, and what it shows."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from jrscli.errors import GeometryError
from jrscli.report.canvas import bar_length_mm
from jrscli.report.edges import edge_lines
from jrscli.report.overlay import EDGE_COLOURS, Outline, display_window, draw_overlay, readable
from jrscli.report.planes import choose_planes, direction_letters
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

SHAPE = (40, 36, 20)
EDGE_COLOUR = EDGE_COLOURS[0]
GRID = Geometry(SHAPE, np.diag((1.0, 1.0, 2.5, 1.0)))


def ball(centre=(20, 18, 10), geometry=GRID, low=0.0, high=100.0):
    place = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm((place - np.array(centre)) * geometry.spacing_mm, axis=-1)
    return Volume((low + (high - low) * (distance < 12)).astype(np.float32), geometry)


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def coloured(picture, colour, tolerance=60):
    return np.abs(picture - np.array(colour)).sum(axis=2) < tolerance


def test_picture_is_a_png_of_about_the_asked_width():
    png = draw_overlay(ball(), ball(), width_px=900)
    assert png.startswith(b"\x89PNG\r\n")
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert 300 < picture.width <= 904
    assert not picture.info  # no text chunks


def test_picture_is_the_same_every_time():
    assert draw_overlay(ball(), ball()) == draw_overlay(ball(), ball())


def test_misaligned_images_look_different_from_aligned_ones():
    good, bad = opened(draw_overlay(ball(), ball())), opened(draw_overlay(ball(), ball((25, 18, 10))))
    assert good.shape == bad.shape
    assert (good != bad).any(axis=2).sum() > 500
    # edges of the aligned image lie on the border of the ball, so none runs through its white inside; of the other, many do
    inside = [coloured(np.roll(picture, shift, 1), (255, 255, 255)) for picture in (good, bad) for shift in (-8, 8)]
    crossed = [(coloured(p, EDGE_COLOUR) & a & b).sum() for p, a, b in ((good, *inside[:2]), (bad, *inside[2:]))]
    assert crossed[0] < 0.2 * crossed[1]


def test_row_before_registration_is_added():
    one, two = opened(draw_overlay(ball(), ball())), opened(draw_overlay(ball(), ball(), before=ball((25, 18, 10))))
    assert two.shape[0] > 1.7 * one.shape[0]


def test_edges_are_drawn():
    assert coloured(opened(draw_overlay(ball(), ball())), EDGE_COLOUR).sum() > 300
    flat = Volume(np.zeros(SHAPE, np.float32), GRID)
    drawn = coloured(opened(draw_overlay(ball(), flat)), EDGE_COLOUR)
    assert drawn.sum() < 150  # the swatch of the legend only


def test_outlines_are_drawn_in_their_colour_and_only_in_their_row():
    mask = ball().array > 50
    colour = (40, 230, 90)
    both = coloured(opened(draw_overlay(ball(), ball(), before=ball(), contours=[Outline(mask, colour)])), colour).sum()
    after = coloured(
        opened(draw_overlay(ball(), ball(), before=ball(), contours=[Outline(mask, colour, row="after")])), colour
    ).sum()
    assert after > 300
    assert both == pytest.approx(2 * after, rel=0.05)


def test_dashed_outline_has_gaps():
    mask = ball().array > 50
    colour = (40, 230, 90)
    solid, dashed = (
        coloured(opened(draw_overlay(ball(), ball(), contours=[Outline(mask, colour, dashed=dashed)])), colour).sum()
        for dashed in (False, True)
    )
    assert 0.3 * solid < dashed < 0.8 * solid


def test_names_appear_only_if_given():
    mask = ball().array > 50
    unnamed = opened(draw_overlay(ball(), ball(), contours=[Outline(mask, (40, 230, 90))]))
    named = opened(draw_overlay(ball(), ball(), contours=[Outline(mask, (40, 230, 90), name="Bladder")]))
    assert unnamed.shape == named.shape
    assert (unnamed[-48:] != named[-48:]).any()
    assert (unnamed[:-48] == named[:-48]).all()


def test_many_names_get_more_lines():
    mask = ball().array > 50
    many = [Outline(mask, (40, 230, n), name=f"structure number {n}") for n in range(40)]
    assert opened(draw_overlay(ball(), ball(), contours=many)).shape[0] > opened(draw_overlay(ball(), ball())).shape[0] + 100


def test_edges_avoid_the_colours_of_the_structures():
    mask = np.zeros(SHAPE, bool)
    mask[18:22, 16:20, 9:11] = True
    drawn = opened(draw_overlay(ball(), ball(), contours=[Outline(mask, (255, 184, 98))]))
    assert coloured(drawn, EDGE_COLOURS[1]).sum() > 300


def test_dark_colours_are_made_readable_and_bright_ones_kept():
    assert readable((255, 178, 43)) == (255, 178, 43)
    red, green, blue = readable((0, 0, 139))
    assert blue > red == green > 60


def test_empty_mask_is_no_obstacle():
    nothing = np.zeros(SHAPE, bool)
    assert draw_overlay(ball(), ball(), contours=[Outline(nothing, (1, 2, 3), name="lost")])


@pytest.mark.parametrize("array", [np.zeros(SHAPE, np.int16), np.full(SHAPE, -1000, np.int16)])
def test_constant_image_is_no_obstacle(array):
    assert draw_overlay(Volume(array, GRID), Volume(array, GRID)).startswith(b"\x89PNG")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_volume_one_voxel_thick_shows_its_one_plane(axis):
    shape = [40, 40, 40]
    shape[axis] = 1
    geometry = Geometry(tuple(shape), np.eye(4))
    image = ball([(n - 1) / 2 for n in shape], geometry)
    (plane,) = choose_planes(geometry, image.array > 50)
    assert plane.name == ("sagittal", "coronal", "axial")[axis]
    assert draw_overlay(image, image).startswith(b"\x89PNG")


def test_physical_proportions_are_kept():
    geometry = Geometry((50, 50, 10), np.diag((1.0, 1.0, 5.0, 1.0)))
    planes = choose_planes(geometry, np.ones(geometry.shape, bool))
    assert [plane.size_mm for plane in planes] == [(50, 50), (50, 50), (50, 50)]


def orthogonal(order, signs):
    affine = np.zeros((4, 4))
    for patient, (array, sign) in enumerate(zip(order, signs, strict=True)):
        affine[patient, array] = sign
    affine[3, 3] = 1
    return affine


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_every_orientation_of_the_array_gives_the_same_view(order, signs):
    """An image with marks to the left, back and head looks the same however its array is stored."""
    shown = []
    for affine in (np.eye(4), orthogonal(order, signs)):
        geometry = Geometry((9, 9, 9), affine)
        centred = affine.copy()
        centred[:3, 3] = -geometry.centre_mm
        geometry = Geometry((9, 9, 9), centred)
        points = geometry.index_to_world(np.indices((9, 9, 9)).reshape(3, -1).T)
        left, back, head = (points @ np.diag((1, 1, 1)) > 1).T.reshape(3, 9, 9, 9)
        array = 1 + left + 2 * back + 4 * head
        shown.append([(plane.name, plane.cut(array), plane.letters) for plane in choose_planes(geometry, array > 0)])
    for (name, picture, letters), (name_2, picture_2, letters_2) in zip(*shown, strict=True):
        assert (name, letters) == (name_2, letters_2)
        np.testing.assert_array_equal(picture, picture_2)


def test_views_are_radiological():
    axial, coronal, sagittal = choose_planes(GRID, np.ones(SHAPE, bool))
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")


def test_oblique_grids_get_two_letters():
    assert direction_letters(np.array([0.9, -0.43, 0.05])) == "LA"
    assert direction_letters(np.array([0.99, -0.1, 0.05])) == "L"


def test_oblique_anisotropic_grid_is_drawn():
    angle = np.radians(35)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.9, 1.3, 4.0)
    geometry = Geometry((40, 36, 12), affine)
    image = ball((20, 18, 6), geometry)
    assert [plane.name for plane in choose_planes(geometry, image.array > 50)] == ["axial", "coronal", "sagittal"]
    assert draw_overlay(image, image).startswith(b"\x89PNG")


def test_planes_go_through_the_structures():
    mask = np.zeros(SHAPE, bool)
    mask[30:34, 4:8, 3:5] = True
    axial, coronal, sagittal = choose_planes(GRID, np.ones(SHAPE, bool), [mask])
    assert axial.cut(mask).any()
    assert coronal.cut(mask).any()
    assert sagittal.cut(mask).any()


def test_window_of_ct_is_soft_tissue():
    assert display_window(ball(low=-1000, high=60)) == (-160.0, 240.0)


def test_window_of_mr_leaves_the_padding_out():
    rng = np.random.default_rng(0)
    array = np.zeros(SHAPE, np.float32)
    array[10:30] = rng.uniform(200, 400, array[10:30].shape)
    low, high = display_window(Volume(array, GRID))
    assert 195 < low < 210
    assert 390 < high < 405


def test_edge_lies_on_the_edge():
    picture = gaussian_filter((np.arange(80)[None, :] > 41.5).astype(float) * np.ones((60, 1)), 1)
    (line,) = edge_lines(picture, 1.5, 0.02, 0.05, 20)
    # the border between columns 41 and 42
    np.testing.assert_allclose(line[:, 1], 41.5, atol=0.05)


def test_images_on_two_grids_are_refused():
    other = ball(geometry=Geometry(SHAPE, np.diag((1.0, 1.0, 3.0, 1.0))))
    with pytest.raises(GeometryError) as caught:
        draw_overlay(ball(), other)
    assert caught.value.code == "grid.mismatch"


@pytest.mark.parametrize(("width", "bar"), [(300, 100), (160, 50), (35, 10), (7, 2), (62, 20)])
def test_scale_bar_is_round(width, bar):
    assert bar_length_mm(width) == bar


def test_contours_alone_have_no_edges():
    mask = ball().array > 50
    picture = opened(draw_overlay(ball(), None, contours=[Outline(mask, (40, 220, 60))]))
    assert not coloured(picture, EDGE_COLOUR).any()
    assert coloured(picture, (40, 220, 60), 90).sum() > 100

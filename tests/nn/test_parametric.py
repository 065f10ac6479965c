"""Fields of few parameters: what they do to a box, to a point, to a constant."""

import pytest
import torch

from jrscli.nn.parametric import AffineField, SplineField, rotation
from jrscli.nn.warp import identity_like


def test_a_rotation_is_one_in_space():
    """The edges of a box keep their lengths in mm, on a grid that is no cube, of voxels that are none."""
    size, spacing = (48, 64, 24), torch.tensor([1.0, 1.0, 2.5])
    field = AffineField(size, spacing.tolist())
    matrix = rotation(torch.tensor([[0.5, -0.3, 0.7]]))
    mapped = identity_like(u := field(matrix, torch.zeros(1, 3))) + u
    corners = [mapped[0, :, i, j, k] for i in (0, -1) for j in (0, -1) for k in (0, -1)]
    lengths = [float(((corners[a] - corners[b]) * spacing).norm()) for a, b in ((0, 4), (0, 2), (0, 1), (3, 7))]
    assert lengths == pytest.approx([47, 63, 57.5, 47], rel=1e-4)


def test_a_shift_is_in_half_extents():
    field = AffineField((48, 64, 48), (1.0, 1.0, 1.0))(torch.eye(3)[None], torch.tensor([[0.1, 0.0, -0.2]]))
    assert torch.allclose(field[0, :, 5, 5, 5], torch.tensor([3.15, 0.0, -6.3]), atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64, 48), (40, 60)])
def test_equal_control_points_give_one_shift(size):
    """Away from the border; the splines add up to one."""
    field = SplineField(size, stride=10)
    assert field.grid == [{48: 7, 64: 9, 40: 6, 60: 8}[n] for n in size]
    values = torch.arange(1.0, len(size) + 1).view(1, -1, *(1,) * len(size))
    found = field(values.expand(1, -1, *field.grid))
    inner = found[(slice(None), slice(None), *(slice(6, -6),) * len(size))]
    assert torch.allclose(inner, values.expand_as(inner), atol=1e-5)


def test_one_control_point_moves_its_own_place():
    """The axes of the points are those of the grid."""
    field = SplineField((48, 64, 40), stride=10)
    points = torch.zeros(1, 3, *field.grid)
    points[0, 1, 3, 5, 2] = 1
    found = field(points)[0]
    assert float(found[[0, 2]].abs().max()) == 0
    assert tuple(int(n) for n in torch.nonzero(found[1] == found[1].max())[0]) == (24, 42, 15)
    assert float(found[1].max()) == pytest.approx((2 / 3) ** 3)

"""Fields of regions: pasted along the labels of the fixed grid."""

import pytest
import torch
from torch.nn import functional

from jrscli.nn.regions import cut, hard, pasted
from jrscli.recipe import FieldKind


def labels(seed=0, shape=(8, 8, 8), classes=3):
    numbers = torch.randint(0, classes, (2, *shape), generator=torch.Generator().manual_seed(seed))
    return functional.one_hot(numbers, classes).movedim(-1, 1).float()


def test_the_largest_map_wins_and_ties_do_not_count_twice():
    maps = torch.tensor([[0.4, 0.5], [0.4, 0.1], [0.2, 0.4]]).view(1, 3, 2)
    assert hard(maps).view(3, 2).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_an_image_is_the_sum_of_its_cuts():
    image = torch.rand(2, 1, 8, 8, 8)
    parts = cut(image, labels())
    assert parts.shape == (2, 3, 1, 8, 8, 8)
    assert torch.allclose(parts.sum(1), image)


def test_equal_fields_give_that_field():
    field = torch.randn(2, 3, 8, 8, 8)
    assert torch.allclose(pasted(field[:, None].expand(-1, 3, -1, -1, -1, -1), labels()), field)


def test_each_voxel_has_the_field_of_its_region_and_an_empty_region_adds_nothing():
    regions = torch.zeros(1, 3, 4, 4)
    regions[:, 0, :2], regions[:, 2, 2:] = 1, 1
    fields = torch.tensor([1.0, 7.0, -2.0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    assert pasted(fields, regions)[0, 0, :, 0].tolist() == [1, 1, -2, -2]


@pytest.mark.parametrize("dims", [2, 3])
def test_region_velocities_become_a_displacement_in_voxels_of_the_images(dims):
    """Constant velocities of a grid half as fine: the same shift in millimetres, each in its region; nothing from nothing."""
    kind = FieldKind("region_velocity", squarings=4, scale=2)
    shape = (9,) * dims
    regions = torch.zeros(1, 2, *shape)
    regions[:, 0, :4], regions[:, 1, 4:] = 1, 1
    still = kind.displacement(torch.zeros(1, 2 * dims, *(5,) * dims), shape, regions)
    assert not still.any()
    output = torch.zeros(1, 2 * dims, *(5,) * dims)
    output[:, 0], output[:, dims + 1] = 0.5, -0.25  # the first region along axis 0, the second along axis 1
    field = kind.displacement(output, shape, regions)
    assert torch.allclose(field[:, 0, :4], torch.tensor(1.0), atol=1e-5)  # corner to corner: a factor of (9 − 1) / (5 − 1)
    assert torch.allclose(field[:, 1, 4:], torch.tensor(-0.5), atol=1e-5)
    assert not field[:, 0, 4:].any()
    assert not field[:, 1, :4].any()


def test_regions_have_to_be_given():
    with pytest.raises(ValueError, match="labels"):
        FieldKind("region_velocity").displacement(torch.zeros(1, 6, 4, 4, 4), (4, 4, 4))

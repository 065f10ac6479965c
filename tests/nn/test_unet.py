"""The U-Net in two and three dimensions."""

import pytest
import torch

from jrscli.nn.unet import UNet, head, voxelmorph2_unet, voxelmorph_unet


def count(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("down", "up"), [("stride", "nearest"), ("pool", "transpose")])
def test_output_has_the_grid_of_the_input(dims, down, up):
    decoder = ((8, 8), (4, 4)) if up == "transpose" else ((8,), (4,))
    net = UNet(2, ((4,), (8,), (8,)), decoder, dims=dims, norm="instance", down=down, up=up)
    x = torch.rand(1, 2, *(8, 12, 16)[:dims])
    assert net(x).shape == (1, net.width, *x.shape[2:])


def test_fewer_levels_up_leave_a_coarser_grid():
    net = UNet(1, ((4,), (8,), (8,)), ((8,),))
    assert net(torch.rand(1, 1, 8, 8, 8)).shape[2:] == (4, 4, 4)


def test_the_voxelmorph_layout_has_its_known_size():
    """880 + 13,856 + 3·27,680 down, 3·55,328 + 10,376 + 1,736 up, 651 for the field."""
    net = voxelmorph_unet(2)
    assert count(net) + count(head(8, 3, size=3)) == 276_523


def test_the_larger_voxelmorph_layout_has_its_known_size():
    """880 + 13,856 + 2·27,680 down, 27,680 + 2·55,328 + 41,504 + 27,680 + 14,704 + 6,928 up, 1,299 for the field."""
    net = voxelmorph2_unet(2)
    assert count(net) + count(head(16, 3, size=3)) == 300_547
    x = torch.rand(1, 2, 16, 32, 16)
    assert torch.equal(net.pyramid(x)[0], x)
    assert net(x).shape == (1, 16, 16, 32, 16)


def test_group_norm_divides_the_channels_as_it_can():
    net = UNet(1, ((16,), (12,)), ((16,),), norm="group")
    groups = [layer.num_groups for layer in net.modules() if isinstance(layer, torch.nn.GroupNorm)]
    assert groups == [8, 4, 8]


def test_skips_of_every_level_are_used():
    net = voxelmorph_unet(1)
    levels = net.pyramid(torch.rand(1, 1, 16, 16, 16))
    before = net.climb(levels)[-1]
    for n in range(len(levels) - 1):
        changed = [level + (k == n) for k, level in enumerate(levels)]
        assert not torch.equal(net.climb(changed)[-1], before), n


def test_a_field_starts_near_zero():
    conv = head(8, 3, size=3, spread=1e-5)
    assert conv(torch.rand(1, 8, 4, 4, 4)).abs().max().item() < 1e-2

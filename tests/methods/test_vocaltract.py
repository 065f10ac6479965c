"""The vocal tract: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from jrscli.methods.vocaltract import PAPER_WIDTHS, Config, Segmenter, VocalTract
from jrscli.nn.regions import hard
from jrscli.training import checkpoint
from jrscli.training.run import train


def method(**changes):
    torch.manual_seed(0)
    found = VocalTract(Config(classes=3, dims=3, widths=(4, 4, 8, 8, 8), **changes)).eval()
    torch.nn.init.normal_(found.networks["register"].field.weight, std=0.5)
    return found


@pytest.mark.parametrize(("classes", "masks", "inputs"), [(7, True, 14), (3, True, 6), (7, False, 2)])
def test_the_registration_sees_both_images_and_the_masks_of_both(classes, masks, inputs):
    first = VocalTract(Config(classes=classes, masks=masks)).networks["register"].features.down[1][0][0]
    assert first.in_channels == inputs


def test_it_has_the_weights_of_the_paper():
    assert sum(w.numel() for w in Segmenter(Config(widths=PAPER_WIDTHS)).parameters()) == pytest.approx(31e6, rel=0.01)
    assert sum(w.numel() for w in VocalTract(Config()).networks["register"].parameters()) == pytest.approx(0.106e6, rel=0.02)


def test_other_masks_of_the_fixed_image_give_another_field(batch):
    pair = batch()
    register = method().networks["register"]
    of_fixed, of_moving = pair.fixed_labels[:, 1:], pair.moving_labels[:, 1:]
    field = register(*pair.pair(), of_fixed, of_moving)
    assert not torch.allclose(field, register(*pair.pair(), of_fixed.flip(1), of_moving))
    assert not torch.allclose(field, register(*pair.pair(), of_fixed, of_moving.flip(1)))


def test_its_own_segmenter_gives_the_masks_in_use(batch):
    """The K foreground channels, even where true labels are at hand."""
    of, pair = method(clean_up=0.0), batch()
    masks = [hard(of.networks["segment"](image))[:, 1:] for image in pair.pair()]
    true = {"fixed": pair.fixed_labels, "moving": pair.moving_labels}
    assert torch.equal(of.pull(*pair.pair(), true), of.networks["register"](*pair.pair(), *masks))


def test_masks_are_cleaned_up_before_the_registration_sees_them(batch):
    """A segmenter that finds one large part and one lone voxel: only the part comes through, in training and in use."""
    of, pair = method(), batch()
    found = torch.zeros_like(pair.fixed_labels)
    found[:, 0] = 1
    found[:, 1, 2:8, 2:8, 2:8] = 2
    lone = found.clone()
    lone[:, 1, 14, 14, 14] = 2

    class Finds(torch.nn.Module):
        def forward(self, image):
            return lone

    of.networks["segment"] = Finds()
    with_masks = of.networks["register"](*pair.pair(), *[hard(found)[:, 1:]] * 2)
    assert torch.equal(of.pull(*pair.pair()), with_masks)
    assert torch.equal(of._masks(pair.fixed)[0], hard(found)[:, 1:])


def test_the_loss_is_judged_by_true_labels(batch):
    pair = batch()
    of = method()
    others = dataclasses.replace(pair, fixed_labels=pair.fixed_labels.roll(1, dims=1))
    with torch.no_grad():
        one, other = of.registration_loss(pair), of.registration_loss(others)
    assert float(one["overlap"]) != float(other["overlap"])
    assert float(one["similarity"]) == float(other["similarity"])
    with pytest.raises(ValueError, match="labels of both images"):
        of.registration_loss(batch(knows_moving=False))


def test_the_dice_reaches_the_field_and_not_the_segmenter(batch):
    of = method()
    of.registration_loss(batch())["overlap"].backward()
    assert float(of.networks["register"].field.weight.grad.norm()) > 0
    assert all(weight.grad is None for weight in of.networks["segment"].parameters())


LIST = Path(__file__).resolve().parents[2] / "configs" / "contact-data.yaml"
SMALL = {
    "grid": {"dims": 2, "orientation": None, "spacing_mm": [2, 2, 2], "size": [32, 32, 1]},
    "simulate": {"contact": {"series": 6, "frames": 4}},
    "split": {"validation": ["series-05"]},
}
"""The committed list of the phantom, with smaller slices and fewer of them."""


def test_the_second_stage_leaves_the_segmenter_as_it_was(tmp_path):
    """All of it: the running statistics of its norms too. No file is needed to train on the phantom."""
    seen: list[dict[str, torch.Tensor]] = []

    def segmenter():
        weights = checkpoint.load(tmp_path)["weights"]
        return {key: value for key, value in weights.items() if "segment" in key}

    def look(stage, done, total):
        if stage == "register":
            seen.append(segmenter())

    config = {"widths": [4, 4, 8, 8, 8], "segment_rounds": 1, "register_rounds": 2}
    done = train("vocaltract", LIST, tmp_path, config=config, changes=SMALL, progress=look)
    assert set(done.scores) == {"registration", "folds", "segmentation"}
    assert seen
    last = segmenter()
    assert all(torch.equal(value, last[key]) for one in seen for key, value in one.items())


def test_the_plain_network_asks_for_no_masks(batch):
    plain = method(masks=False)
    assert plain.requires == ()
    assert plain.graph("register").inputs == ("fixed", "moving")
    assert torch.equal(plain.pull(*batch().pair()), plain.networks["register"](*batch().pair()))

"""SDDIR: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jrscli.errors import UsageError
from jrscli.methods.sddir import Config, Sddir
from jrscli.nn.regions import hard
from jrscli.nn.warp import integrate, resize_field
from jrscli.recipe import FieldKind
from jrscli.runtime.card import Grid
from jrscli.runtime.predict import Predictor
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.export import export_method
from jrscli.workflows.register import register

SMALL = Config(classes=3, size=(16, 16, 16), segment_widths=(4, 8), widths=(4, 8, 8))


def method(**changes):
    torch.manual_seed(0)
    made = Sddir(Config(**{**vars(SMALL), **changes})).eval()
    torch.nn.init.normal_(made.networks["register"].velocity.weight, std=0.3)
    return made


def velocities(of, batch):
    graph = of.graph("joint")
    return graph.module(*batch.pair())


def test_the_field_is_pasted_along_the_labels_it_sees_in_the_fixed_image(batch):
    made, pair = method(), batch()
    velocity, of_fixed, of_moving = velocities(made, pair)
    regions = hard(of_fixed)
    assert 0 < float(regions[:, 1:].mean()) < 1
    found = made.pull(*pair.pair())
    alone = resize_field(integrate(velocity.view(3, 3, *velocity.shape[2:]), 7), pair.fixed.shape[2:])
    for k in range(3):
        here = (regions[:, k : k + 1] == 1).expand_as(found)
        assert torch.allclose(found[here], alone[k : k + 1][here], atol=1e-6)
    other = method(compose_with="moving")
    other.load_state_dict(made.state_dict())
    assert torch.allclose(other.pull(*pair.pair())[0], (alone * hard(of_moving)[0][:, None]).sum(0), atol=1e-6)
    assert not torch.equal(other.pull(*pair.pair()), found)


def test_equal_fields_of_all_regions_are_the_one_field_of_no_composition(batch):
    """A network that gives the same whatever it sees."""
    parted, whole = method(), method(composition="none")
    for made in (parted, whole):
        head = made.networks["register"].velocity
        torch.nn.init.zeros_(head.weight)
        head.bias.data.copy_(torch.tensor([0.4, -0.2, 0.1]))
    assert torch.allclose(parted.pull(*batch().pair()), whole.pull(*batch().pair()), atol=1e-6)
    assert whole.graph("smooth") is None


def test_an_empty_region_adds_nothing(batch):
    made = method()
    made.networks["segment"].decoders[-1].logits.bias.data[2] = -1e4
    pair = batch()
    velocity, of_fixed, _ = velocities(made, pair)
    assert not bool(hard(of_fixed)[:, 2].any())
    before = made.pull(*pair.pair())
    assert bool(torch.isfinite(before).all())
    assert bool(torch.isfinite(sum(made.loss(pair).values())))
    changed = velocity.clone()
    changed[:, 6:] += 5
    assert torch.equal(made.field.displacement(changed, before.shape[2:], hard(of_fixed)), before)


def test_images_that_change_places_change_their_labels_where_the_encoder_is_shared(batch):
    pair = batch()
    for shared in (True, False):
        segment = method(share_encoder=shared).networks["segment"]
        one, other = segment(*pair.pair()), segment(*pair.pair()[::-1])
        assert torch.allclose(one[0], other[1], atol=1e-5) == shared


def test_each_image_is_labelled_with_an_eye_on_the_other(batch):
    pair, other = batch(), torch.rand(1, 1, 16, 16, 16)
    for together in (True, False):
        segment = method(coattention=together).networks["segment"]
        assert torch.equal(segment(pair.fixed, pair.moving)[0], segment(pair.fixed, other)[0]) != together


def test_the_registration_teaches_the_segmenter_and_itself(batch):
    """No gradient goes through the hard labels; it goes through the warped probabilities."""
    made = method()
    pair = batch(knows_fixed=False, knows_moving=False)
    terms = made.loss(pair)
    assert not any("entropy" in name for name in terms)
    terms["overlap"].backward()
    assert all(bool(weight.grad.any()) for weight in made.networks["segment"].decoders[0].parameters())
    assert bool(made.networks["register"].velocity.weight.grad.any())


@pytest.mark.parametrize("seed", range(4))
def test_a_fresh_network_learns_in_every_layer(batch, seed):
    torch.manual_seed(seed)
    fresh = Sddir(Config(classes=3, size=(16, 16, 16)))
    sum(fresh.loss(batch()).values()).backward()
    norms = {
        n for n in fresh.state_dict() if n.startswith("networks.segment") and n.endswith(".0.bias")
    }  # a shift before an instance norm is taken out again by it
    silent = [name for name, weight in fresh.named_parameters() if not bool(weight.grad.any())]
    assert set(silent) <= norms


def test_settings_that_do_not_exist_are_refused():
    for setting in ({"composition": "soft"}, {"compose_with": "both"}):
        with pytest.raises(UsageError) as caught:
            Sddir(Config(**setting))
        assert caught.value.code == "settings.value"


def test_a_large_grid_is_looked_at_more_coarsely():
    assert Sddir(Config(size=(96, 96, 16))).networks["segment"].attention.down(torch.zeros(1, 8, 4, 4, 4)).shape[2] == 4
    assert Sddir(Config(size=(128, 128, 32))).networks["segment"].attention.down(torch.zeros(1, 8, 4, 4, 4)).shape[2] == 2


def test_given_labels_lead_where_both_images_have_them(batch):
    """What is cut, pasted and compared: the labels of the pair, else what the segmenter sees, as in the paper."""
    pair = batch()
    made = method(given_labels=True)
    logits = made.networks["segment"](*pair.pair())
    assert torch.equal(made._compared(pair, logits)[1], pair.moving_labels)
    half = batch(knows_moving=False)
    logits = made.networks["segment"](*half.pair())
    assert torch.equal(made._compared(half, logits)[0], logits[0].softmax(1))
    paper = method()
    assert torch.equal(paper._compared(pair, paper.networks["segment"](*pair.pair()))[0], logits[0].softmax(1))
    assert [stage.name for stage in paper.stages()] == ["joint"]
    assert [stage.name for stage in method(segment_rounds=3).stages()] == ["segment", "joint"]


@pytest.mark.slow
def test_one_smooth_field_stands_in_where_the_labels_are_doubtful(tmp_path):
    """A model sure of nothing moves a pair by its graph ``smooth``; one that is sure of all regions by their own fields."""
    grid = Grid(orientation=None, spacing_mm=(1, 1, 1), size=(16, 16, 16))
    data = DataList("x", "CC0-1.0", grid, labels=("background", "a", "b"), images="*")
    rng = np.random.default_rng(0)
    images = [Volume(rng.random((16, 16, 16), dtype=np.float32), Geometry((16, 16, 16), np.eye(4))) for _ in range(2)]
    for name, sharpness in (("doubtful", 1e-3), ("sure", 30.0)):
        made = method()
        for decoder in made.networks["segment"].decoders:
            decoder.logits.weight.data *= sharpness
        model = export_method(made, data, tmp_path, Details(name), method_name="sddir", seed=0)
        predictor = Predictor(model, device="cpu", threads=1)
        found = predictor.register(predictor.pair(*images))
        fixed, moving = (torch.from_numpy(one)[None] for one in (found.pair.fixed, found.pair.moving))
        graph = made.graph("smooth")
        smooth = FieldKind("velocity", 7, 2).displacement(graph.module(fixed, moving), (16, 16, 16))
        wanted = made.pull(fixed, moving) if name == "sure" else smooth
        assert np.allclose(found.array, wanted[0].detach().numpy(), atol=1e-3)
        assert (found.smooth is None) == (name == "sure")
        codes = [notice.code for notice in register(*images, model=predictor, refine=0).notices]
        assert ("model.smooth" in codes) == (name == "doubtful")

"""The hnlight recipe: two groups that do not mix at first, boxes, a loop in training that is the one in use."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrscli.errors import UsageError
from jrscli.methods.hnlight import Config, HnLight
from jrscli.nn.regions import middles_of
from jrscli.runtime.card import Grid
from jrscli.runtime.context import in_context
from jrscli.runtime.predict import Predictor
from jrscli.runtime.session import Session
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.export import export_method
from jrscli.training.template import Template

CONFIG = Config(classes=3, channels=1, width=0.1)
SHAPE = (16, 16, 16)


def method(**changes):
    torch.manual_seed(0)
    made = HnLight(replace(CONFIG, **changes)).eval()
    made.informed(torch.full((2, 6), 3.0))
    torch.nn.init.normal_(made.networks["register"].field.weight, std=0.5)
    return made


def blocks(batch, drawn=(True, True)):
    """The batch with two compact organs in each image."""
    given = batch()
    labels = []
    for shift in (0, 2):
        one = torch.zeros(1, 3, *SHAPE)
        one[:, 1, 2 + shift : 6 + shift, 4:8, 5:9] = 1
        one[:, 2, 9 : 12 + shift, 8:12, 6:10] = 1
        one[:, 0] = 1 - one.sum(1)
        labels.append(one)
    present = torch.tensor([drawn])
    return replace(given, fixed_labels=labels[0], moving_labels=labels[1], classes_present=present)


def test_the_first_convolution_keeps_image_and_template_apart():
    first = method(channels=3).networks["register"].down[0].first
    x = torch.rand(1, 10, 4, 4, 4)
    without = x.clone()
    without[:, 5:] = 0  # template and masks
    half = first.out_channels // 2
    assert torch.equal(first(x)[:, :half], first(without)[:, :half])
    assert not torch.allclose(first(x)[:, half:], first(without)[:, half:])


def test_a_missing_organ_teaches_nothing(batch):
    """Neither its logit nor its mask of the template has a slope."""
    made, given = method().train(), blocks(batch, drawn=(True, False))
    logits = made.networks["segment"].logits
    made.segmentation_loss(given)["segmentation"].backward()
    assert float(logits.weight.grad[1].abs().max()) == 0
    assert float(logits.weight.grad[0].abs().max()) > 0
    masks = given.moving_labels.clone().requires_grad_()
    terms = made._registration_terms(replace(given, moving_labels=masks), torch.full((1, 3, *SHAPE), 0.3))
    sum(terms.values()).backward()
    assert float(masks.grad[:, 2].abs().max()) == 0
    assert float(masks.grad[:, 1].abs().max()) > 0
    assert made.segmentation_loss(blocks(batch, drawn=(False, False))) is None


def test_the_loop_in_training_is_the_one_in_use(batch):
    """The recipe's passes and the runtime's, with the same graphs."""
    made, given = method(iterations=3), blocks(batch)

    def run(name, inputs):
        graph = made.graph(name)
        with torch.no_grad():
            found = graph.module(*(torch.from_numpy(np.ascontiguousarray(inputs[role]))[None] for role in graph.inputs))
        return {graph.outputs[0]: found[0].numpy()}

    arrays = [x[0].numpy() for x in (given.fixed, given.moving, given.moving_labels[:, 1:])]
    passes = in_context(run, *arrays, made.regions().numpy(), 3, displacement=lambda raw: raw)
    with torch.no_grad():
        seen = made.on_pair(given.fixed, given.moving, {"moving": given.moving_labels})
    assert np.allclose(seen.displacement[0].numpy(), passes[-1].field, atol=1e-4)
    wanted = np.exp(seen.fixed_logits[0, 1:].numpy())
    assert np.allclose(wanted, np.maximum(passes[-1].probabilities, 1e-6), atol=1e-4)
    assert not np.allclose(passes[0].field, passes[-1].field, atol=1e-6)
    assert made.on_pair(given.fixed, given.moving) is None


def test_each_pass_starts_from_the_maps_before(batch):
    made, given = method(iterations=2), blocks(batch)
    seen = []
    made.networks["register"].register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    made.cascade_loss(given)
    assert not bool(seen[0].any())
    assert bool(seen[1].any())
    assert not seen[1].requires_grad


def test_only_what_learns_has_a_slope(batch):
    given = blocks(batch)
    made = method()
    sum(made.frozen_loss(given).values()).backward()
    assert all(weight.grad is None for weight in made.networks["segment"].parameters())
    assert float(made.networks["register"].field.weight.grad.abs().max()) > 0
    sum(made.cascade_loss(given).values()).backward()
    assert float(made.networks["segment"].logits.weight.grad.abs().max()) > 0


def test_boxes_follow_the_carried_masks(batch):
    made, masks = method(), blocks(batch).moving_labels[:, 1:]
    ((first, second),) = made.boxes(masks, masks)
    assert [(s.start, s.stop) for s in first] == [(2, 10), (2, 10), (3, 11)]  # middle 5.5, 5.5, 6.5, and 3 either way
    assert middles_of(masks[0])[0].tolist() == [5.5, 5.5, 6.5]
    lost = masks.roll(2, dims=2).clone()
    lost[:, 1] = 0
    ((moved, fallen),) = made.boxes(masks, lost)
    assert moved[0].start == first[0].start + 2
    assert fallen[0].start == min(second[0].start + 2, 8)  # goes where the other one went


def test_the_background_has_no_say_of_its_own():
    segment = method().networks["segment"]
    with torch.no_grad():
        logits = segment(torch.rand(1, 1, 6, 8, 4), torch.zeros(1, 1, 6, 8, 4))
    assert logits.shape == (1, 3, 6, 8, 4)
    assert not bool(logits[:, 0].any())


def test_slices_are_refused():
    with pytest.raises(UsageError, match="volumes"):
        HnLight(Config(dims=2))


def test_a_card_brings_its_template_and_boxes_along(tmp_path, batch):
    made, given = method(), blocks(batch)
    grid = Grid(spacing_mm=(2, 2, 3), size=SHAPE)
    data = DataList("x", "CC0-1.0", grid, labels=("background", "a", "b"), images="*", range=(0, 1))
    geometry = Geometry(SHAPE, np.diag([-2.0, -2, 3, 1]))
    image = (given.moving[0, 0].numpy() * 1000).astype(np.int16)
    labels = given.moving_labels[0].argmax(0).numpy().astype(np.uint8)
    template = Template(image, labels, geometry)
    model = export_method(made, data, tmp_path, Details("light"), method_name="hnlight", seed=0, template=template)
    card = model.card
    assert card.requires == ("template", "template_labels")
    assert card.regions_mm == {"a": (6, 6, 6, 6, 9, 9), "b": (6, 6, 6, 6, 9, 9)}
    assert card.iterations == 2
    model.check_files()
    predictor = Predictor(model, device="cpu", threads=1)
    volume, map_ = predictor.template
    assert np.array_equal(volume.array, image)
    assert np.array_equal(map_.array, labels)
    assert volume.geometry.matches(geometry)
    assert map_.names == {1: "a", 2: "b"}
    patient = Volume((given.fixed[0, 0].numpy() * 1000).astype(np.int16), geometry)
    found = predictor.segment(patient)
    one, two = (Predictor(model, device="cpu", threads=1, context=rounds) for rounds in (0, 1))
    first = one.segment(patient)
    assert found.array.shape == (3, *SHAPE)
    assert not np.array_equal(found.array, first.array)
    assert np.array_equal(found.array, two.segment(patient).array)
    ran = one.in_context(patient, first.geometry)
    assert len(ran) == 1
    assert np.array_equal(first.array[1:], ran[0].probabilities)  # no round after the first pass: what that saw
    odd = {"image": np.zeros((1, 1, 6, 10, 4), np.float32), "fixed_probabilities": np.zeros((1, 1, 6, 10, 4), np.float32)}
    assert Session(model, "segment", "cpu", 1).run(odd)["logits"].shape == (1, 3, 6, 10, 4)
    (tmp_path / "light-template.npz").write_bytes(b"nothing")
    from jrscli.errors import ModelError

    with pytest.raises(ModelError, match="truncated or altered"):
        model.check_files()

"""Joint cardiac motion and segmentation: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from jrscli.methods.cardiacmotion import CardiacMotion, Config, in_voxels
from jrscli.recipe import Batch

SHAPE = (16, 32)
SMALL = Config(classes=3, width=0.0625)


def method(seed=0, **changes):
    """With a flow that is seen, in eval mode: batch norm is then the same for one frame and for many."""
    torch.manual_seed(seed)
    made = CardiacMotion(dataclasses.replace(SMALL, **changes)).eval()
    torch.nn.init.normal_(made.networks["motion"].seen.weight, std=0.05)
    return made


def batch(frames=5, knows_fixed=True, seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    sequence = torch.rand(2, frames, 1, *shape, generator=generator)
    numbers = torch.randint(0, 3, (2, 2, *shape), generator=generator)
    labels = torch.nn.functional.one_hot(numbers, 3).movedim(-1, 2).float()
    known = torch.full((2,), knows_fixed)
    peak = frames // 2
    return Batch(
        sequence[:, 0],
        labels[0] if knows_fixed else torch.full_like(labels[0], torch.nan),
        known,
        torch.ones(2, 2, dtype=torch.bool),
        torch.ones(2, 2),
        sequence[:, peak],
        labels[1],
        torch.ones(2, dtype=torch.bool),
        sequence,
        peak,
    )


def test_it_has_the_weights_of_the_paper():
    paper = CardiacMotion(Config(width=1.0))
    counts = {name: sum(w.numel() for w in network.parameters()) / 1e6 for name, network in paper.networks.items()}
    assert counts == pytest.approx({"encoder": 14.7, "motion": 1.7, "segment": 0.9}, abs=0.05)


def test_one_frame_after_nothing_is_a_pair():
    made = method()
    frames = batch(2).sequence
    fields, _ = made.through(frames)
    fixed, moving = frames.unbind(1)
    still = torch.zeros(2, 2, *SHAPE)
    displacement, logits, flow = made.graph("step").module(fixed, moving, still)
    assert torch.allclose(fields[:, 0], displacement, atol=1e-5)
    assert torch.allclose(made.pull(fixed, moving), displacement, atol=1e-6)
    assert torch.allclose(made.graph("segment").module(moving), logits, atol=1e-6)
    assert torch.equal(in_voxels(flow), displacement)
    assert float(displacement[:, 0].detach().abs().max()) <= (SHAPE[0] - 1) / 2


def test_the_flow_is_in_units_of_half_the_image_along_each_axis():
    flow = torch.ones(1, 2, *SHAPE)
    assert in_voxels(flow)[0, :, 0, 0].tolist() == [7.5, 15.5]


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_a_sequence_of_any_length_runs(frames):
    fields, codes = method().through(batch(frames).sequence)
    assert fields.shape == (2, frames - 1, 2, *SHAPE)
    assert len(codes) == 5
    assert all(torch.isfinite(value) for value in method().joint_loss(batch(frames)).values())


def test_the_order_of_the_frames_matters_through_the_memory_alone():
    frames = batch(5).sequence
    order = [0, 3, 1, 4, 2]
    made = method()
    torch.nn.init.normal_(made.networks["motion"].before.weight, std=0.5)
    before, after = made.through(frames)[0], made.through(frames[:, order])[0]
    where = [order.index(k) - 1 for k in range(1, 5)]  # the frames, put back into their places
    assert not torch.allclose(after[:, where], before, atol=1e-3)
    torch.nn.init.zeros_(made.networks["motion"].before.weight)
    before, after = made.through(frames)[0], made.through(frames[:, order])[0]
    assert torch.allclose(after[:, where], before, atol=1e-5)


def test_the_warped_segmentation_of_unlabelled_frames_teaches_flow_and_segmenter():
    made = method()
    made.joint_loss(batch())["carried"].backward()
    for network in ("encoder", "motion", "segment"):
        assert any(bool(weight.grad.any()) for weight in made.networks[network].parameters() if weight.grad is not None), (
            network
        )


def test_without_labels_on_the_first_frame_nothing_is_carried():
    made = method(overlap=1.0)
    assert set(made.joint_loss(batch(knows_fixed=False))) == {"similarity", "smooth_space", "smooth_time", "entropy_moving"}
    assert set(made.joint_loss(batch())) >= {"carried", "entropy_fixed", "overlap"}


def test_the_overlap_of_the_labelled_frames_has_a_slope_in_the_flow():
    made = method(overlap=1.0)
    made.motion_loss(batch())["overlap"].backward()
    assert bool(made.networks["motion"].seen.weight.grad.any())


@pytest.mark.parametrize("seed", range(4))
def test_a_fresh_network_learns_in_every_layer(seed):
    torch.manual_seed(seed)
    fresh = CardiacMotion(Config(classes=3)).train()
    sum(fresh.joint_loss(batch()).values()).backward()
    silent = [name for name, weight in fresh.named_parameters() if not bool(weight.grad.any())]
    assert silent == []


@pytest.mark.slow
def test_one_exported_step_is_torch_over_twenty_frames(tmp_path):
    """The loop outside the graph: the state of each run goes into the next."""
    from jrscli.runtime.card import Grid
    from jrscli.runtime.session import Session
    from jrscli.training.cases import DataList
    from jrscli.training.details import Details
    from jrscli.training.export import export_method

    made, shape = method(), (32, 48)
    torch.nn.init.normal_(made.networks["motion"].seen.weight, std=0.02)
    torch.nn.init.normal_(made.networks["motion"].before.weight, std=0.1)
    grid = Grid(dims=2, orientation=None, spacing_mm=(1, 1, 8), size=(*shape, 1))
    data = DataList("x", "CC0-1.0", grid, labels=("background", "a", "b"), images="*")
    simulation = {"cycle": {"frames": 8, "noise": 0.03}}
    model = export_method(made, data, tmp_path, Details("heart"), method_name="cardiacmotion", seed=0, simulation=simulation)
    assert model.card.simulated_training
    assert model.card.trained.simulation == {"cycle.frames": 8, "cycle.noise": 0.03}
    assert model.card.requires == ("sequence",)
    frames = batch(21, shape=shape).sequence[:1]
    with torch.no_grad():
        wanted = made.through(frames)[0][0].numpy()
    assert np.abs(wanted).max() > 0.5
    session = Session(model, "step", "cpu", 1)
    arrays = frames[0].numpy()[..., None]
    hidden = np.zeros((1, 2, *shape, 1), np.float32)
    for k in range(1, 21):
        found = session.run({"fixed": arrays[:1], "moving": arrays[k : k + 1], "hidden": hidden})
        hidden = found["hidden"]
        assert float(np.abs(found["displacement"][0, ..., 0] - wanted[k - 1]).max()) <= 1e-4

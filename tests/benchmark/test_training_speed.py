"""Training steps per second of each recipe for volumes on hippocampus-sized images made in memory.

pytest -m benchmark tests/benchmark/test_training_speed.py -s          the CPU
JRS_DEVICE=cuda pytest -m benchmark tests/benchmark/test_training_speed.py -s
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from jrscli.methods import names
from jrscli.recipe import Batch
from jrscli.training.cpu import quicken
from jrscli.training.run import build_method

pytestmark = pytest.mark.benchmark
SHAPE = (48, 64, 48)


def batch(device: torch.device) -> Batch:
    def one() -> tuple[torch.Tensor, torch.Tensor]:
        numbers = torch.randint(0, 3, (1, *SHAPE), device=device)
        return torch.rand(1, 1, *SHAPE, device=device), functional.one_hot(numbers, 3).movedim(-1, 1).float()

    fixed, fixed_labels = one()
    moving, moving_labels = one()
    known = torch.tensor([True], device=device)
    present = torch.ones(1, 2, dtype=torch.bool, device=device)
    given = Batch(fixed, fixed_labels, known, present, torch.ones(1, 3, device=device), moving, moving_labels, known)
    return replace(given, labelled_image=fixed, labelled_target=fixed_labels, labelled_present=present)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", names())
def test_steps_per_second(name: str, precision: str) -> None:
    device = torch.device(os.environ.get("JRS_DEVICE", "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    method = build_method(name, {"classes": 3, "channels": 1}).to(device)
    if getattr(method.config, "dims", 2) != 3:
        pytest.skip(f"{name} is for slices")
    if device.type == "cpu":
        quicken(method, 3)
    given = batch(device)
    for turn in method.stages()[-1].turns:
        weights = [weight for network in turn.trains for weight in method.networks[network].parameters()]
        optimiser = torch.optim.AdamW(weights, lr=1e-4)
        steps = 40 if device.type == "cuda" else 3
        for step in range(steps + 2):
            if step == 2:  # the first ones choose algorithms
                start = _now(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = sum(turn.loss(given).values())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        rate = steps / (_now(device) - start)
        print(f"{name:<10} {'+'.join(turn.trains):<18} {device} {precision:<8} {rate:7.2f} steps/s")  # noqa: T201
        assert rate > 0


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()

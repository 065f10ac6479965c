"""Two processes train one model: the same weights in both, the mean of both gradients."""

import os
import subprocess
import sys

import pytest
import torch

from jrscli.training import checkpoint

SETTINGS = [
    "--set", "widths=[4, 6]", "--set", "segment_rounds=2", "--set", "joint_rounds=0", "--set", "training.validation_pairs=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed part")
def test_two_processes_train_one_model(study, tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "jrscli"]
    command = [*launch, "train", "siamese", str(study), *SETTINGS, "-o", str(tmp_path / "two"), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("checkpoint\t") == 1, "one process writes and talks"
    assert "segmentation 2 " in done.stderr
    weights = checkpoint.load(tmp_path / "two")["weights"]
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_gradients_are_averaged(monkeypatch):
    """With a stand-in for the other process, whose gradient is three times as large."""
    from jrscli.training import distributed

    ranks = distributed.Ranks()
    ranks.size = 2
    monkeypatch.setattr(distributed.distributed, "all_reduce", lambda tensor: tensor.mul_(4))
    one, none = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    one.grad = torch.ones(2)
    ranks.average([one, none])
    assert one.grad.tolist() == [2, 2]
    assert none.grad.tolist() == [0, 0]

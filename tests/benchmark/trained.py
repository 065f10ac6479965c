"""The networks of a training, as validation uses them: what the benchmarks below share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jrscli.recipe import Method
from jrscli.training import checkpoint
from jrscli.training.run import build_method


def networks(folder: Path) -> tuple[Method, dict[str, Any]]:
    """The method with the weights of its checkpoint, in eval mode, and the checkpoint's description."""
    content = checkpoint.load(folder)
    method = build_method(content["method"], content["config"])
    method.load_state_dict(content["weights"])
    return method.eval(), content

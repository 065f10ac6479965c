"""Which device torch computes on, and with how many threads."""

from __future__ import annotations

import torch

from jrscli.errors import ProviderError, UsageError


def device_named(name: str) -> torch.device:
    """The torch device of "auto" (a GPU where torch sees one), "cpu", "cuda" or "cuda:N".

    Raises UsageError `usage.device`, ProviderError `provider.cuda`.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UsageError(f"no device named {name}", code="usage.device", hint="one of auto, cpu, cuda, cuda:N")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise ProviderError(
            f"{name} is not available to torch here", code="provider.cuda", hint="see jrs doctor, or use --device cpu"
        )
    return torch.device(name)


def use_threads(count: int) -> None:
    """Let torch compute with this many threads."""
    torch.set_num_threads(count)

"""Models that stay loaded from one case to the next, in a process that does many."""

from __future__ import annotations

from collections import OrderedDict

from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import Model

MOST = 3
"""How many models stay loaded at once: the one that was not used for longest gives way."""
_Key = tuple[str, str, str, int | None, int | None]
_kept: OrderedDict[_Key, Predictor] | None = None


def keep_loaded() -> None:
    """From now on this process keeps the models that it loads."""
    global _kept
    if _kept is None:
        _kept = OrderedDict()


def predictor_of(model: Model, device: str = "auto", threads: int | None = None, context: int | None = None) -> Predictor:
    """The model at work: the one that is loaded already where this process keeps them, else a new one."""
    if _kept is None:
        return Predictor(model, device=device, threads=threads, context=context)
    key = (str(model.folder), model.sha256, device, threads, context)
    if key not in _kept:
        _kept[key] = Predictor(model, device=device, threads=threads, context=context)
    _kept.move_to_end(key)
    while len(_kept) > MOST:
        _kept.popitem(last=False)
    return _kept[key]

"""The golden run: inputs made from a seed, four numbers of every output. It needs no stored tensors.

It tells a graph that computes something else (another provider, a broken kernel, wrong weights) from one that works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from jrscli.errors import ModelError
from jrscli.roles import INPUTS
from jrscli.runtime.card import Card, Statistics
from jrscli.runtime.session import Session

BLOCK = 8
"""Side of the blocks of one value, voxels: a network sees structure, not noise alone."""
TOLERANCE = 0.02
"""Of the spread (mean, std) or range (min, max) of an output."""


def golden_inputs(
    card: Card, graph: str, shape: tuple[int, int, int] | None = None
) -> dict[str, Float32[np.ndarray, "1 c i j k"]]:
    """The inputs of one graph for the golden run: blocks and noise in the range of each input, the same on every machine.

    shape: voxels, by default those of the golden run.
    """
    found = {}
    size = shape or card.golden_shape(graph)
    for n, (role, spec) in enumerate(card.graphs[graph].inputs.items()):
        noise = _uniform(card.golden.seed + 1000 * n, (spec.channels, *size))
        coarse = _uniform(card.golden.seed + 1000 * n + 1, (spec.channels, *(-(-voxels // BLOCK) for voxels in size)))
        for axis, voxels in enumerate(size, start=1):
            coarse = coarse.repeat(BLOCK, axis=axis).take(range(voxels), axis=axis)
        mixed = 0.75 * coarse + 0.25 * noise
        if INPUTS[role].kind in ("labels", "probabilities"):
            mixed = (mixed == mixed.max(axis=0, keepdims=True)).astype(np.float32)
        else:
            mixed = mixed * np.float32(spec.range[1] - spec.range[0]) + np.float32(spec.range[0])
        found[role] = mixed[None].astype(np.float32)
    return found


def _uniform(seed: int, shape: Sequence[int]) -> Float32[np.ndarray, "..."]:
    """Numbers from 0 to 1 made from raw bits: numpy keeps those of a bit generator the same for ever, not its distributions."""
    bits = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return ((bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).reshape(shape)


def statistics(array: Float[np.ndarray, "..."]) -> Statistics:
    """Mean, standard deviation, smallest and largest value, to seven digits."""
    wide = np.asarray(array, np.float64)
    mean, std, low, high = (float(f"{value:.7g}") for value in (wide.mean(), wide.std(), wide.min(), wide.max()))
    return Statistics(mean, std, low, high)


def agree(found: Statistics, expected: Statistics) -> bool:
    """Whether two runs of a graph gave the same, up to what devices differ by."""
    spread = TOLERANCE * expected.std + 1e-4
    reach = TOLERANCE * (expected.max - expected.min) + 1e-4
    near = [
        abs(found.mean - expected.mean) <= spread,
        abs(found.std - expected.std) <= spread,
        abs(found.min - expected.min) <= reach,
        abs(found.max - expected.max) <= reach,
    ]
    return all(near)


def golden_run(session: Session) -> Mapping[str, Statistics]:
    """What the golden run of a loaded graph gives, by output role."""
    outputs = session.run(golden_inputs(session.model.card, session.name))
    return {role: statistics(array) for role, array in outputs.items()}


def check_golden(session: Session) -> None:
    """Raise ModelError `model.golden` unless the golden run gives what the card says."""
    expected = session.model.card.golden.expected[session.name]
    for role, found in golden_run(session).items():
        if not agree(found, expected[role]):
            raise ModelError(
                f"the golden run of {session.graph.file} ({role}) gives mean {found.mean:.4g} and std {found.std:.4g} "
                f"where the card of {session.model.title} says {expected[role].mean:.4g} and {expected[role].std:.4g}",
                code="model.golden",
                hint="the model is not the one its card describes, or this onnxruntime computes it wrongly (jrs doctor)",
            )

"""Labels by the numbers of a model: organs are matched by their names, never by a guess."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jrscli.errors import InputError
from jrscli.metrics.organ_names import OrganMatch, matched_organs
from jrscli.spatial.volume import LabelMap


def organ_matches(labels: LabelMap, names: Sequence[str]) -> tuple[OrganMatch, ...]:
    """The labels that occur, by name, against the foreground labels of a card (`metrics.organ_names`)."""
    return matched_organs([labels.name(number) for number in labels.numbers()], names[1:])


def numbered_as(labels: LabelMap, names: Sequence[str]) -> LabelMap:
    """The labels by their numbers in a card (names: background first); organs that the card does not know are left out.

    A label map that has no names keeps its numbers: they are taken for the card's.

    Raises InputError `labels.organs` where names are given and none is one of the card's.
    """
    if not labels.names:
        return labels
    numbers = {match.given: names.index(match.known) for match in organ_matches(labels, names) if match.given and match.known}
    if not numbers:
        raise InputError(
            "none of the labels has the name of an organ that the model knows",
            code="labels.organs",
            hint=f"it knows {', '.join(names[1:])}; names of TG-263 will do (rename with --rename)",
        )
    out = np.zeros(labels.array.shape, np.uint32)
    for number in labels.numbers():
        out[labels.mask(number)] = numbers.get(labels.name(number), 0)
    return LabelMap(out, labels.geometry, dict(enumerate(names[1:], start=1)))


def named_as(labels: LabelMap, matches: Sequence[OrganMatch]) -> LabelMap:
    """A model's labels under the names that the other side gives the same organs; the rest keep the model's own."""
    names = {match.known: match.given for match in matches if match.kind == "both"}
    return LabelMap(labels.array, labels.geometry, {n: names.get(name) or name for n, name in labels.names.items()})

"""Tolerances: what passes, what has to be looked at, what fails. Defaults in the style of AAPM TG-132; a site has its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from jrscli.errors import UsageError

TG132 = "TG-132 (Brock 2017, doi:10.1002/mp.12256), as tabulated by Latifi 2018 (PMC6036411)"
SRS_MM = 1.0


@dataclass(frozen=True)
class Organ:
    """What is known of one organ, and where from.

    uncertainty_mm: how far readers differ. dice: the least that passes. nsd_mm: the tolerance of its surface Dice.
    """

    uncertainty_mm: float | None = None
    dice: float | None = None
    nsd_mm: float | None = None
    source: str = ""


AGREEMENT = 0.85
"""The Dice of two estimates of one contour that are taken to agree, where neither site nor model says another one."""


@dataclass(frozen=True)
class Tolerances:
    """The limits of the gate. Lengths are multiples of v, the largest voxel dimension of both grids, where they say so.

    disagreement_dice: in place of 0.85, and of what a model's card says of its own labels.
    voxel_mm: in place of v (1 mm for stereotactic radiosurgery). digest: sha256 of the site's file.
    """

    tre_review_v: float = 2.0
    msd_review: float = 1.5
    dice_pass: float = 0.80
    dice_review: float = 0.70
    dice_volume_cc: float = 5.0
    neg_jac_review_percent: float = 0.1
    ndv_pass_percent: float = 0.01
    jacobian_low: float = 0.5
    jacobian_high: float = 2.0
    consistency_review_v: float = 1.5
    disagreement_dice: float | None = None
    volume_change_percent: float = 20.0
    voxel_mm: float | None = None
    organs: Mapping[str, Organ] = field(default_factory=dict)
    source: str = TG132
    digest: str = ""

    def organ(self, name: str) -> Organ | None:
        """What is known of the organ of this name: spelling and sides do not matter."""
        known = {_plain(other): organ for other, organ in self.organs.items()}
        return known.get(_plain(name)) or known.get(_without_side(name))

    def as_json(self) -> dict[str, Any]:
        """The limits as a JSON object."""
        numbers = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("organs", "digest")}
        numbers["disagreement_dice"] = numbers["disagreement_dice"] or AGREEMENT
        return {**numbers, **({"sha256": self.digest} if self.digest else {})}


def tolerances_from(
    document: Mapping[str, Any] | None, known: Tolerances | None = None, *, digest: str = "", source: str = ""
) -> Tolerances:
    """The tolerances of a document with the keys ``organs`` (per organ the fields of `Organ`) and ``limits`` (of `Tolerances`).

    known: what holds where the document says nothing.

    Raises UsageError `tolerances.key`, `tolerances.value`.
    """
    document = {} if document is None else document
    base = known or Tolerances()
    if not isinstance(document, Mapping):
        raise _bad("is no table of keys and values")
    _check_keys(document, ("organs", "limits"), "")
    organs = dict(base.organs)
    for name, entry in _table(document, "organs").items():
        if not isinstance(entry, Mapping):
            raise _bad(f"says nothing of the organ '{name}'")
        _check_keys(entry, [one.name for one in fields(Organ)], f"organs > {name} > ")
        numbers = {key: _number(value, f"{name} > {key}") for key, value in entry.items() if key != "source"}
        organs[str(name)] = Organ(**numbers, source=str(entry.get("source", "") or source))
    limits = _table(document, "limits")
    allowed = [one.name for one in fields(Tolerances) if one.name not in ("organs", "source", "digest")]
    _check_keys(limits, allowed, "limits > ")
    found = {key: _number(value, key) for key, value in limits.items()}
    return replace(base, **found, organs=organs, source=source if limits else base.source, digest=digest)


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = document.get(key) or {}
    if not isinstance(part, Mapping):
        raise _bad(f"has no table under '{key}'")
    return part


def _check_keys(part: Mapping[str, Any], known: Any, where: str) -> None:
    for key in part:
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"the file of tolerances has the unknown key '{where}{key}'", code="tolerances.key", hint=hint)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise _bad(f"gives no number of 0 or more for '{where}'")
    return float(value)


def _bad(words: str) -> UsageError:
    return UsageError(
        f"the file of tolerances {words}",
        code="tolerances.value",
        hint="for example  organs: {Bladder: {uncertainty_mm: 2, source: our readers}}",
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _without_side(name: str) -> str:
    from jrscli.metrics.contour_checks import side_of

    side = side_of(name)
    return side[1] if side else _plain(name)

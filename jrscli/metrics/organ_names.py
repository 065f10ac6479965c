"""Which names mean the same organ: spelling, order of words and the names of TG-263 do not matter; sides always do.

Source of the names: Mayo et al., Report of AAPM Task Group 263, 2018, doi:10.1016/j.ijrobp.2017.12.013.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jrscli.metrics.contour_checks import side_of

Kind = Literal["both", "given only", "known only", "several"]

_SAME = (
    ("spinalcord", "cord", "medullaspinalis"),
    ("brainstem", "truncuscerebri"),
    ("parotid", "parotidgland", "glndparotid", "parotis"),
    ("submandibular", "submandibulargland", "glndsubmand", "submandibula", "smg"),
    ("lacrimal", "lacrimalgland", "glndlacrimal"),
    ("thyroid", "thyroidgland", "glndthyroid"),
    ("mandible", "bonemandible", "mandibula"),
    ("oesophagus", "esophagus"),
    ("opticnerve", "opticnrv"),
    ("opticchiasm", "chiasm", "chiasma"),
    ("eye", "eyeball"),
    ("femoralhead", "femurhead", "headoffemur"),
    ("bladder", "urinarybladder"),
    ("seminalvesicle", "seminalves", "seminalvesicles"),
)
_KEYS = {name: names[0] for names in _SAME for name in names}


@dataclass(frozen=True)
class OrganMatch:
    """One organ. given: its name among those that are to be matched; known: among those of the other side (a model's card).

    kind: "both"; "given only" or "known only" where one side does not have it; "several" where more than one given name could
    be the known one, of which none is taken.
    """

    given: str | None
    known: str | None
    kind: Kind


def organ_key(name: str) -> tuple[str, str]:
    """The organ and its side ("L", "R" or ""): the same for all names of one organ, another one for anything else.

    What is derived from an organ (``SpinalCord_PRV05``, ``zCord``) is none of its names.
    """
    sided = side_of(name)
    side, rest = sided if sided else ("", re.sub(r"[\W_]", "", name).lower())
    return _KEYS.get(rest, rest), side


def matched_organs(given: Iterable[str], known: Iterable[str]) -> tuple[OrganMatch, ...]:
    """Every known organ with the given name that means it, in their order, then the given names that no known organ has.

    Of several names of one organ that is taken which is spelled as the known one; if none is, none is taken.
    """
    names, out = list(given), []
    for organ in known:
        same = [name for name in names if organ_key(name) == organ_key(organ)]
        exact = [name for name in same if name.strip().lower() == organ.strip().lower()]
        chosen = exact if len(exact) == 1 else same
        if len(chosen) == 1:
            out.append(OrganMatch(chosen[0], organ, "both"))
        else:
            out.append(OrganMatch(None, organ, "several" if chosen else "known only"))
    taken = {match.given for match in out}
    return (*out, *(OrganMatch(name, None, "given only") for name in names if name not in taken))

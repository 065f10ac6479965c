"""Which ROIs are meant: by name or pattern, and which one is the patient's outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from jrscli.errors import InputError, Notice
from jrscli.spatial.structures import Roi

EXTERNAL_NAMES = ("body", "external", "skin", "outline", "patient")


def select_rois(rois: Sequence[Roi], include: Sequence[str] | None, exclude: Sequence[str] | None) -> tuple[Roi, ...]:
    """The ROIs whose name fits a pattern of ``include`` (all, if None) and none of ``exclude``, in their order.

    Raises InputError `rs.name` for a pattern that fits nothing, `rs.none` if nothing is left.
    """
    for pattern in (*(include or ()), *(exclude or ())):
        if not any(_fits(roi.name, pattern) for roi in rois):
            # the names that it may have been are not told: what people call ROIs can tell of the patient
            raise InputError(f"no ROI is called '{pattern}'", code="rs.name", hint="list the names with: jrs info FILE")
    kept = tuple(
        roi
        for roi in rois
        if (include is None or any(_fits(roi.name, p) for p in include)) and not any(_fits(roi.name, p) for p in exclude or ())
    )
    if not kept:
        raise InputError(
            "no ROI is left to propagate", code="rs.none", hint="look at the patterns, or at the ROIs with: jrs info FILE"
        )
    return kept


def rename_rois(rois: Sequence[Roi], names: Mapping[str, str]) -> tuple[tuple[Roi, ...], tuple[Notice, ...]]:
    """The ROIs under their new names (old -> new, letter by letter), and what of the list was of no use (`rs.rename`)."""
    renamed = tuple(replace(roi, name=names.get(roi.name, roi.name)) for roi in rois)
    idle = len(set(names) - {roi.name for roi in rois})
    shared = len(renamed) - len({roi.name for roi in renamed}) - (len(rois) - len({roi.name for roi in rois}))
    said = [
        (idle, f"{idle} of {len(names)} names in the list fit no ROI"),
        (shared > 0, f"{shared} ROI(s) now have the name of another"),
    ]
    return renamed, tuple(Notice("rs.rename", words) for count, words in said if count)


def external_roi(rois: Sequence[Roi]) -> Roi | None:
    """The patient's outline among the ROIs: the one of kind EXTERNAL, else one with a name that says so."""
    named = [roi for roi in rois if roi.kind == "EXTERNAL"] or [roi for roi in rois if roi.name.lower() in EXTERNAL_NAMES]
    return named[0] if named else None


def _fits(name: str, pattern: str) -> bool:
    # a name may itself hold * or [, so the plain comparison comes first
    return name == pattern or fnmatchcase(name.lower(), pattern.lower())

"""What commands that read or write contours let the user choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Run

if TYPE_CHECKING:
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap

_PANEL = "Contours"


class HolesRule(StrEnum):
    """How holes are written in an RTSTRUCT."""

    keyhole = "keyhole"
    xor = "xor"
    nested = "nested"


Holes = Annotated[
    HolesRule, typer.Option("--holes", help="How holes are written; nested for readers that XOR.", rich_help_panel=_PANEL)
]
Simplify = Annotated[
    float,
    typer.Option(
        "--simplify",
        metavar="MM",
        min=0.0,
        help="Leave out points as long as the outline stays this close; 0: none but those on straight runs.",
        rich_help_panel=_PANEL,
    ),
]
FillGaps = Annotated[
    bool,
    typer.Option("--fill-gaps", help="Draw contours on slices inside a structure that have none.", rich_help_panel=_PANEL),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse structures with contours outside the image.", rich_help_panel=_PANEL)
]
AssumeAligned = Annotated[
    bool,
    typer.Option(
        "--assume-aligned",
        help="Use contours of another frame of reference as they are.",
        rich_help_panel=_PANEL,
    ),
]
Rename = Annotated[
    Path | None,
    typer.Option(
        "--rename",
        metavar="FILE",
        help="New names of ROIs: lines of old,new or a JSON object.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class Renaming:
    """New names for what is written; none without a file. Read before anything is computed, so that it fails early."""

    names: dict[str, str]

    @staticmethod
    def from_file(path: Path | None) -> Renaming:
        """The names in the file."""
        if path is None:
            return Renaming({})
        from jrscli.io.renames import read_renames

        return Renaming(read_renames(path))

    def structures(self, run: Run, found: StructureSet) -> StructureSet:
        """The structures under their new names."""
        if not self.names:
            return found
        from jrscli.workflows.selection import rename_rois

        rois, notices = rename_rois(found.rois, self.names)
        run.note(notices)
        return replace(found, rois=rois)

    def labels(self, found: LabelMap) -> LabelMap:
        """The labels under their new names."""
        return replace(found, names={number: self.names.get(name, name) for number, name in found.names.items()})

    def both(self, run: Run, found: StructureSet | LabelMap) -> StructureSet | LabelMap:
        """Structures or labels under their new names."""
        from jrscli.spatial.structures import StructureSet

        return self.structures(run, found) if isinstance(found, StructureSet) else self.labels(found)


def prepared(
    run: Run, found: StructureSet | LabelMap, grid: Geometry | None, *, strict: bool, fill_gaps: bool
) -> StructureSet | LabelMap:
    """Structures after the checks and repairs that were asked for; labels as they are.

    Raises InputError `rs.outside`.
    """
    from jrscli.spatial.structures import StructureSet
    from jrscli.workflows.contours import check_strictly, with_gaps_filled

    if not isinstance(found, StructureSet):
        return found
    if strict:
        check_strictly(found)
    if fill_gaps and grid is not None:
        found, notices = with_gaps_filled(found, grid)
        run.note(notices)
    return found


def record_rois(run: Run, structures: StructureSet | LabelMap, grid: Geometry) -> None:
    """Put contours, volumes and oddities of each ROI into the record, by number: names can be personal."""
    from jrscli.spatial.structures import StructureSet
    from jrscli.workflows.contours import roi_facts

    if not isinstance(structures, StructureSet):
        return
    run.record.facts["rois"] = [_document(facts) for facts in roi_facts(structures, grid)]


def _document(facts: Any) -> dict[str, Any]:
    return {
        "number": facts.number,
        "contours": facts.contours,
        "points_and_open": facts.points_and_open,
        "contour_cc": round(facts.contour_cc, 4),
        "voxel_cc": round(facts.voxel_cc, 4),
        "voxels": facts.voxels,
        "codes": list(facts.codes),
    }

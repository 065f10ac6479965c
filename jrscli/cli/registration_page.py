"""The page of a registration: pictures, tables, a card per structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jrscli.cli.run import Results, Run

if TYPE_CHECKING:
    from jrscli.cli.second_estimate import Compared
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.evaluation import Evaluation, Row
    from jrscli.report.regions import Region
    from jrscli.spatial.volume import Volume
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.register import Registration

DRAWN = "contours drawn on the fixed image"
_WHAT = {
    "register": "The images were registered",
    "propagate-contours": "Contours were carried from the planning to the daily image",
    "segment": "The image was contoured by labelled atlases",
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the report draws: regions and their rows, the moving image before and after, labels against known ones.

    given: whether the dashed contours were drawn by a person; else they are those of the second estimate.
    """

    regions: list[Region]
    rows: list[Row]
    before: Volume
    after: Volume
    same_contrast: bool
    labels: Mapping[str, Evaluation]
    given: bool
    second: Compared | None


def write_registration_page(
    run: Run,
    results: Results,
    registration: Registration,
    fixed: ImageFile,
    found: Assessment,
    carried: Propagation | None,
    names: dict[int, str],
    drawn: Drawn,
) -> None:
    from jrscli.cli.report_page import write_page
    from jrscli.cli.second_estimate import HEADER, TITLE
    from jrscli.io.software import software_version
    from jrscli.report.compose import Subject
    from jrscli.report.methods_text import methods_of_registration
    from jrscli.report.tables import to_columns
    from jrscli.workflows.evaluate_transform import field_geometry

    run.talk.say("drawing the report")
    subject = Subject(
        fixed.volume,
        drawn.regions,
        moved=drawn.after,
        before=drawn.before,
        transform=registration.transform,
        inverse=registration.inverse,
        field_grid=field_geometry(registration.transform, fixed.volume.geometry),
        same_contrast=drawn.same_contrast,
        v_mm=found.v_mm,
        titles=("contours carried from the moving image", DRAWN if drawn.given else "contours of the network"),
    )
    facts = {}
    for one in carried.results if carried else ():
        lines = [("how", one.how), ("planning", _cc(one.planning_cc)), ("daily", _cc(one.daily_cc))]
        lines.append(("outside the daily image", f"{one.outside_percent:.0f} %"))
        words = drawn.second.words.get(names[one.number]) if drawn.second else None
        facts[names[one.number]] = [*lines, *([("against the network's contour", words)] if words else [])]
    tables = [(f"Labels {name} registration", to_columns(part)) for name, part in drawn.labels.items()]
    field = found.main if found.main.kind == "field" else found.parts["field"]
    tables += [("Likeness of the images", to_columns(found.parts["images"])), ("Displacement field", to_columns(field))]
    methods = methods_of_registration(software_version(), run.record.document(), _WHAT[run.record.command])
    write_page(
        run,
        results,
        run.record.command,
        subject,
        found.verdict,
        drawn.rows,
        facts=facts,
        tables=tables,
        methods=methods,
        v_mm=found.v_mm,
        opening=(TITLE, (list(HEADER), drawn.second.lines)) if drawn.second else None,
    )


def with_second(rows: list[Row], second: Compared | None) -> list[Row]:
    """The rows with what a second estimate says of them, so that a card shows where the two differ most."""
    measured = {row.name: row for row in second.measured} if second else {}
    found = []
    for row in rows:
        other = measured.get(row.name)
        if other is not None:
            values = {name: other.values[name] for name in ("dice.v1", "msd.v1") if name in other.values}
            row = replace(row, values={**values, **row.values}, details={**row.details, **other.details})
        found.append(row)
    return found


def _cc(volume: float | None) -> str:
    return "n/a" if volume is None else f"{volume:.2f} cc"

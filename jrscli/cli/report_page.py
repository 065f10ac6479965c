"""report.html: what a command found, put together and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Results, Run

if TYPE_CHECKING:
    from jrscli.metrics.evaluation import Row
    from jrscli.metrics.gates import Verdict
    from jrscli.report.canvas import Colour
    from jrscli.report.compose import Subject
    from jrscli.report.page import Page
    from jrscli.report.regions import Region
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap

REPORT = "report.html"
MOST_PICTURED = 12


def write_page(
    run: Run,
    results: Results,
    title: str,
    subject: Subject | None,
    verdict: Verdict | None,
    rows: Sequence[Row],
    *,
    facts: Mapping[str, list[tuple[str, str]]] | None = None,
    tables: Sequence[tuple[str, tuple[list[str], list[list[str]]]]] = (),
    methods: str = "",
    v_mm: float | None = None,
    film: str = "",
    opening: tuple[str, tuple[list[str], list[list[str]]]] | None = None,
) -> None:
    """Put the report together and write it. film: the section of a cine. opening: the table that stands first."""
    from jrscli.io.output import write_bytes
    from jrscli.io.software import software_version
    from jrscli.report.compose import cards, pictures
    from jrscli.report.page import MOST_BYTES, Page, render

    page = Page(
        title,
        verdict,
        software_version(),
        "" if run.deterministic else date.today().isoformat(),
        inputs=run.record.inputs,
        v_mm=v_mm,
        remarks=[f"{notice.message} [{notice.code}]" for notice in run.record.notices],
        pictures=pictures(subject) if subject else (),
        tables=tables,
        cards=cards(subject, rows, verdict, dict(facts or {})),
        record=_lasting(run) if run.deterministic else {**run.record.document(), "inputs": run.record.inputs},
        methods=methods,
        film=film,
        opening=opening,
        viewer=_viewer(subject) if subject else "",
    )
    content = render(page)
    if len(content) > MOST_BYTES:
        content = render(replace(page, viewer=""))
    if len(content) > MOST_BYTES:
        content = render(_lighter(page))
    write_bytes(content, results.add("report", REPORT))


def regions_of(
    part: StructureSet | LabelMap,
    geometry: Geometry,
    *,
    dashed: bool = False,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, Colour] | None = None,
) -> list[Region]:
    """The structures as regions on a grid, in ``colours`` by number, or their own, or else in colours by their number."""
    from jrscli.report.outlines import colour_of
    from jrscli.report.regions import Region
    from jrscli.spatial.resample import resample_labels
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.pairing import of_labels, structures_of

    if isinstance(part, LabelMap):
        labels = part if part.geometry.matches(geometry) else resample_labels(part, geometry)
        found, own = of_labels(labels), {}
    else:
        found, own = structures_of(part, geometry), {roi.number: roi.colour for roi in part.rois}
    regions = []
    for one in found:
        if one.box is not None:
            i, j, k = (side.start for side in one.box)
            name = (names or {}).get(one.number, one.name)
            colour = (colours or {}).get(one.number) or own.get(one.number) or colour_of(one.number)
            regions.append(Region(name, one.mask(one.box), (i, j, k), colour, dashed, one.number))
    return regions


def _lasting(run: Run) -> dict[str, Any]:
    """The record without what differs from run to run."""
    return {key: value for key, value in run.record.document().items() if key != "timing"}


def _viewer(subject: Subject) -> str:
    from jrscli.io.nifti_bytes import nifti_bytes
    from jrscli.report.viewer import viewer_html, viewer_volumes

    volumes = viewer_volumes(subject.fixed, subject.moved, subject.regions, subject.content())
    return viewer_html([(name, nifti_bytes(volume)) for name, volume in volumes], subject.regions)


def _lighter(page: Page) -> Page:
    """The report without its viewer and with pictures of the worst structures only."""
    bare = [card if n < MOST_PICTURED else replace(card, pictures=()) for n, card in enumerate(page.cards)]
    return replace(page, viewer="", cards=bare)


def remarks_of(record: Mapping[str, Any]) -> list[str]:
    """The notices of a record as sentences."""
    return [f"{one['message']} [{one['code']}]" for one in record.get("notices", [])]

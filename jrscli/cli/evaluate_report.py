"""The report of `jrs evaluate`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jrscli.cli.evaluate_inputs import Material
from jrscli.cli.run import Results, Run

if TYPE_CHECKING:
    from jrscli.metrics.assessment import Assessment
    from jrscli.report.compose import Subject
    from jrscli.report.regions import Region
    from jrscli.spatial.volume import Volume


def write_report(run: Run, results: Results, found: Assessment, material: Material) -> None:
    """Write report.html."""
    from jrscli.cli.report_page import write_page
    from jrscli.io.software import software_version
    from jrscli.report import tables
    from jrscli.report.methods_text import methods_of_evaluation

    main = found.main
    shown: list[tuple[str, Any]] = [("Figures", tables.to_columns(main))]
    if len(main.rows) > 1:
        ids = tables.shown_ids(main)
        shown.append(("Summary", tables.summary_columns([part for part in main.summary if part.id in ids])))
    names = {"dose": "Dose", "field": "Displacement field", "points": "Landmarks", "beat": "Volumes of the beat"}
    shown += [(names[kind], tables.to_columns(part)) for kind, part in found.parts.items()]
    if found.others:
        ids = tables.shown_ids(main)
        shown.append(("Tests side by side", tables.side_by_side(found, ids)))
        shown.append(("Paired differences", tables.difference_columns(found, ids)))
    source = found.tolerances.source if found.tolerances else ""
    methods = methods_of_evaluation(software_version(), main.ids, found.v_mm, source) if main.kind == "labels" else ""
    rows = main.rows if main.kind == "labels" and not any(row.case for row in main.rows) else ()
    subject = _subject(found, material)
    write_page(run, results, "Evaluation", subject, found.verdict, rows, tables=shown, methods=methods, v_mm=found.v_mm)


def _subject(found: Assessment, material: Material) -> Subject | None:
    """What is pictured: the image, or where there is none the reference's structures in grey."""
    from jrscli.cli.report_page import regions_of
    from jrscli.report.compose import Subject
    from jrscli.workflows.evaluate_transform import field_geometry

    if material.reference is None or material.prediction is None or material.geometry is None:
        return None
    grid = material.geometry
    # one name per pair: a prediction whose label has another name belongs to the row of the reference
    names = {row.test_number: row.name for row in found.main.rows if row.test_number is not None}
    reference = regions_of(material.reference, grid, dashed=True)
    regions = [*regions_of(material.prediction, grid, names=names), *_coloured(reference)]
    on_grid = material.image is not None and material.image.volume.geometry.matches(grid)
    fixed = material.image.volume if material.image is not None and on_grid else _silhouettes(grid, reference)
    transform = material.transform
    place = field_geometry(transform, grid) if transform is not None and not transform.is_linear else None
    return Subject(fixed, regions, transform=transform, field_grid=place, v_mm=found.v_mm)


def _coloured(reference: list[Region]) -> list[Region]:
    """The reference in white: solid and dashed lines of one colour on each other cannot be told apart."""
    return [replace(region, colour=(255, 255, 255)) for region in reference]


def _silhouettes(grid: Any, regions: list[Region]) -> Volume:
    import numpy as np

    from jrscli.spatial.volume import Volume

    array = np.zeros(grid.shape, np.uint8)
    for region in regions:
        box = tuple(slice(low, low + n) for low, n in zip(region.lower, region.mask.shape, strict=True))
        array[box][region.mask] = np.maximum(array[box][region.mask], 80)
    array.flat[0] = 255  # the window: structures stay dark grey behind the lines
    return Volume(array, grid)

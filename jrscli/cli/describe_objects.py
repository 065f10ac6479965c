"""DICOM registrations, segmentations and doses as documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Document = dict[str, Any]


def describe_object(path: Path) -> Document | None:
    """The document of a DICOM object that is neither image nor structure set; None for classes that are not read.

    Raises JrsError what the reader of its class raises.
    """
    from jrscli.io.dicom_classes import SEGMENTATION_CLASSES, sop_class_of
    from jrscli.io.dose import DOSE_CLASS
    from jrscli.io.registration_object import registration_kind

    found = sop_class_of(path)
    if found == DOSE_CLASS:
        return _dose(path)
    if found in SEGMENTATION_CLASSES:
        return _segmentation(path)
    return _registration(path) if registration_kind(path) else None


def _dose(path: Path) -> Document:
    from jrscli.cli.describe import geometry_document, geometry_lines
    from jrscli.io.dose import read_dose

    dose = read_dose(path)
    highest = float(dose.volume.array.max())
    unit = "Gy" if dose.units == "GY" else "(relative)"
    return {
        "path": str(path),
        "kind": "rtdose",
        "what": f"RTDOSE, up to {highest:.2f} {unit}",
        "units": dose.units,
        "maximum": highest,
        "geometry": geometry_document(dose.volume.geometry),
        "details": geometry_lines(dose.volume.geometry),
    }


def _segmentation(path: Path) -> Document:
    from jrscli.cli.describe import geometry_document, geometry_lines, problems
    from jrscli.io.segmentation_object import read_segmentation

    masks, notices = read_segmentation(path)
    volume = masks.geometry.voxel_volume_mm3 / 1000
    segments = [
        {"number": n, "name": masks.name(n), "volume_cc": round(float(mask.sum()) * volume, 3)}
        for n, mask in masks.masks.items()
    ]
    lines = [f"{one['number']:>3}  {one['name']}  {one['volume_cc']:.2f} cc" for one in segments]
    return {
        "path": str(path),
        "kind": "seg",
        "what": f"DICOM Segmentation with {len(segments)} segments",
        "segments": segments,
        "geometry": geometry_document(masks.geometry),
        "details": geometry_lines(masks.geometry) + lines,
        "problems": problems(notices),
    }


def _registration(path: Path) -> Document:
    from jrscli.cli.describe import problems
    from jrscli.io.registration_object import read_registration
    from jrscli.workflows.describe import describe_transform

    found = read_registration(path)
    items, details = [], []
    for number, link in enumerate(found.links, start=1):
        facts = describe_transform(link.pull)
        own = link.frame_of_reference_uid == found.frame_of_reference_uid
        items.append(
            {
                "item": number,
                "frame": "registered" if own else "other",
                "images": len(link.images),
                "identity": link.is_identity(),
                "matrix_lps_mm": facts.matrix,
                "displacement_max_mm": facts.displacement_max_mm,
            }
        )
        where = "the registered frame" if own else "another frame"
        words = "identity" if link.is_identity() else facts.sentence
        if facts.matrix and not link.is_identity():
            words = f"{words}, then shifts by ({', '.join(f'{row[3]:.2f}' for row in facts.matrix[:3])}) mm"
        details.append(f"item {number}, {where}, {len(link.images)} images: registered -> item, {words}")
    name = "Spatial Registration" if found.kind == "rigid" else "Deformable Spatial Registration"
    return {
        "path": str(path),
        "kind": "registration",
        "what": f"DICOM {name} with {len(items)} items",
        "items": items,
        "details": details,
        "problems": problems(found.notices),
    }

"""What a path is, as a document and as lines of text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Reading
from jrscli.errors import InputError, JrsError, Notice
from jrscli.progress import Progress, silent

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet

Document = dict[str, Any]


def describe_path(
    path: Path, *, select: str | None = None, reading: Reading = Reading(), progress: Progress = silent
) -> Document:
    """Kind, geometry, contents and problems of what lies at ``path``, ready for JSON.

    Raises InputError `input.missing` and those of the formats.
    """
    from jrscli.io import unreadable
    from jrscli.io.content import kind_of

    kind = kind_of(path)
    if kind == "nifti" or kind == "itk":
        from jrscli.io.transforms import is_field

        return _transform(path) if is_field(path) else _image(path)
    if kind == "transform":
        return _transform(path)
    if kind == "points":
        return _points(path)
    if kind == "dicom":
        from jrscli.io.rtstruct import is_rtstruct

        return _structures(path) if is_rtstruct(path) else _dicom(path, select, reading)
    if kind in ("folder", "zip"):
        from jrscli.cli.describe_folder import describe_folder

        return describe_folder(path, select=select, reading=reading, progress=progress)
    raise unreadable(path, kind)


def lines_of(document: Document) -> list[str]:
    """A document as lines for people."""
    lines = [f"{document['path']}: {document['what']}"]
    lines += [f"  {part}" for part in document.get("details", [])]
    lines += [f"  problem: {found['message']}  [{found['code']}]" for found in document.get("problems", [])]
    for inner in document.get("contents", []):
        lines += [f"  {line}" for line in lines_of(inner)]
    return lines


def image_document(path: str, image: ImageFile) -> Document:
    """An image as a document."""
    from jrscli.io.label_map import holds_labels, labels_from_volume

    array = image.volume.array
    labelled = image.series is None and holds_labels(image.volume, image.path)
    what = "label map" if labelled else f"{image.modality} series (DICOM)" if image.series else "image"
    details = geometry_lines(image.volume.geometry)
    document: Document = {"path": path, "kind": "labels" if labelled else "image", "what": what}
    document |= {"format": image.kind, "dtype": str(array.dtype), "geometry": geometry_document(image.volume.geometry)}
    if labelled:
        labels = labels_from_volume(image.volume, image.path)
        document["labels"] = [{"number": n, "name": labels.name(n)} for n in labels.numbers()]
        details.append(
            "labels " + ", ".join(f"{n} {labels.names[n]}" if n in labels.names else str(n) for n in labels.numbers())
        )
    else:
        low, high = float(array.min()), float(array.max())
        document["range"] = [low, high]
        unit = image.series.unit if image.series else ""
        details.append(f"values {low:g} to {high:g}{' ' if unit else ''}{unit} ({array.dtype})")
    if image.series:
        document["unit"] = image.series.unit or None
        document["frame_of_reference"] = "present" if image.frame_of_reference_uid else "absent"
    return document | {"details": details, "problems": problems(image.notices)}


def structures_document(path: str, structures: StructureSet) -> Document:
    """A structure set as a document; its ROI names are in it, as the user asked for them."""
    rois = [
        {"number": roi.number, "name": roi.name, "type": roi.kind, "contours": len(roi.contours), "closed": len(roi.closed)}
        for roi in structures.rois
    ]
    details = [f"{roi['number']:>3}  {roi['name']}  {roi['type'] or '-'}  {roi['contours']} contours" for roi in rois]
    what = f"RTSTRUCT with {len(rois)} ROIs"
    return {
        "path": path,
        "kind": "rtstruct",
        "what": what,
        "rois": rois,
        "details": details,
        "problems": problems(structures.notices),
    }


def geometry_document(geometry: Geometry) -> Document:
    """A grid as a document."""
    return {
        "size": list(geometry.shape),
        "spacing_mm": [round(s, 6) for s in geometry.spacing_mm],
        "origin_lps_mm": [round(float(v), 4) for v in geometry.origin_mm],
        "axes_lps": [[round(float(v), 6) for v in row] for row in geometry.axes],
        "orientation": orientation(geometry),
        "geometry_sha256": geometry.sha256,
    }


def geometry_lines(geometry: Geometry) -> list[str]:
    """A grid in words."""
    size = " × ".join(map(str, geometry.shape))
    spacing = " × ".join(f"{s:.4g}" for s in geometry.spacing_mm)
    origin = ", ".join(f"{v:.2f}" for v in geometry.origin_mm)
    return [f"{size} voxels of {spacing} mm, axes {orientation(geometry)}", f"first voxel at ({origin}) mm LPS"]


def orientation(geometry: Geometry) -> str:
    """The nearest patient direction that each array axis runs towards ("LPS"), with a remark for an oblique grid."""
    letters = ""
    tilt = 0.0
    for axis in geometry.axes.T:
        main = int(abs(axis).argmax())
        letters += ("RL", "AP", "IS")[main][int(axis[main] > 0)]
        tilt = max(tilt, 1 - abs(float(axis[main])))
    return letters + (" (oblique)" if tilt > 1e-4 else "")


def problems(notices: tuple[Notice, ...] | list[Notice]) -> list[Document]:
    """Notices as documents."""
    return [{"code": notice.code, "message": notice.message} for notice in notices]


def problem(error: JrsError) -> Document:
    """A refusal as a document, hint included."""
    return {"code": error.code, "message": f"{error.message} ({error.hint})"}


def refusal(error: JrsError) -> list[Document]:
    """A refusal as documents, after what had been found before it."""
    return [*problems(error.notices), problem(error)]


def _image(path: Path, select: str | None = None, reading: Reading = Reading()) -> Document:
    from jrscli.io import read_image

    return image_document(str(path), read_image(path, select=select, **asdict(reading)))


def _dicom(path: Path, select: str | None, reading: Reading) -> Document:
    """An image, a registration, segmentation or dose, or an object of another class by its name."""
    from jrscli.cli.describe_objects import describe_object
    from jrscli.io.dicom_classes import class_names

    found = describe_object(path) if path.is_file() else None
    if found is not None:
        return found
    try:
        return _image(path, select, reading)
    except InputError as error:
        names = list(class_names(path)) if error.code == "series.none" else []
        if not names:
            raise
        return {"path": str(path), "kind": "dicom", "what": f"{names[0]}, which this version does not read"}


def _structures(path: Path) -> Document:
    from jrscli.io.rtstruct import read_rtstruct

    return structures_document(str(path), read_rtstruct(path))


def _points(path: Path) -> Document:
    from jrscli.io.points import read_points

    points, labels = read_points(path)
    named = sum(map(bool, labels))
    low, high = points.min(axis=0), points.max(axis=0)
    details = ["from (" + ", ".join(f"{v:.2f}" for v in low) + ") to (" + ", ".join(f"{v:.2f}" for v in high) + ") mm LPS"]
    what = f"{len(points)} points" + (f", {named} of them named" if named else "")
    return {"path": str(path), "kind": "points", "what": what, "count": len(points), "details": details}


def _transform(path: Path) -> Document:
    from jrscli.io.sidecar import read_sidecar
    from jrscli.io.transforms import read_transform
    from jrscli.workflows.describe import describe_transform

    transform, sidecar = read_transform(path), read_sidecar(path)
    facts = describe_transform(transform, sidecar.target if sidecar else None)
    moves = f"; moves images {sidecar.document()['images']}, points {sidecar.document()['points']}" if sidecar else ""
    what = f"{'linear' if facts.linear else 'deformable'} transform{moves}"
    details = [facts.sentence] if facts.sentence else []
    if facts.linear and facts.matrix:
        details += ["  ".join(f"{value:>10.5f}" for value in row) for row in facts.matrix]
    if facts.grid is not None and not facts.linear:
        details += ["on " + geometry_lines(facts.grid)[0]]
    document: Document = {
        "path": str(path),
        "kind": "transform",
        "what": what,
        "linear": facts.linear,
        "matrix_lps_mm": facts.matrix,
    }
    document |= {
        "rotation_deg": facts.rotation_deg,
        "displacement_mean_mm": facts.displacement_mean_mm,
        "displacement_max_mm": facts.displacement_max_mm,
        "jacobian": [facts.jacobian_min, facts.jacobian_max] if facts.jacobian_min is not None else None,
        "folding_percent": facts.folding_percent,
    }
    if sidecar:
        document["sidecar"] = sidecar.document()
    return document | {"details": details}

"""Points as files: CSV whose header names LPS mm, and 3D Slicer's .fcsv and .mrk.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jrscli.errors import InputError, UsageError, WriteError
from jrscli.io.caps import check_text
from jrscli.io.content import existing

COLUMNS = ("x_lps_mm", "y_lps_mm", "z_lps_mm")
POINT_ENDINGS = (".csv", ".fcsv", ".json")
_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
_RAS = np.array((-1.0, -1.0, 1.0))


def read_points(path: Path | str) -> tuple[Float[np.ndarray, "n 3"], tuple[str, ...]]:
    """The points in LPS mm and their labels ("" where there are none).

    Raises InputError `points.unreadable`, `points.header`, `points.values`, `points.empty`, `input.too_big`.
    """
    path = existing(path)
    check_text(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise _unreadable(path) from error
    if text.lstrip().startswith("{"):
        rows = _from_json(text, path)
    elif text.lstrip().lower().startswith("# markups"):
        rows = _from_fcsv(text, path)
    else:
        rows = _from_csv(text, path)
    if not rows:
        raise InputError(f"{path.name} holds no points", code="points.empty", hint="give a file with at least one point")
    points = np.array([point for point, _ in rows], dtype=np.float64)
    if not np.isfinite(points).all():
        raise InputError(f"{path.name} holds coordinates that are not finite", code="points.values", hint="remove those points")
    return points, tuple(label for _, label in rows)


def write_points(points_mm: Float[np.ndarray, "n 3"], labels: tuple[str, ...], path: Path | str) -> None:
    """Write points (LPS mm) as .csv, .fcsv or .mrk.json, as the ending of the name says.

    Raises UsageError `output.format`, WriteError `output.unwritable`.
    """
    path = Path(path)
    name = path.name.lower()
    writers = {".json": _as_json, ".fcsv": _as_fcsv, ".csv": _as_csv}
    writer = next((writer for ending, writer in writers.items() if name.endswith(ending)), None)
    if writer is None:
        raise UsageError(
            f"no point format is known for the name {path.name}",
            code="output.format",
            hint="end it with .csv, .fcsv or .mrk.json",
        )
    named = labels or ("",) * len(points_mm)
    try:
        path.write_text(writer(np.asarray(points_mm, dtype=np.float64), named), encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written: {error.strerror}",
            code="output.unwritable",
            hint="check the free space and the permissions",
        ) from error


Rows = list[tuple[tuple[float, ...], str]]


def _from_csv(text: str, path: Path) -> Rows:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = [(name or "").strip().lower() for name in reader.fieldnames or []]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"the header of {path.name} does not name {', '.join(missing)}",
            code="points.header",
            hint=f"the first line has to name LPS mm: {','.join(COLUMNS)} (and label, if there are labels)",
        )
    reader.fieldnames = header
    rows: Rows = []
    for row in reader:
        rows.append((_numbers([row[name] for name in COLUMNS], path, reader.line_num), (row.get("label") or "").strip()))
    return rows


def _from_fcsv(text: str, path: Path) -> Rows:
    space = "0"
    rows: Rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip().lower() == "coordinatesystem":
                space = value.strip().upper()
            continue
        if line.strip():
            cells = next(csv.reader([line]))
            rows.append((_numbers(cells[1:4], path, number), cells[11] if len(cells) > 11 else ""))
    if space not in ("0", "RAS", "1", "LPS"):
        raise InputError(f"{path.name} is in the coordinate system {space}", code="points.header", hint="save it as LPS or RAS")
    sign = _RAS if space in ("0", "RAS") else np.ones(3)
    return [(tuple(np.array(point) * sign), label) for point, label in rows]


def _from_json(text: str, path: Path) -> Rows:
    try:
        markups = json.loads(text)["markups"]
        rows: Rows = []
        for markup in markups:
            sign = {"LPS": np.ones(3), "RAS": _RAS}[str(markup.get("coordinateSystem", "LPS")).upper()]
            for control in markup["controlPoints"]:
                if control.get("positionStatus", "defined") == "defined":
                    x, y, z = (float(value) for value in control["position"])
                    rows.append(((x * sign[0], y * sign[1], z * sign[2]), str(control.get("label", ""))))
        return rows
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _unreadable(path) from error


def _numbers(cells: Sequence[str | None], path: Path, line: int) -> tuple[float, ...]:
    try:
        x, y, z = (float(cell or "") for cell in cells)
    except ValueError as error:
        raise InputError(
            f"line {line} of {path.name} does not hold three numbers",
            code="points.values",
            hint="write decimals with a point, columns with commas",
        ) from error
    return x, y, z


def _as_csv(points: np.ndarray, labels: tuple[str, ...]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    with_labels = any(labels)
    writer.writerow([*COLUMNS, "label"] if with_labels else COLUMNS)
    for point, label in zip(points, labels, strict=True):
        row = [f"{value:.6f}" for value in point]
        writer.writerow([*row, label] if with_labels else row)
    return out.getvalue()


def _as_fcsv(points: np.ndarray, labels: tuple[str, ...]) -> str:
    out = io.StringIO()
    out.write(f"# Markups fiducial file version = 5.0\n# CoordinateSystem = LPS\n# columns = {_FCSV_COLUMNS}\n")
    writer = csv.writer(out, lineterminator="\n")
    for number, (point, label) in enumerate(zip(points, labels, strict=True), start=1):
        writer.writerow([number, *(f"{value:.6f}" for value in point), 0, 0, 0, 1, 1, 1, 0, label or f"P-{number}", "", ""])
    return out.getvalue()


def _as_json(points: np.ndarray, labels: tuple[str, ...]) -> str:
    control = [
        {
            "id": str(number),
            "label": label or f"P-{number}",
            "position": [round(float(value), 6) for value in point],
            "positionStatus": "defined",
        }
        for number, (point, label) in enumerate(zip(points, labels, strict=True), start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": control}
    return json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=2, ensure_ascii=False) + "\n"


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path.name} cannot be read as points",
        code="points.unreadable",
        hint=f"points are CSV with the header {','.join(COLUMNS)}, or Slicer's .fcsv or .mrk.json",
    )

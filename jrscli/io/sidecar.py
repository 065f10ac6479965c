"""The .json beside a transform, which says in words and hashes what it moves where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jrscli.errors import InputError, WriteError
from jrscli.io.caps import MAX_TABLE, check_text
from jrscli.io.software import software_version
from jrscli.spatial.geometry import Geometry

Direction = Literal["moving_to_fixed", "fixed_to_moving"]


@dataclass(frozen=True)
class Sidecar:
    """What a transform file does.

    direction: which image it resamples; "moving_to_fixed" moves the moving image onto the fixed grid.
    inverse: the name of the file of the other direction, in the same folder.
    facts: more figures (``inverse_consistency_p95_mm``, ``model``), written as they are.
    """

    direction: Direction
    fixed: Geometry
    moving: Geometry
    fixed_has_frame: bool = False
    moving_has_frame: bool = False
    inverse: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Geometry:
        """The grid of the image that the transform resamples."""
        return self.moving if self.direction == "moving_to_fixed" else self.fixed

    @property
    def target(self) -> Geometry:
        """The grid that it is resampled onto."""
        return self.fixed if self.direction == "moving_to_fixed" else self.moving

    def document(self) -> dict[str, Any]:
        """The sidecar as it is written."""
        source, target = ("moving", "fixed") if self.direction == "moving_to_fixed" else ("fixed", "moving")
        return {
            "images": f"{source} -> {target}",
            "points": f"{target} -> {source}",
            "formula": f"warped(x) = {source}(T(x))",
            "space": "LPS+ mm",
            "fixed": _grid(self.fixed, self.fixed_has_frame),
            "moving": _grid(self.moving, self.moving_has_frame),
            **({"inverse": self.inverse} if self.inverse else {}),
            **self.facts,
            "jrs": software_version(),
        }


def write_sidecar(sidecar: Sidecar, path: Path) -> None:
    """Write the sidecar of the transform file ``path`` beside it."""
    write_json(sidecar.document(), beside(path))


def read_sidecar(path: Path) -> Sidecar | None:
    """The sidecar of the transform file ``path``; None where there is none.

    Raises InputError `xfm.sidecar`.
    """
    file = beside(path)
    if not file.is_file():
        return None
    check_text(file, MAX_TABLE)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        direction: Direction = {"moving -> fixed": "moving_to_fixed", "fixed -> moving": "fixed_to_moving"}[content["images"]]  # type: ignore[assignment]
        known = {"images", "points", "formula", "space", "fixed", "moving", "inverse", "jrs"}
        return Sidecar(
            direction,
            _geometry(content["fixed"]),
            _geometry(content["moving"]),
            content["fixed"].get("frame_of_reference") == "present",
            content["moving"].get("frame_of_reference") == "present",
            content.get("inverse"),
            {key: value for key, value in content.items() if key not in known},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{file.name}, which says what the transform moves, cannot be read",
            code="xfm.sidecar",
            hint="take the .json that jrs wrote with the transform; or move it away, and give --reference",
        ) from error


def beside(path: Path) -> Path:
    """The .json of the same stem in the same folder (``a.nii.gz`` -> ``a.json``)."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return path.with_name(Path(name).stem + ".json")


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a document as readable JSON.

    Raises WriteError `output.unwritable`.
    """
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written: {error.strerror}",
            code="output.unwritable",
            hint="check the free space and the permissions",
        ) from error


def _grid(geometry: Geometry, has_frame: bool) -> dict[str, Any]:
    return {
        "size": list(geometry.shape),
        "spacing_mm": [round(size, 6) for size in geometry.spacing_mm],
        "affine_lps_mm": [[float(value) for value in row] for row in geometry.affine],
        "geometry_sha256": geometry.sha256,
        "frame_of_reference": "present" if has_frame else "absent",
    }


def _geometry(grid: Mapping[str, Any]) -> Geometry:
    import numpy as np

    i, j, k = (int(n) for n in grid["size"])
    return Geometry((i, j, k), np.array(grid["affine_lps_mm"], dtype=np.float64))

"""Joint registration and segmentation of medical images.

The four jobs are functions on Volumes or paths; everything is loaded on first use, so ``import jrscli`` costs nothing.
Research use, not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrscli.api import evaluate, propagate, register, segment
    from jrscli.errors import ExitCode, JrsError
    from jrscli.io import read_contours, read_image, read_labels, write_image, write_labels
    from jrscli.spatial.affine import AffineTransform
    from jrscli.spatial.displacement import DisplacementField
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import Contour, Roi, StructureSet
    from jrscli.spatial.transform import Transform
    from jrscli.spatial.volume import LabelMap, Volume

__version__ = "0.1.0"

_HOMES = {
    "jrscli.api": ("evaluate", "propagate", "register", "segment"),
    "jrscli.errors": ("ExitCode", "JrsError"),
    "jrscli.io": ("read_contours", "read_image", "read_labels", "write_image", "write_labels"),
    "jrscli.spatial.affine": ("AffineTransform",),
    "jrscli.spatial.displacement": ("DisplacementField",),
    "jrscli.spatial.geometry": ("Geometry",),
    "jrscli.spatial.structures": ("Contour", "Roi", "StructureSet"),
    "jrscli.spatial.transform": ("Transform",),
    "jrscli.spatial.volume": ("LabelMap", "Volume"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # in the order of a reader's interest
    "register", "segment", "propagate", "evaluate",
    "read_image", "read_labels", "read_contours", "write_image", "write_labels",
    "Volume", "LabelMap", "Geometry", "Transform", "AffineTransform", "DisplacementField",
    "StructureSet", "Roi", "Contour", "JrsError", "ExitCode",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'jrscli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""The image that a model brings along: stored beside its card in numpy's own format, with where its voxels lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Num

from jrscli.errors import ModelError
from jrscli.runtime.store import Model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

LARGEST = 512_000_000
"""Bytes of an array of a template, unpacked."""


def template_bytes(array: Num[np.ndarray, "i j k"], geometry: Geometry) -> bytes:
    """The content of a template file; the same array always gives the same bytes."""
    target = io.BytesIO()
    np.savez_compressed(target, array=array, affine=geometry.affine)
    return target.getvalue()


def read_template(model: Model) -> tuple[Volume, LabelMap]:
    """The template of a model and its labels, their files' hashes checked.

    Raises ModelError `model.template`, and what `Model.file` raises.
    """
    (image, grid), (labels, other) = (_read(model.file(role), model) for role in ("template", "template_labels"))
    if not grid.matches(other):
        raise _unfit(model, "the template and its labels lie on different grids")
    return Volume(image, grid), LabelMap(labels.astype(np.uint32), other, dict(enumerate(model.card.labels[1:], start=1)))


def _read(path: Path, model: Model) -> tuple[np.ndarray, Geometry]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise _unfit(model, "the template is too large")
        with np.load(path, allow_pickle=False) as found:
            array, affine = np.asarray(found["array"]), np.asarray(found["affine"], np.float64)
        i, j, k = array.shape
        return array, Geometry((i, j, k), affine)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise _unfit(model, f"{path.name} is no template") from None


def _unfit(model: Model, words: str) -> ModelError:
    return ModelError(f"{words} ({model.title})", code="model.template", hint="get the model again, or export it again")

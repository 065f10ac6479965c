"""The Python API: the four jobs of ``jrs`` on Volumes or on paths."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.runtime.predict import Predictor
    from jrscli.spatial.affine import AffineTransform
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap, Volume
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.register import Registration
    from jrscli.workflows.segment import Segmentation
    from jrscli.workflows.segment_by_model import ModelSegmentation

    Image = Volume | str | Path
    Labels = LabelMap | str | Path
    Contours = StructureSet | LabelMap | str | Path
    Model = Predictor | str | Path


def register(
    fixed: Image, moving: Image, *, init: str | AffineTransform = "auto", model: Model = "auto", **options: Any
) -> Registration:
    """The transform that moves ``moving`` onto ``fixed``, with its inverse; no option is needed for any modality.

    Two DICOM series of one frame of reference start as their headers say, other pairs from several starts.
    model: a name of ``jrs models list``, the path of a card, a loaded one (`jrscli.runtime.predict.Predictor`: for many pairs),
    "auto" for the one whose card fits (or none), "none".
    options: preset, linear_only, fixed_mask, moving_mask, refine, seed, threads, device, progress and more, as in
    `jrscli.workflows.register.register`; masks, fixed_labels and moving_labels (both steer the registration), fixed_points_mm
    and moving_points_mm (landmarks, which steer it too) may be paths.

    Raises JrsError: what could not be read, or what `jrscli.workflows.register.register` raises.
    """
    from jrscli.workflows.register import register as run

    fixed_volume, fixed_file = _image(fixed)
    moving_volume, moving_file = _image(moving)
    options = _guides(_masks(options), fixed_file, moving_file)
    predictor = _predictor(model, "register", [(fixed_volume, fixed_file), (moving_volume, moving_file)], options)
    return run(fixed_volume, moving_volume, init=start_for(init, fixed_file, moving_file), model=predictor, **options)


def segment(
    image: Image, atlases: Sequence[tuple[Image, Labels]] = (), *, model: Model = "auto", **options: Any
) -> Segmentation | ModelSegmentation:
    """The labels of ``image``: those of atlases (image, labels; several are fused), or without atlases those of a model.

    model: as for `register`. options: those of `register`.

    Raises JrsError: what could not be read, or what `jrscli.workflows.segment.segment_by_atlas` raises; ModelError
    `model.none`.
    """
    if not atlases:
        return _segment_by_model(image, model, options)
    from jrscli.workflows.segment import segment_by_atlas

    pairs = [(_image(atlas)[0], _labels(labels)) for atlas, labels in atlases]
    return segment_by_atlas(_image(image)[0], pairs, **_masks(options))


def propagate(
    planning: Image,
    contours: Contours,
    daily: Image,
    *,
    init: str | AffineTransform = "auto",
    model: Model = "auto",
    **options: Any,
) -> Propagation:
    """The contours of the planning image (a structure set or labels) on the daily image.

    model: as for `register`.
    options: rois, exclude, body, holes and those of `register`; see `jrscli.workflows.propagate.propagate`.

    Raises JrsError: what could not be read, or what `jrscli.workflows.propagate.propagate` raises.
    """
    from jrscli.workflows.propagate import propagate as run

    planning_volume, planning_file = _image(planning)
    daily_volume, daily_file = _image(daily)
    structures = _contours(contours, planning_file)
    options = _masks(options)
    if options.get("registration") is None:
        images = [(daily_volume, daily_file), (planning_volume, planning_file)]
        options["model"] = _predictor(model, "register", images, options)
    return run(planning_volume, structures, daily_volume, init=start_for(init, daily_file, planning_file), **options)


def evaluate(reference: Contours, prediction: Contours, *, image: Image | None = None, **options: Any) -> Evaluation:
    """How well ``prediction`` agrees with ``reference``, per structure.

    image: the series two structure sets are compared on (not needed where one side is a label map).
    options: metrics, nsd_tolerance_mm, match; see `jrscli.workflows.evaluate`.

    Raises JrsError: what could not be read, or what `jrscli.workflows.evaluate.evaluate_structures` raises.
    """
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.evaluate import evaluate_labels, evaluate_structures

    volume, file = _image(image) if image is not None else (None, None)
    one, other = _contours(reference, file), _contours(prediction, file)
    if isinstance(one, LabelMap) and isinstance(other, LabelMap):
        return evaluate_labels(one, other, **options)
    return evaluate_structures(one, other, volume.geometry if volume else None, **options)


def start_for(init: str | AffineTransform, fixed: ImageFile | None, moving: ImageFile | None) -> str | AffineTransform:
    """ "auto" becomes "header" for two DICOM series of one frame of reference."""
    if init != "auto" or fixed is None or moving is None:
        return init
    shared = fixed.frame_of_reference_uid is not None and fixed.frame_of_reference_uid == moving.frame_of_reference_uid
    return "header" if shared else "auto"


def _segment_by_model(image: Image, model: Model, options: dict[str, Any]) -> ModelSegmentation:
    from jrscli.errors import ModelError
    from jrscli.progress import silent
    from jrscli.workflows.segment_by_model import segment_by_model

    volume, file = _image(image)
    predictor = _predictor(model, "segment", [(volume, file)], options)
    if predictor is None:
        raise ModelError("no model fits the image", code="model.none", hint="name one, or give atlases with their labels")
    return segment_by_model(volume, predictor, progress=options.get("progress", silent))


def _predictor(
    model: Model, task: Any, images: Sequence[tuple[Volume, ImageFile | None]], options: dict[str, Any]
) -> Predictor | None:
    """The model that is meant, loaded; None where none is wanted, fits or goes with the options."""
    if not isinstance(model, str | PathLike):
        return model
    unfit = str(model) == "auto" and any(options.get(name) for name in ("linear_only", "fixed_mask", "moving_mask"))
    if str(model) == "none" or unfit:
        return None
    from jrscli.workflows.model_choice import pick_model

    known = [(volume, file.modality if file else None) for volume, file in images]
    settings = {name: options[name] for name in ("device", "threads") if name in options}
    return pick_model(str(model), task, known, **settings).predictor


def _image(image: Image) -> tuple[Volume, ImageFile | None]:
    from jrscli.io import read_image
    from jrscli.spatial.volume import Volume

    if isinstance(image, Volume):
        return image, None
    file = read_image(image)
    return file.volume, file


def _labels(labels: Labels) -> LabelMap:
    from jrscli.io import read_labels
    from jrscli.spatial.volume import LabelMap

    return labels if isinstance(labels, LabelMap) else read_labels(labels)


def _contours(contours: Contours, reference: ImageFile | None) -> StructureSet | LabelMap:
    from jrscli.io import read_contours
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap

    if isinstance(contours, (StructureSet, LabelMap)):
        return contours
    return read_contours(contours, reference=reference)


def _masks(options: dict[str, Any]) -> dict[str, Any]:
    """The options with mask paths read."""
    read = {name: _labels(options[name]) for name in ("fixed_mask", "moving_mask") if options.get(name) is not None}
    return {**options, **read}


def _guides(options: dict[str, Any], fixed: ImageFile | None, moving: ImageFile | None) -> dict[str, Any]:
    """The options with paths of labels, contours and landmarks read."""
    sides = {"fixed_labels": fixed, "moving_labels": moving}
    read: dict[str, Any] = {
        name: _contours(options[name], file) for name, file in sides.items() if options.get(name) is not None
    }
    names = ("fixed_points_mm", "moving_points_mm")
    if all(isinstance(options.get(name), str | PathLike) for name in names):
        from jrscli.io.points import read_points
        from jrscli.workflows.guides import paired_points

        lists = [read_points(options[name]) for name in names]
        read |= dict(zip(names, paired_points(lists[0], lists[1]), strict=True))
    return {**options, **read}

"""Which model does the work: the one that is named, or the one whose card and sight fit the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jrscli.errors import JrsError, Notice
from jrscli.runtime.choose import Subject, Task, check_modality, choose_model, range_notice
from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import all_models, find_model
from jrscli.runtime.warm import predictor_of
from jrscli.spatial.volume import Volume
from jrscli.workflows.segment_by_model import unlike_images


@dataclass(frozen=True, eq=False)
class Pick:
    """The model, loaded on first use, or None; and why."""

    predictor: Predictor | None
    reason: str
    notices: tuple[Notice, ...] = ()


def pick_model(
    name: str,
    task: Task,
    images: Sequence[tuple[Volume, str | None]],
    *,
    device: str = "auto",
    threads: int | None = None,
    non_commercial: bool = False,
    context: int | None = None,
) -> Pick:
    """The model of this name or card; for "auto" the one that fits, or none.

    images: each with its DICOM Modality, or None where it does not say. Images are looked at by the model's
    own segmenter before it is chosen: labels that do not measure what the card says mean that it shows something else.
    context: rounds of the context loop, for a model that has one.

    Raises ModelError `model.unknown`, `value.modality` and those of the card; UsageError `usage.context`.
    """
    subjects = [Subject(volume.geometry, modality) for volume, modality in images]
    if name != "auto":
        model = find_model(name)
        check_modality(model, subjects)
        notices = (range_notice(model, volume) for volume, _ in images)
        found = tuple(notice for notice in notices if notice)
        return Pick(predictor_of(model, device, threads, context), "named", found)
    models, broken = all_models()
    left_out = tuple(Notice(error.code, f"{error.message}: left out") for error in broken)
    choice = choose_model(models, task, subjects, non_commercial=non_commercial)
    if choice.model is None:
        return Pick(None, choice.reason, left_out)
    predictor = predictor_of(choice.model, device, threads, context)
    try:
        strange = unlike_images(predictor, *(volume for volume, _ in images))
    except JrsError as error:  # a choice of ours must not stop the work: without a model it goes on
        return Pick(None, f"{choice.model.card.name}: {error.message}", (*left_out, Notice(error.code, error.message)))
    if strange is not None:
        return Pick(None, f"{choice.model.card.name}: {strange}", left_out)
    return Pick(predictor, choice.reason, left_out)

"""Measuring a model on a part of a data set, for its card or against it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.talk import Talk
from jrscli.errors import InputError, UsageError

if TYPE_CHECKING:
    from jrscli.runtime.store import Model
    from jrscli.spatial.volume import LabelMap, Volume
    from jrscli.workflows.model_scores import Case


def measure(
    talk: Talk,
    model: Model,
    data: Path,
    part: str,
    pairs: int,
    refine: int | None,
    *,
    device: str,
    threads: int | None,
    context: int | None = None,
) -> dict[str, Any]:
    """The ``scores`` of a card, measured: ``{data: {split, registration?, segmentation?}}``; says the Dice of each label.

    pairs: how many are registered at most; none where the second image of a pair is simulated in training.
    refine: steps of refinement, context: rounds of the context loop; by default the card's.

    Raises InputError `data.empty` where the part has no labelled case, UsageError `usage.context`.
    """
    import numpy as np

    from jrscli.runtime.predict import Predictor
    from jrscli.workflows.model_scores import registration_scores, scored_pairs, segmentation_dice, visit_pairs

    predictor = Predictor(model, device=device, threads=threads, context=context)
    use_threads(threads)
    cases, patients, kind, name = cases_of(model, data, part)
    if not cases:
        raise InputError(f"no case of the part {part} has labels", code="data.empty", hint="see split in the data list; --part")
    found: dict[str, Any] = {"split": part}
    chosen = (
        visit_pairs(patients)[:pairs] if kind == "visits" else scored_pairs(len(cases), pairs) if kind == "patients" else []
    )
    if predictor.registering and chosen:
        values = registration_scores(predictor, cases, chosen, refine, talk)
        found["registration"] = {"n": len(chosen), "values": {key: round(value, 4) for key, value in values.items()}}
    elif predictor.registering:
        talk.say("registration: not measured, the data list has no two real images to register")
    if predictor.segmenting:
        dice = segmentation_dice(predictor, cases, talk)
        talk.close_bar()
        for number, label in enumerate(model.card.labels[1:], start=1):
            values_of = [one[number] for one in dice if number in one]
            mean = f"{np.mean(values_of):.4f}" if values_of else "n/a"
            talk.say(f"  {label:<24} segmentation Dice {mean}  (n = {len(values_of)})")
        mean_of_all = float(np.mean([np.mean(list(one.values())) for one in dice]))
        found["segmentation"] = {"n": len(cases), "values": {"dice": round(mean_of_all, 4)}}
    talk.close_bar()
    return {name: found}


def use_threads(threads: int | None) -> None:
    """Let SimpleITK take so many threads too."""
    if threads:
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def cases_of(model: Model, data: Path, part: str) -> tuple[list[Case], list[str], str, str]:
    """The labelled cases of one part, each read when it is asked for, and kept; whose they are; what is registered; the name.

    A label that was not drawn, or is not to be trusted, is none.

    Raises UsageError `usage.data` for a folder whose data list is not beside the card.
    """
    from functools import cache, partial

    from jrscli.training.cases import Case as Listed
    from jrscli.training.cases import read_data
    from jrscli.training.prepared import labelled_source

    beside = model.folder / f"{model.card.name}-data.yaml"
    if data.is_dir() and not beside.is_file():
        raise UsageError(
            f"no data list {beside.name} lies beside the card",
            code="usage.data",
            hint="give a data list (YAML) in place of the folder",
        )
    listed, cases = read_data(beside, root=data) if data.is_dir() else read_data(data)
    chosen = [case for case in cases if case.part == part and case.labels is not None]

    def load(case: Listed) -> tuple[Volume, LabelMap]:
        return labelled_source(listed, case)

    loaders: list[Case] = [cache(partial(load, case)) for case in chosen]
    return loaders, [case.patient for case in chosen], listed.pairs, listed.name

"""What `jrs evaluate` was given, read and handed to the workflows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.evaluate_parts import Asked, dose_of, field_of, image_of, landmarks_of, transform_of
from jrscli.cli.run import Run
from jrscli.errors import InputError, UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.transform import Transform
    from jrscli.spatial.volume import LabelMap

READER = "reader"


@dataclass(frozen=True)
class Material:
    """What pictures can be made of, where one case with contours was evaluated."""

    image: ImageFile | None = None
    reference: StructureSet | LabelMap | None = None
    prediction: StructureSet | LabelMap | None = None
    geometry: Geometry | None = None
    transform: Transform | None = None
    others: Mapping[str, Any] = field(default_factory=dict)


def assess(run: Run, asked: Asked) -> tuple[Assessment, Material]:
    """Everything that was asked for, evaluated and judged."""
    from jrscli.io.tolerances import read_tolerances
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.gate_rules import Rule, check_rules
    from jrscli.metrics.verdict import verdict_of

    _check(asked)
    tolerances = read_tolerances(asked.tolerances)
    rules = [Rule.parse(text) for text in asked.rules]
    found, material, v_mm = _evaluated(run, asked, tolerances)
    main, parts, others = found
    if READER in others:
        tolerances = between_readers(tolerances, others[READER])
    evaluations = (main, *parts.values())
    check_rules(rules, evaluations)
    verdict = verdict_of(evaluations, tolerances, v_mm, rules, asked.phantom)
    return Assessment(main, parts, others, verdict, tolerances, v_mm), material


def between_readers(tolerances: Any, reader: Evaluation) -> Any:
    """The tolerances with the distance between two readers of this case as the uncertainty of each organ."""
    from jrscli.metrics.tolerances import Organ

    organs = dict(tolerances.organs)
    for row in reader.rows:
        apart = row.values.get("msd.v1")
        if apart is not None and apart.value is not None:
            known = tolerances.organ(row.name) or Organ()
            organs[row.name] = replace(known, uncertainty_mm=apart.value, source="the two readers of this case")
    return replace(tolerances, organs=organs)


Found = tuple["Evaluation", dict[str, "Evaluation"], dict[str, "Evaluation"]]


def _evaluated(run: Run, asked: Asked, tolerances: Any) -> tuple[Found, Material, float]:
    from jrscli.cli.evaluate_folders import paired_files

    cases = paired_files(asked.reference, asked.predictions[0]) if asked.reference and len(asked.predictions) == 1 else None
    if cases:
        return _cases(run, asked, cases, tolerances)
    if asked.reference is None:
        return _of_transform(run, asked)
    from jrscli.io.content import kind_of

    kinds = [kind_of(path) for path in (asked.reference, *asked.predictions)]
    if set(kinds) == {"points"}:
        moved = replace(asked, landmarks=(asked.reference, asked.predictions[0]), reference=None, predictions=())
        return _of_transform(run, moved)
    if "points" in kinds:
        raise InputError(
            "landmarks can be compared with landmarks only", code="evaluate.kinds", hint="give two lists of points"
        )
    if kinds == ["nifti", "nifti"]:
        from jrscli.cli.evaluate_cine import any_cine, of_cine

        if any_cine(asked):
            main, parts, v_mm = of_cine(run, asked, tolerances)
            return (main, parts, {}), Material(), v_mm
    return _of_contours(run, asked, tolerances)


def _of_contours(run: Run, asked: Asked, tolerances: Any) -> tuple[Found, Material, float]:
    if asked.reference is None:
        raise AssertionError
    image = image_of(run, asked)
    reference = run.contours("reference", asked.reference, image)
    tests = [run.contours("prediction", path, image) for path in asked.predictions]
    readers = [run.contours(READER, path, image) for path in asked.readers]
    main = _compared(run, asked, reference, tests[0], image, tolerances)
    others = {f"test {n}": _compared(run, asked, reference, one, image, tolerances) for n, one in enumerate(tests[1:], 2)}
    if readers:
        others[READER] = _compared(run, asked, reference, readers[0], image, tolerances)
    grid = _grid(reference, tests[0], image)
    parts: dict[str, Evaluation] = {}
    if asked.doses:
        parts["dose"] = dose_of(run, asked, reference, tests[0], grid)
    transform = transform_of(run, asked, grid)
    if transform is not None:
        parts["field"] = field_of(run, asked, transform, grid, reference)
    if asked.landmarks:
        parts["points"] = landmarks_of(run, asked.landmarks, transform)
    material = Material(image, reference, tests[0], grid, transform)
    return (main, parts, others), material, _largest_voxel(grid, tests[0])


def _compared(
    run: Run,
    asked: Asked,
    reference: StructureSet | LabelMap,
    prediction: StructureSet | LabelMap,
    image: ImageFile | None,
    tolerances: Any,
) -> Evaluation:
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.evaluate import evaluate_labels, evaluate_structures

    wanted = asked.settings(tolerances)
    if isinstance(reference, LabelMap) and isinstance(prediction, LabelMap):
        return evaluate_labels(reference, prediction, resample=asked.resample, progress=run.talk, **wanted)
    grid = image.volume.geometry if image else None
    return evaluate_structures(reference, prediction, grid, progress=run.talk, **wanted)


def _cases(run: Run, asked: Asked, cases: dict[str, tuple[Path, Path]], tolerances: Any) -> tuple[Found, Material, float]:
    from jrscli.metrics.assessment import merged

    if asked.field or asked.landmarks or asked.doses or asked.readers:
        raise UsageError(
            "two folders of cases are compared by their contours only",
            code="usage.combination",
            hint="evaluate fields, landmarks and doses case by case",
        )
    found, largest = {}, 0.0
    for name, (reference, prediction) in cases.items():
        one, _, v_mm = _of_contours(run, replace(asked, reference=reference, predictions=[prediction]), tolerances)
        found[name], largest = one[0], max(largest, v_mm)
    return (merged(found), {}, {}), Material(), largest


def _of_transform(run: Run, asked: Asked) -> tuple[Found, Material, float]:
    """Landmarks, a field, or both, without contours."""
    image = run.image("image", asked.image, select=asked.select) if asked.image else None
    grid = image.volume.geometry if image else None
    transform, found = transform_of(run, asked, grid), {}
    # a linear map folds nowhere and has no grid: landmarks alone can judge it
    if transform is not None and (grid is not None or not transform.is_linear or not asked.landmarks):
        found["field"] = field_of(run, asked, transform, grid, None)
    if asked.landmarks:
        found["points"] = landmarks_of(run, asked.landmarks, transform)
    if not found:
        raise UsageError(
            "there is nothing to evaluate",
            code="usage.missing",
            hint="give REFERENCE and PREDICTION, or --field, or --landmarks",
        )
    kind = "points" if "points" in found else "field"
    parts = {key: value for key, value in found.items() if key != kind}
    voxel = max(grid.spacing_mm) if grid else _field_voxel(transform)
    return (found[kind], parts, {}), Material(image, geometry=grid, transform=transform), voxel


def _grid(reference: StructureSet | LabelMap, prediction: StructureSet | LabelMap, image: ImageFile | None) -> Geometry:
    from jrscli.spatial.volume import LabelMap

    for part in (reference, prediction):
        if isinstance(part, LabelMap):
            return part.geometry
    if image is None:
        raise AssertionError("two structure sets were compared, so there is an image")
    return image.volume.geometry


def _largest_voxel(grid: Geometry, prediction: StructureSet | LabelMap) -> float:
    from jrscli.spatial.volume import LabelMap

    grids = [grid, prediction.geometry] if isinstance(prediction, LabelMap) else [grid]
    return max(max(one.spacing_mm) for one in grids)


def _field_voxel(transform: Transform | None) -> float:
    from jrscli.spatial.displacement import DisplacementField

    parts = transform.parts if transform else ()
    return max((max(part.geometry.spacing_mm) for part in parts if isinstance(part, DisplacementField)), default=0.0)


def _check(asked: Asked) -> None:
    if asked.inverse_field and not asked.field:
        raise UsageError(
            "--inverse-field needs --field", code="usage.combination", hint="give the transform itself with --field"
        )
    if asked.reference is not None and not asked.predictions:
        raise UsageError("PREDICTION is missing", code="usage.missing", hint="jrs evaluate REFERENCE PREDICTION")
    if len(asked.readers) > 1:
        raise UsageError("more than one --reader", code="usage.combination", hint="give one second reader")
    if len(asked.doses) > 2:
        raise UsageError(
            "more than two doses", code="usage.combination", hint="--dose once, or the reference's and the prediction's"
        )
    if asked.doses and asked.reference is None:
        raise UsageError(
            "--dose needs contours", code="usage.combination", hint="jrs evaluate REFERENCE PREDICTION --dose DOSE"
        )

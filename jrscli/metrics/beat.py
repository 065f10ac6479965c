"""What a beating heart's volumes say: stroke volume and ejection fraction, from the volume of a cavity in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jrscli.metrics.value import Value

SIDES = ("reference", "test")


def extremes(volumes_ml: Sequence[float | None]) -> tuple[int, int] | None:
    """The frames of the largest and of the smallest volume (end-diastole, end-systole), None for fewer than two volumes.

    None stands for a frame that nobody has drawn; of equal frames the first one is taken.
    """
    known = [n for n, volume in enumerate(volumes_ml) if volume is not None]
    if len(known) < 2:
        return None
    found = np.array([volumes_ml[n] for n in known], float)
    return known[int(found.argmax())], known[int(found.argmin())]


def beat_values(
    test_ml: Sequence[float | None], reference_ml: Sequence[float | None] | None = None
) -> tuple[dict[str, Value], tuple[int, int] | None]:
    """Stroke volume (ml) and ejection fraction (%) by id, and the frames of end-diastole and end-systole.

    With a reference both are taken at the reference's frames, so that the same two moments are compared. A reference volume of
    zero at end-diastole, or a structure drawn in fewer than two frames, has no ejection fraction (`not_assessed`).

    Source: the volumes are `volume.v1`; EF = 100·(EDV − ESV)/EDV (Schulz-Menger et al. 2020, doi:10.1186/s12968-020-00610-6).
    """
    frames = extremes(test_ml if reference_ml is None else reference_ml)
    sides = {"test": test_ml} if reference_ml is None else {"reference": reference_ml, "test": test_ml}
    values: dict[str, Value] = {}
    found: dict[str, tuple[float, float | None] | None] = {}
    for side, volumes in sides.items():
        ends = [volumes[n] for n in frames] if frames else [None, None]
        diastole, systole = ends
        if diastole is None or systole is None:
            found[side] = None
        else:
            stroke = diastole - systole
            found[side] = stroke, 100 * stroke / diastole if diastole > 0 else None
        for name, unit, place in (("stroke_volume", "ml", 0), ("ejection_fraction", "%", 1)):
            one = found[side]
            number = one[place] if one else None
            id_ = f"{name}.v1({side})"
            values[id_] = Value(id_, number, unit, "ok" if number is not None else "not_assessed")
    if reference_ml is not None:
        for name, unit in (("stroke_volume", "ml"), ("ejection_fraction", "%")):
            theirs, ours = (values[f"{name}.v1({side})"].value for side in SIDES)
            id_ = f"{name}_diff.v1"
            apart = ours - theirs if ours is not None and theirs is not None else None
            values[id_] = Value(id_, apart, unit, "ok" if apart is not None else "not_assessed")
    return values, frames

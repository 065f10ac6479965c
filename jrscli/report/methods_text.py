"""Text for a methods section: what was done, in sentences that can be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WHAT = {
    "dice.v1": "Dice coefficient",
    "hd95.v1": "95th percentile of the Hausdorff distance (the larger of both directions, area-weighted)",
    "msd.v1": "mean surface distance (area-weighted over both surfaces)",
    "nsd.v1": "surface Dice (Nikolov et al., doi:10.2196/26151)",
    "apl.v1": "added path length (Vaassen et al., doi:10.1016/j.phro.2019.12.001)",
}


def methods_of_evaluation(version: str, ids: Sequence[str], v_mm: float, source: str) -> str:
    """What an evaluation did."""
    families = dict.fromkeys(id_.split("(")[0] for id_ in ids)
    named = [f"{words} ({id_})" for id_, words in _WHAT.items() if id_ in families]
    what = ", ".join(named) if named else "the figures named below"
    return (
        f"Contours were compared with jrscli {version}: {what}. Structures were compared on one voxel grid; voxels beyond the "
        f"image count as background, and structures missing on one side were not left out. Limits followed {source}, with the "
        f"largest voxel dimension v = {v_mm:.3g} mm."
    )


def methods_of_model(version: str, model: str) -> str:
    """What a segmentation by a model did."""
    return (
        f"The image was contoured with jrscli {version} by the model {model}. The contours were checked for gaps, islands, "
        "sides and ends at the border of the image; how well they fit was not measured, since there was no reference."
    )


def methods_of_registration(version: str, record: Mapping[str, Any], what: str) -> str:
    """What a registration did, from its record."""
    options = record.get("options", {})
    names = [str(step.get("step")) for step in record.get("steps", [])]
    *first, last = list(dict.fromkeys(names)) or ["one"]
    steps = f"{', '.join(first)} and {last}" if first else last
    return (
        f"{what} with jrscli {version} (preset {options.get('preset', 'balanced')}, start {record.get('init', 'auto')}, seed "
        f"{options.get('seed', 0)}): stages {steps}. The transform maps points of the fixed to the moving image (pull) and was "
        f"written with its inverse; its Jacobian determinant, folded volume and inverse consistency were computed as defined "
        "in the documentation (jacobian.v1, neg_jac.v1, ndv.v1, inverse_consistency.v1)."
    )

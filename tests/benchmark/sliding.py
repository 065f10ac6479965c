"""Sliding made visible: how fields differ across the borders of structures, for pairs that compare_pairs.py has registered.

    python tests/benchmark/sliding.py PAIRS RUNS --method "jrs --model smooth" --method "jrs --model cardiac-ddir"
        --case patient101 --picture docs/images/sliding.png

PAIRS is one set as compare_pairs.py takes it, RUNS the folder of that set under its ``--out``. The table holds ``slip.v1`` of
each structure, across its border and beside it, over all pairs. The picture (extra ``docs``) shows one slice of one fixed
image: above, the displacement within the slice; below, how much it changes from voxel to voxel.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from compare_pairs import _plain

from jrscli.io import read_image, read_labels
from jrscli.io.transforms import read_field
from jrscli.metrics.slip import slip
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform

COLOURS = ("#3fa7ff", "#ffb22b", "#ff5f5f", "#7ce38b")


def field_of(runs: Path, method: str, case: str, like: object) -> DisplacementField:
    """What a method found, on the grid of the fixed image."""
    read = read_field(runs / _plain(method) / _plain(case) / "field.nii.gz")
    return Transform((read,)).displacement(like)  # type: ignore[arg-type]


def table(base: Path, runs: Path, methods: list[str], names: list[str]) -> str:
    """Markdown: mean slip per structure and method, mm."""
    cases = json.loads((base / "manifest.json").read_text())["cases"]
    lines = ["| method | label | across its border mm | beside it mm | ratio |", "|---|---|---|---|---|"]
    for method, name in zip(methods, names, strict=True):
        for label in cases[0]["label_ids"]:
            found = []
            for case in cases:
                labels = read_labels(base / case["fixed_labels"])
                values = slip(field_of(runs, method, case["id"], labels.geometry), labels.array == label)
                found.append([np.nan if value.value is None else value.value for value in values])
            across, near = np.nanmean(found, axis=0)
            lines.append(f"| {name} | {label} | {across:.2f} | {near:.2f} | {across / near:.2f} |")
    return "\n".join(lines)


def draw(base: Path, runs: Path, methods: list[str], names: list[str], case_id: str, path: Path) -> None:
    """One slice: its displacements as arrows, and how much they differ from voxel to voxel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    case = next(one for one in json.loads((base / "manifest.json").read_text())["cases"] if one["id"] == case_id)
    image, labels = read_image(base / case["fixed"]).volume, read_labels(base / case["fixed_labels"])
    level = int(np.argmax((labels.array > 0).sum(axis=(0, 1))))
    inside = np.argwhere(labels.array[..., level] > 0)
    (left, low), (right, high) = np.maximum(inside.min(axis=0) - 12, 0), inside.max(axis=0) + 13
    grey = image.array[left:right, low:high, level].astype(float)
    shown = labels.array[left:right, low:high, level]
    figure, panels = pyplot.subplots(2, len(methods), figsize=(5.2 * len(methods), 9.4), squeeze=False, layout="constrained")
    steps = []
    for method in methods:
        vectors = field_of(runs, method, case_id, image.geometry).array[left:right, low:high, level, :]
        axes = image.geometry.affine[:3, :2] / np.linalg.norm(image.geometry.affine[:3, :2], axis=0)
        plane = vectors @ axes
        steps.append((plane, np.hypot(*(np.linalg.norm(np.gradient(plane, axis=n), axis=-1) for n in range(2)))))
    most = np.percentile(np.concatenate([jump.ravel() for _, jump in steps]), 99.5)
    for column, (name, (plane, jump)) in enumerate(zip(names, steps, strict=True)):
        above, below = panels[0][column], panels[1][column]
        above.imshow(grey.T, cmap="gray", origin="upper")
        i, j = np.meshgrid(np.arange(0, grey.shape[0], 3), np.arange(0, grey.shape[1], 3), indexing="ij")
        above.quiver(i, j, *np.moveaxis(plane[::3, ::3], -1, 0), color="#ffe14d", angles="xy", scale_units="xy", scale=2.5)
        drawn = below.imshow(jump.T, cmap="magma", origin="upper", vmin=0, vmax=most)
        for panel in (above, below):
            for n, label in enumerate(case["label_ids"]):
                colour = COLOURS[n % len(COLOURS)]
                panel.contour((shown == label).T.astype(float), [0.5], colors=[colour], linewidths=1.1)
            panel.set_xticks([])
            panel.set_yticks([])
        above.set_title(name, fontsize=12)
    panels[0][0].set_ylabel("displacement within the slice (2.5 : 1)")
    panels[1][0].set_ylabel("its change from voxel to voxel")
    figure.colorbar(drawn, ax=list(panels[1]), label="mm per voxel", shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--method", action="append", required=True)
    parser.add_argument("--name", action="append", help="what to call each method in table and picture")
    parser.add_argument("--case", help="the pair to draw")
    parser.add_argument("--picture", type=Path, help="where the picture goes")
    given = parser.parse_args()
    names = given.name or given.method
    sys.stdout.write(table(given.pairs, given.runs, given.method, names) + "\n")
    if given.picture:
        draw(given.pairs, given.runs, given.method, names, given.case, given.picture)


if __name__ == "__main__":
    main()

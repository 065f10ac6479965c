"""Ejection fractions from carried labels against those from drawn ones, for the pairs that compare_pairs.py has registered.

    python tests/benchmark/ejection_fraction.py PAIRS RUNS --method "jrs --model none" --method "jrs --model cardiac-jrs"
        --picture docs/images/ejection-fraction.png

PAIRS is one set as compare_pairs.py takes it, whose moving images are at end-diastole and fixed images at end-systole; RUNS the
folder of that set under its ``--out``. The labels of end-diastole are carried to end-systole by each method's field (nearest
neighbour); what their volume says is held against the labels drawn there. ``nothing done`` carries them unmoved. The picture
(extra ``docs``) is that of Bland and Altman, Lancet 1986, doi:10.1016/S0140-6736(86)90837-8.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from compare_pairs import _plain

from jrscli.io import read_labels
from jrscli.io.transforms import read_field
from jrscli.metrics.beat import beat_values
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap

NOTHING = "nothing done"


def fractions(base: Path, runs: Path, methods: list[str], label: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(true ejection fractions in %, those by each method), case by case."""
    cases = json.loads((base / "manifest.json").read_text())["cases"]
    truth: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in (*methods, NOTHING)}
    for case in cases:
        diastole, systole = (read_labels(base / case[role]) for role in ("moving_labels", "fixed_labels"))
        before = _ml(diastole, label)
        truth.append(_fraction(before, _ml(systole, label), before, _ml(systole, label)))
        for name in found:
            if name == NOTHING:
                carried = resample_labels(diastole, systole.geometry)
            else:
                field = read_field(runs / _plain(name) / _plain(case["id"]) / "field.nii.gz")
                carried = resample_labels(diastole, systole.geometry, Transform((field,)))
            found[name].append(_fraction(before, _ml(carried, label), before, _ml(systole, label)))
    return np.array(truth), {name: np.array(values) for name, values in found.items()}


def _ml(labels: LabelMap, label: int) -> float:
    return float((labels.array == label).sum()) * labels.geometry.voxel_volume_mm3 / 1000


def _fraction(diastole: float, systole: float, true_diastole: float, true_systole: float) -> float:
    values, _ = beat_values([diastole, systole], [true_diastole, true_systole])
    fraction = values["ejection_fraction.v1(test)"].value
    return float("nan") if fraction is None else fraction


def table(truth: np.ndarray, found: Mapping[str, np.ndarray]) -> str:
    """A Markdown table: mean absolute error, bias and limits of agreement in percentage points."""
    lines = [
        f"\n### Ejection fraction, {len(truth)} patients, drawn: {truth.mean():.1f} ± {truth.std(ddof=1):.1f} %\n",
        "| method | mean absolute error | bias | limits of agreement | largest error |",
        "|---|---|---|---|---|",
    ]
    for name, values in found.items():
        error = values - truth
        reach = 1.96 * error.std(ddof=1)
        lines.append(
            f"| {name} | {np.abs(error).mean():.2f} | {error.mean():+.2f} "
            f"| {error.mean() - reach:+.1f} … {error.mean() + reach:+.1f} | {error[np.abs(error).argmax()]:+.1f} |"
        )
    return "\n".join(lines)


def draw(truth: np.ndarray, found: Mapping[str, np.ndarray], path: Path) -> None:
    """The picture: a panel per method, the difference over the mean of both."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(found), figsize=(4.2 * len(found), 3.8), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, (name, values) in zip(panels[0], found.items(), strict=True):
        error, mean = values - truth, (values + truth) / 2
        reach = 1.96 * error.std(ddof=1)
        panel.axhline(0, color="0.75", linewidth=0.8)
        panel.axhline(error.mean(), color="#1f5fa8")
        for limit in (error.mean() - reach, error.mean() + reach):
            panel.axhline(limit, color="#1f5fa8", linestyle="--", linewidth=1)
            panel.annotate(f"{limit:+.1f}", (1, limit), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
        panel.annotate(
            f"bias {error.mean():+.1f}",
            (1, error.mean()),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=9,
        )
        panel.scatter(mean, error, color="#b24a00", s=26, zorder=3)
        panel.set_title(name, fontsize=11)
        panel.set_xlabel("mean of carried and drawn EF, %")
    panels[0][0].set_ylabel("carried − drawn, percentage points")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--method", action="append", required=True)
    parser.add_argument("--label", type=int, default=3, help="the cavity [3: left ventricle in ACDC]")
    parser.add_argument("--picture", type=Path, help="where the Bland-Altman picture goes")
    given = parser.parse_args()
    truth, found = fractions(given.pairs, given.runs, given.method, given.label)
    sys.stdout.write(table(truth, found) + "\n")
    if given.picture:
        draw(truth, {name: values for name, values in found.items() if name != NOTHING}, given.picture)


if __name__ == "__main__":
    main()

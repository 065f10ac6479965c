"""Draw the pictures of docs/methods/README.md from the logs and tables beside it: ``python docs/draw_methods.py``.

Needs the extra ``docs``.
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean, stdev

import matplotlib

matplotlib.use("Agg")
from make_methods import FEW, HERE, TASKS, curve, shipped
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jrscli.runtime.store import bundled_folder

COLUMNS = 3
"""Of panels in the picture of the trainings."""
WATCHED = {
    "deeprs": {
        "judge.accuracy": "judge right",
        "judge.fake": "judge's word on warped images",
        "segment.confidence": "confidence",
    },
    "jrss": {"student.accepted": "pseudo-labels accepted", "student.sure_voxels": "sure voxels"},
}
"""What tells whether a training with a judge or with labels of its own has collapsed; shares, 0 … 1."""
IMAGES = HERE.parent / "images"
EVERYTHING = 162
"""Labelled images of the hippocampus set's training part, where none is hidden."""


def draw_trainings() -> None:
    """The validations of each shipped model's training over its rounds, all stages one after the other."""
    shown = sorted(shipped(), key=lambda card: card.name)
    rows = -(-len(shown) // COLUMNS)
    figure, panels = pyplot.subplots(rows, COLUMNS, figsize=(5.2 * COLUMNS, 3.6 * rows), squeeze=False, layout="constrained")
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
    for panel, card in zip(panels.flat, shown, strict=False):
        edges: list[tuple[str, float]] = []
        for task, colour in (("registration", "#1f5fa8"), ("segmentation", "#b24a00")):
            x, y, found = _joined(curve(bundled_folder() / f"{card.name}-log.csv", task))
            if not x:
                continue
            edges = edges or found
            panel.plot(x, y, marker=".", color=colour, label=task)
        for stage, start in edges:
            panel.axvline(start, color="0.8", linewidth=0.8, zorder=0)
            panel.annotate(f" {stage}", (start, 0.02), xycoords=("data", "axes fraction"), fontsize=8, color="0.4", rotation=90)
        panel.set(title=card.name, xlabel="rounds, all stages", ylabel="Dice, validation part", ylim=(0, 1))
        panel.legend(loc="best", fontsize=9)
    _save(figure, "training.png")


def watched(path: Path, name: str, stage: str = "joint") -> tuple[list[int], list[float]]:
    """A watched number over the rounds of a stage."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["what"] == "watch" and row["stage"] == stage]
    found = [(int(row["round"]), float(row["value"])) for row in rows if row["name"] == name]
    return [n for n, _ in found], [value for _, value in found]


def draw_stability() -> None:
    """Judge, accepted labels and field over the joint rounds of the trainings with five labels, a line per seed."""
    figure, panels = pyplot.subplots(2, len(WATCHED), figsize=(5.2 * len(WATCHED), 6.4), layout="constrained", sharex="col")
    for (name, shares), column in zip(WATCHED.items(), panels.T, strict=True):
        for seed, log in enumerate(sorted((HERE / "few-labels").glob(f"5-{name}-[0-9].csv"))):
            for number, (key, words) in enumerate(shares.items()):
                column[0].plot(*watched(log, key), color=f"C{number}", linewidth=1, label=None if seed else words)
            column[1].plot(*watched(log, "register.field_voxels"), color="C0", linewidth=1)
        column[0].set(title=name, ylim=(0, 1.02), ylabel="share")
        column[1].set(xlabel="joint rounds", ylabel="mean displacement, voxels", ylim=(0, None))
        column[0].legend(fontsize=8, loc="lower right")
    _save(figure, "stability.png")


def draw_few_labels() -> None:
    """What each way makes of so many labelled images (mean, one standard deviation), and what refinement brings ISTN."""
    with (HERE / "few-labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, (*panels, refined) = pyplot.subplots(1, 3, figsize=(14.5, 4.2), layout="constrained")
    for task, panel in zip(TASKS[::-1], panels, strict=True):
        for number, way in enumerate(FEW):
            found: dict[int, list[float]] = {}
            for row in rows:
                if row["way"] == way and row[task]:
                    found.setdefault(EVERYTHING if row["labelled"] == "all" else int(row["labelled"]), []).append(
                        float(row[task])
                    )
            if not found:
                continue
            counts = sorted(found)
            spread = [stdev(found[n]) if len(found[n]) > 1 else 0.0 for n in counts]
            apart = [n * (0.94 + 0.02 * number) for n in counts]  # so that bars do not hide each other
            means = [mean(found[n]) for n in counts]
            panel.errorbar(
                apart, means, spread, marker="o", markersize=4, capsize=3, linewidth=1.2, color=f"C{number}", label=way
            )
        panel.set_xscale("log")
        panel.set_xticks((1, 5, 20, EVERYTHING), ("1", "5", "20", f"all {EVERYTHING}"), minor=False)
        panel.minorticks_off()
        panel.set(title=task, xlabel="labelled images", ylabel="Dice, validation part")
    panels[0].legend(fontsize=8, loc="lower right")
    _draw_refinement(refined)
    _save(figure, "few-labels.png")


def _draw_refinement(panel: Axes) -> None:
    with (HERE / "map-refinement.csv").open(encoding="utf-8", newline="") as file:
        points = [(row["way"], int(row["steps"]), float(row["dice"])) for row in csv.DictReader(file)]
    start = next(dice for way, _, dice in points if way == "none")
    for way, words in (("field", "the field moves (jrs register)"), ("weights", "the weights move (the paper)")):
        steps, dice = zip((0, start), *((n, value) for one, n, value in points if one == way), strict=True)
        panel.plot(steps, dice, marker="o", markersize=4, label=words)
    panel.set(title="istn: refinement on its maps", xlabel="steps", ylabel="registration Dice, validation part")
    panel.legend(fontsize=8, loc="lower right")


def _save(figure: Figure, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / name, dpi=100)
    pyplot.close(figure)


def _joined(found: list[tuple[str, int, float]]) -> tuple[list[int], list[float], list[tuple[str, float]]]:
    """Rounds counted on through the stages, values, and where each stage begins."""
    x: list[int] = []
    y: list[float] = []
    edges: list[tuple[str, float]] = []
    before = last = 0
    for stage, rounds, value in found:
        if not edges or edges[-1][0] != stage:
            before = last
            edges.append((stage, before))
        last = before + rounds
        x.append(last)
        y.append(value)
    return x, y, edges


if __name__ == "__main__":
    draw_trainings()
    draw_stability()
    draw_few_labels()

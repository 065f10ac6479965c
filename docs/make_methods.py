"""Write docs/methods/README.md: ``python docs/make_methods.py [--plots]``.

Every number of our own on the page was written by `jrs`: the scores of the cards in models/, and the validations in the logs
of trainings (models/NAME-log.csv, docs/methods/runs/METHOD-WAY-SEED.csv). What papers say of themselves is in
docs/methods/published.yaml. A test makes the page again. --plots also draws the curves (extra ``docs``).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from jrscli import methods
from jrscli.runtime.card import Card
from jrscli.runtime.store import bundled_folder, read_model

HERE = Path(__file__).parent / "methods"
COLUMNS = 3
"""Of panels in the picture."""
FEW = ("alone", "atlases", "taught", "deepatlas", "siamese", "jrss", "deeprs")
"""Ways to use few labels that are compared; rows of parts left out follow their recipe."""
TASKS = ("registration", "segmentation")
WATCHED = {
    "deeprs": {
        "judge.accuracy": "judge right",
        "judge.fake": "judge's word on warped images",
        "segment.confidence": "confidence",
    },
    "jrss": {"student.accepted": "pseudo-labels accepted", "student.sure_voxels": "sure voxels"},
}
"""What tells whether a training with a judge or with labels of its own has collapsed; shares, 0 … 1."""
DIGITS = (("dice", 3), ("worst", 3), ("hd95_mm", 2), ("lost", 0), ("folds_percent", 3), ("sdlogj", 3))
COSTS = (("seconds", 1), ("cpu_seconds", 1), ("peak_mb", 0))
"""What is shown of a row of the table of pairs, and with how many digits."""
STABLE = HERE.parent / "images" / "stability.png"
CURVES = HERE.parent / "images" / "training.png"
HEAD = """# The methods

Published methods of joint registration and segmentation as recipes of one form: `jrs train METHOD DATA` trains any of them,
`jrs export` makes a model of it, and `jrs register`, `segment` and `propagate-contours` use it. Each has a page with its
equations, its departures from the paper and its scores. This page is made by `python docs/make_methods.py` from the cards of
the [models](../../models/README.md) and the logs of their trainings; a test makes it again.

"""


def page() -> str:
    """The whole page."""
    published: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "published.yaml").read_text("utf-8"))
    names = sorted(methods.names(), key=lambda name: published[name].get("number", 99))
    parts = [_ideas(names, published), _models(names), _pairs(), _together(names, published), _few()]
    parts.append(_papers(names, published))
    return HEAD + "\n".join(parts)


def _ideas(names: list[str], published: dict[str, dict[str, Any]]) -> str:
    lines = ["| recipe | idea | worth a try when |", "|---|---|---|"]
    for name in names:
        idea = (importlib.import_module(f"jrscli.methods.{name}").__doc__ or "").splitlines()[0].rstrip(".")
        lines.append(f"| [{name}]({name}.md) | {idea} | {published[name]['use']} |")
    return "\n".join(lines) + "\n"


def _models(names: list[str]) -> str:
    """The trained models, each with the scores of its card; recipes without one are named."""
    lines = [
        "## Trained here\n",
        "On patients of the test part, which was scored once per model, with the card's own number of steps of refinement;",
        "weights in millions, those that two graphs share counted once.\n",
        "| model | recipe | data | registration Dice | without refinement | folds % | segmentation Dice | optimiser alone |"
        " weights |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    cards = _cards()
    for card in sorted(cards, key=lambda card: names.index(card.method)):
        for data, scores in card.scores.items():
            found = scores.registration.values if scores.registration else {}
            labels = scores.segmentation.values if scores.segmentation else {}
            alone = scores.baselines.get("pair optimiser", {})
            cells = [
                _number(found, "dice"),
                _number(found, "dice_refine_0"),
                _number(found, "folding_percent"),
                _number(labels, "dice"),
                _number(alone, "dice"),
                f"{_weights(card) / 1e6:.2f}",
            ]
            lines.append(f"| {card.name} | [{card.method}]({card.method}.md) | {data} | " + " | ".join(cells) + " |")
    missing = [name for name in names if name not in {card.method for card in cards}]
    if missing:
        lines.append(f"\nNo model of these recipes is shipped yet: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def _weights(card: Card) -> int:
    """How many numbers the graphs hold, the same tensor in two graphs counted once."""
    import onnx

    sizes = {
        tensor.raw_data: math.prod(tensor.dims)
        for graph in card.graphs.values()
        for tensor in onnx.load(str(bundled_folder() / graph.file)).graph.initializer
    }
    return sum(sizes.values())


def _pairs() -> str:
    """Models and the pair optimiser on the same test pairs, as tests/benchmark/compare_pairs.py kept them."""
    with (HERE / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "## On the same pairs\n",
        "Test parts, images alone, one thread, each pair a command of its own with its start; labels warped by the nearest",
        "voxel for everybody; medians of seconds and memory. `python tests/benchmark/compare_pairs.py PAIRS --method METHOD …",
        "--keep FILE`.\n",
    ]
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = sorted((row for row in rows if row["set"] == name), key=lambda row: -float(row["dice"]))
        lines += [f"### {name}, {of_set[0]['pairs']} pairs\n"]
        lines += ["| method | Dice | worst | HD95 mm | labels lost | folds % | SDlogJ | s | cpu s | MB |", "|---" * 10 + "|"]
        for row in of_set:
            told = [f"{float(row[key]):.{digits}f}" for key, digits in DIGITS + COSTS]
            lines.append(f"| `{row['method']}` | {' | '.join(told)} |")
        lines.append("")
    return "\n".join(lines)


def _together(names: list[str], published: dict[str, dict[str, Any]]) -> str:
    """Each recipe beside itself with a part left out, at the end of each training; what was not run is not in the table."""
    lines = [
        "## Together or alone\n",
        "The same images, augmentation and steps, with a part left out: Dice (mean ± standard deviation over the seeds) and",
        "folds on the validation part and the network's own grid, without refinement, at the end of each training. [What was",
        "left out](together.yaml), [logs and settings](runs); `python tests/benchmark/together.py` runs them.\n",
        "| recipe | way | seeds | registration | segmentation | folds % |",
        "|---|---|---|---|---|---|",
    ]
    compared: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "together.yaml").read_text("utf-8"))
    for name in [name for name in names if name in compared]:
        for way, what in compared[name]["ways"].items():
            logs = _logs(name, way, what)
            if logs:
                cells = [_over_seeds(logs, key) if what.get("task", key) == key else "" for key in TASKS]
                folds = _over_seeds(logs, "folds") if what.get("task") != "segmentation" else ""
                lines.append(f"| [{name}]({name}.md) | {way} | {len(logs)} | {' | '.join([*cells, folds])} |")
    lines.append("\n![Dice of the validation part over the rounds of each shipped model's training](../images/training.png)")
    return "\n".join(lines) + "\n"


def _logs(name: str, way: str, what: dict[str, Any]) -> list[Path]:
    """Of the trainings of one way, that of the shipped model first."""
    shipped = [bundled_folder() / f"{what['model']}-log.csv"] if "model" in what else []
    return shipped + sorted((HERE / "runs").glob(f"{name}-{way.replace(' ', '-')}-[0-9].csv"))


def _few() -> str:
    """Few labels: each way beside the segmenter trained alone on the same labelled images."""
    with (HERE / "few-labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "## Few labels\n",
        "Hippocampus, validation part, on the network's own grid; the same labelled images and as many steps of the segmenter",
        "for all, half of them beside the registration where both are trained together. *alone*: the segmenter of deepatlas by",
        "itself.",
        "*atlases*: no training, the labelled images are carried over by the pair optimiser and vote. *taught*: *alone*, with",
        "labels that the atlases drew on 40 more images. `python tests/benchmark/label_scarcity.py` runs them.\n",
        "| labelled images | way | seeds | segmentation | registration | folds % |",
        "|---|---|---|---|---|---|",
    ]
    for labelled, way in dict.fromkeys((row["labelled"], row["way"]) for row in rows):
        cells = [row for row in rows if (row["labelled"], row["way"]) == (labelled, way)]
        values = [_spread([float(row[key]) for row in cells if row[key]]) for key in ("segmentation", "registration", "folds")]
        lines.append(f"| {labelled} | {way} | {len(cells)} | {' | '.join(values)} |")
    not_run = [way for way in FEW if way not in {row["way"] for row in rows}]
    if not_run:
        lines.append(f"\nNot run: {', '.join(not_run)}.")
    return "\n".join(lines) + "\n"


def _papers(names: list[str], published: dict[str, dict[str, Any]]) -> str:
    lines = ["## What the papers report\n", "On their own data, which are not ours; nothing of this was measured here.\n"]
    lines += ["| recipe | as published |", "|---|---|"]
    lines += [f"| [{name}]({name}.md) | {published[name]['published']} |" for name in names]
    return "\n".join(lines) + "\n"


def _cards() -> list[Card]:
    files = [path for path in sorted(bundled_folder().glob("*.yaml")) if b"\ngraphs:" in path.read_bytes()]
    return [read_model(path).card for path in files]


def _number(values: Any, key: str) -> str:
    return f"{values[key]:.3f}" if key in values else "n/a"


def curve(path: Path, task: str) -> list[tuple[str, int, float]]:
    """(stage, round, value) of each validation in a log."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["what"] == "validation" and row["name"] == task]
    return [(row["stage"], int(row["round"]), float(row["value"])) for row in rows]


def _over_seeds(logs: list[Path], task: str) -> str:
    """Of the last validations."""
    return _spread([found[-1][2] for found in (curve(path, task) for path in logs) if found])


def _spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return "n/a"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def draw() -> None:
    """The validations of each shipped model's training over its rounds, all stages one after the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cards = sorted(_cards(), key=lambda card: card.name)
    rows = -(-len(cards) // COLUMNS)
    figure, panels = pyplot.subplots(rows, COLUMNS, figsize=(5.2 * COLUMNS, 3.6 * rows), squeeze=False, layout="constrained")
    for panel in panels.flat[len(cards) :]:
        panel.set_visible(False)
    for panel, card in zip(panels.flat, cards, strict=False):
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
        panel.legend(loc="center right", bbox_to_anchor=(1, 0.3), fontsize=9)
    CURVES.parent.mkdir(exist_ok=True)
    figure.savefig(CURVES, dpi=100)
    pyplot.close(figure)


def watched(path: Path, name: str, stage: str = "joint") -> tuple[list[int], list[float]]:
    """A watched number over the rounds of a stage."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["what"] == "watch" and row["stage"] == stage]
    found = [(int(row["round"]), float(row["value"])) for row in rows if row["name"] == name]
    return [n for n, _ in found], [value for _, value in found]


def draw_stability() -> None:
    """Judge, accepted labels and field over the joint rounds of the trainings with five labels, a line per seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(WATCHED), figsize=(5.2 * len(WATCHED), 6.4), layout="constrained", sharex="col")
    for (name, shares), column in zip(WATCHED.items(), panels.T, strict=True):
        for seed, log in enumerate(sorted((HERE / "few-labels").glob(f"5-{name}-[0-9].csv"))):
            for number, (key, words) in enumerate(shares.items()):
                column[0].plot(*watched(log, key), color=f"C{number}", linewidth=1, label=None if seed else words)
            column[1].plot(*watched(log, "register.field_voxels"), color="C0", linewidth=1)
        column[0].set(title=name, ylim=(0, 1.02), ylabel="share")
        column[1].set(xlabel="joint rounds", ylabel="mean displacement, voxels", ylim=(0, None))
        column[0].legend(fontsize=8, loc="lower right")
    figure.savefig(STABLE, dpi=100)
    pyplot.close(figure)


def _joined(found: list[tuple[str, int, float]]) -> tuple[list[int], list[float], list[tuple[str, float]]]:
    """Rounds counted on through the stages, values, and where each stage begins."""
    x, y, edges, before, last = [], [], [], 0, 0
    for stage, rounds, value in found:
        if not edges or edges[-1][0] != stage:
            before = last
            edges.append((stage, before))
        last = before + rounds
        x.append(last)
        y.append(value)
    return x, y, edges


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plots", action="store_true")
    if parser.parse_args().plots:
        draw()
        draw_stability()
    (HERE / "README.md").write_text(page(), encoding="utf-8", newline="\n")

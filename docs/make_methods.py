"""Write docs/methods/README.md: ``python docs/make_methods.py``.

Every number of our own on the page was written by `jrs`: the scores of the cards in models/, and the validations in the logs
of trainings (models/NAME-log.csv, docs/methods/runs/METHOD-WAY-SEED.csv). What papers say of themselves is in
docs/methods/published.yaml. A test makes the page again. Its pictures: ``python docs/draw_methods.py``.
"""

from __future__ import annotations

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
FEW = ("alone", "atlases", "taught", "deepatlas", "siamese", "jrss", "deeprs")
"""Ways to use few labels that are compared; rows of parts left out follow their recipe."""
TASKS = ("registration", "segmentation")
DIGITS = (("dice", 3), ("worst", 3), ("hd95_mm", 2), ("lost", 0), ("folds_percent", 3), ("sdlogj", 3))
COSTS = (("seconds", 1), ("cpu_seconds", 1), ("peak_mb", 0))
"""What is shown of a row of the table of pairs, and with how many digits."""
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
    cards = shipped()
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
    rows.sort(key=lambda row: math.inf if row["labelled"] == "all" else int(row["labelled"]))
    for labelled, way in dict.fromkeys((row["labelled"], row["way"]) for row in rows):
        cells = [row for row in rows if (row["labelled"], row["way"]) == (labelled, way)]
        values = [_spread([float(row[key]) for row in cells if row[key]]) for key in ("segmentation", "registration", "folds")]
        lines.append(f"| {labelled} | {way} | {len(cells)} | {' | '.join(values)} |")
    lines += [
        "\nNo way of learning both makes the labels better here. With 400 steps the segmenter alone is as good with 5 labelled",
        "images as with all: what it lacks are steps, not labels; and a warped label that fits by 0.6 to 0.7 teaches it less",
        "than a drawn one.",
    ]
    not_run = [way for way in FEW if way not in {row["way"] for row in rows}]
    if not_run:
        lines.append(f"\nNot run: {', '.join(not_run)}.")
    lines.append(
        "\n![Dice over the number of labelled images, and of ISTN over its steps of refinement](../images/few-labels.png)"
    )
    return "\n".join(lines) + "\n"


def _papers(names: list[str], published: dict[str, dict[str, Any]]) -> str:
    lines = ["## What the papers report\n", "On their own data, which are not ours; nothing of this was measured here.\n"]
    lines += ["| recipe | as published |", "|---|---|"]
    lines += [f"| [{name}]({name}.md) | {published[name]['published']} |" for name in names]
    return "\n".join(lines) + "\n"


def shipped() -> list[Card]:
    """The cards in models/."""
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


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(), encoding="utf-8", newline="\n")

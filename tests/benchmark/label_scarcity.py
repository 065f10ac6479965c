"""Few labels: the joint recipes beside a segmenter trained alone, on the hippocampus set.

    JRS_DATA=FOLDER python tests/benchmark/label_scarcity.py --budget 800 --out runs/scarcity
    python tests/benchmark/label_scarcity.py --out runs/scarcity --table-only --keep docs/methods/few-labels.csv \\
        --keep-logs docs/methods/few-labels

Every cell (how many labels, which way, seed) is one training with the same images, the same augmentation, and as many
optimiser steps of the segmentation (of teacher and student together in jrss) as --budget says. "alone" are the two networks of
deepatlas without each other. "atlases" trains nothing: the labelled images are carried over by the pair optimiser (--preset
fast) and vote, on the image's own grid: how good labels can be that registration alone brings. "taught" is the segmenter of
"alone" with such labels on --taught more training images. Cells lie in folders of their own: a stopped run goes on where it
was, and what is not done is printed as "not run". Scores are of the validation part unless --part test is given, on the
network's grid.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from trained import keep_log, networks

LIST = Path(__file__).parents[2] / "configs" / "hippocampus-data.yaml"
COUNTS = (1, 5, 20, None)
KEPT = ("segmentation", "registration", "folds")
KINDS = ("alone", "deepatlas", "siamese", "jrss", "deeprs", "atlases", "taught")
LEFT_OUT = {
    "deeprs without sampling": {"sampling": False},
    "deeprs without confidence": {"confidence": 0.0},
    "deeprs without regions": {"region": 0.0},
}
"""The ablation of deeprs, a part at a time."""


@dataclass(frozen=True)
class Cell:
    """One training."""

    labelled: int | None
    kind: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.labelled or 'all'}-{self.kind}-{self.seed}"

    @property
    def method(self) -> str:
        return "deepatlas" if self.kind in ("alone", "taught") else self.kind.partition(" ")[0]

    def config(self, budget: int) -> dict[str, Any]:
        """Half of the segmentation's steps alone and half beside the registration, but for deeprs, which has no such stage."""
        half, rest = budget // 2, budget - budget // 2
        if self.kind == "alone":
            return {"smoothness": 0.3, "pretrain_register": budget, "pretrain_segment": budget, "joint_rounds": 0}
        if self.kind == "taught":
            return {"pretrain_register": 0, "pretrain_segment": budget, "joint_rounds": 0}
        if self.kind == "deepatlas":
            shared = {"smoothness": 0.3, "register_repeats": 1, "segment_rate": 1e-3}
            return {"pretrain_register": half, "pretrain_segment": rest, "joint_rounds": half, **shared}
        if self.kind == "siamese":
            return {"segment_rounds": rest, "joint_rounds": half}
        if self.kind == "jrss":
            quarter = half // 2
            steps = {"pretrain_teacher": rest, "self_training": quarter, "joint_rounds": half - quarter}
            return {"smoothness": 0.3, "pretrain_register": half, **steps}
        steps = {"width": 8, "rate": 5e-4, "segment_rate": 2e-3, "warm_up": half, "rounds": budget}
        return {**steps, **LEFT_OUT.get(self.kind, {})}


def cells(counts: list[int | None], kinds: list[str], seeds: int) -> Iterator[Cell]:
    """The important ones first."""
    for seed in range(seeds):
        for count in counts:
            for kind in kinds:
                yield Cell(count, kind, seed)


def run_cell(cell: Cell, budget: int, out: Path, data: Path, part: str, listing: Path = LIST) -> None:
    """Train (or go on training) and score one cell. listing: the data list that it trains on."""
    import torch

    from jrscli.training import checkpoint
    from jrscli.training.cases import read_data
    from jrscli.training.prepared import Cases
    from jrscli.training.run import train
    from jrscli.training.validate import Examples, validate, validation_pairs

    folder = out / cell.name
    changes = {"labelled": cell.labelled, "labelled_seed": cell.seed} if listing == LIST else {}
    train(
        cell.method,
        listing,
        folder,
        config=cell.config(budget),
        training={"seed": cell.seed, "mixed_chance": 1.0, "validate_every": max(budget // 4, 1), "checkpoint_every": 50},
        changes=changes,
        root=data,
        resume=(folder / checkpoint.FILE).exists(),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    method, _ = networks(folder)
    listed, found = read_data(LIST, root=data)
    scored = Cases(listed, found, part)
    scores = validate(method, Examples(scored, torch.device("cpu")), validation_pairs(scored, 40))
    (folder / f"scores-{part}.json").write_text(json.dumps({"budget": budget, **scores}), "utf-8")


def _cases_of(cell: Cell, data: Path) -> tuple[list[Any], list[tuple[Path, Path]]]:
    """All cases, labels hidden as the cell says, and the images and labels that carry them."""
    from jrscli.training.cases import read_data

    _, found = read_data(LIST, root=data, changes={"labelled": cell.labelled, "labelled_seed": cell.seed})
    return found, [(case.image, case.labels) for case in found if case.part == "train" and case.labels is not None]


def teach(cell: Cell, most: int, out: Path, data: Path) -> Path:
    """Draw labels on ``most`` unlabelled training images by the labelled ones; the data list that names both kinds."""
    import yaml

    from jrscli import segment
    from jrscli.io import write_labels

    found, atlases = _cases_of(cell, data)
    folder = out / f"{cell.name}-labels"
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    left = most
    for case in found:
        labels = case.labels
        if case.part == "train" and labels is None:
            if not left:
                continue
            left -= 1
            labels = folder / f"{case.patient}.nii.gz"
            if not labels.is_file():
                write_labels(segment(case.image, atlases, preset="fast", threads=1).labels, labels)
        entries.append({"patient": case.patient, "image": str(case.image), "labels": str(labels), "part": case.part})
    listed = yaml.safe_load(LIST.read_text("utf-8"))
    for key in ("images", "label_files", "split"):
        del listed[key]
    written = folder / "data.yaml"
    written.write_text(yaml.safe_dump({**listed, "cases": entries}), "utf-8")
    return written


def run_atlases(cell: Cell, out: Path, data: Path, part: str) -> None:
    """Carry the labels of the labelled training images to those of the part."""
    from jrscli import evaluate, segment

    found, atlases = _cases_of(cell, data)
    scores = []
    for case in [case for case in found if case.part == part and case.labels is not None]:
        carried = segment(case.image, atlases, preset="fast", threads=1).labels
        scores.append(evaluate(case.labels, carried, metrics=["dice"]).mean("dice.v1"))
    folder = out / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"scores-{part}.json").write_text(json.dumps({"segmentation": mean(scores)}), "utf-8")


def table(counts: list[int | None], kinds: list[str], seeds: int, out: Path, part: str) -> str:
    """Markdown: mean ± SD over the seeds that are done."""
    lines = [f"Part: {part}", "", "| labelled | way | seeds | segmentation Dice | registration Dice | folds % |"]
    lines.append("|---" * 6 + "|")
    for count in counts:
        for kind in kinds:
            files = [out / Cell(count, kind, seed).name / f"scores-{part}.json" for seed in range(seeds)]
            done = [json.loads(file.read_text("utf-8")) for file in files if file.is_file()]
            values = [_shown([score.get(key) for score in done]) for key in KEPT]
            lines.append(f"| {count or 'all'} | {kind} | {len(done)} | {' | '.join(values)} |")
    return "\n".join(lines)


def keep(out: Path, kept: Path, part: str, logs: Path | None = None) -> None:
    """One line per cell that is done, for docs/make_methods.py; cells that were kept before and are not here stay.

    logs: a folder for what is kept of the cells' logs.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    if kept.is_file():
        with kept.open(encoding="utf-8", newline="") as file:
            rows = {tuple(row[:3]): row for row in list(csv.reader(file))[1:]}
    for scores in out.glob(f"*/scores-{part}.json"):
        found = json.loads(scores.read_text("utf-8"))
        cell = tuple(scores.parent.name.rsplit("-", 2))
        if (scores.parent / "log.csv").is_file() and logs is not None:
            keep_log(scores.parent, logs / f"{scores.parent.name.replace(' ', '-')}.csv")
        rows[cell] = [*cell, str(found.get("budget", 0)), *(f"{found[key]:.4f}" if key in found else "" for key in KEPT)]
    with kept.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["labelled", "way", "seed", "budget", *KEPT])
        writer.writerows(rows[cell] for cell in sorted(rows))


def _shown(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return "not run"
    return f"{mean(found):.3f}" + (f" ± {stdev(found):.3f}" if len(found) > 1 else "")


def main() -> None:
    """Run what is not done, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=800, help="optimiser steps of each network in each cell")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labelled", type=int, nargs="*", default=[count or 0 for count in COUNTS], help="0 = all")
    parser.add_argument("--kind", nargs="*", choices=[*KINDS, *LEFT_OUT], default=list(KINDS))
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--taught", type=int, default=60, help="images that taught draws labels on")
    parser.add_argument("--most", type=int, default=1000, help="cells to run at most now")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--keep", type=Path, help="a CSV file for the scores of all cells that are done")
    parser.add_argument("--keep-logs", type=Path, help="a folder for the validations and watched numbers of these cells")
    chosen = parser.parse_args()
    counts = [count or None for count in chosen.labelled]
    if not chosen.table_only:
        data = Path(os.environ["JRS_DATA"]) / "hippocampus"
        left = [
            c
            for c in cells(counts, chosen.kind, chosen.seeds)
            if not (chosen.out / c.name / f"scores-{chosen.part}.json").is_file()
        ]
        for cell in left[: chosen.most]:
            if cell.kind == "atlases":
                run_atlases(cell, chosen.out, data, chosen.part)
            elif cell.kind == "taught":
                listing = teach(cell, chosen.taught, chosen.out, data)
                run_cell(cell, chosen.budget, chosen.out, data, chosen.part, listing)
            else:
                run_cell(cell, chosen.budget, chosen.out, data, chosen.part)
    if chosen.keep:
        keep(chosen.out, chosen.keep, chosen.part, chosen.keep_logs)
    print(table(counts, chosen.kind, chosen.seeds, chosen.out, chosen.part))  # noqa: T201


if __name__ == "__main__":
    main()

"""The table of pairs: `jrs register` and other tools on the same pairs, in one run, scored alike.

    python tests/benchmark/compare_pairs.py PAIRS --method jrs --method "jrs --preset fast" --method demons -o runs

PAIRS holds folders with a ``manifest.json``: ``{"set": …, "start": "affine" | "rigid", "cases": [{"id", "fixed", "moving",
"fixed_labels", "moving_labels", "label_ids", "roi", "true_field"?}, …]}``, paths below that folder. A method is ``jrs`` with
any options of ``jrs register``, or a name of peers.py (run by the interpreter that JRS_PEERS_PYTHON names, where that is set:
ANTs and elastix want an environment of their own). ``{fixed_labels}`` and ``{moving_labels}`` stand for the paths of the case,
``{fixed_labels:1,3}`` for a copy with these labels alone: ``jrs --fixed-labels {fixed_labels:1}
--moving-labels {moving_labels:1}`` is guided by label 1, and ``--score 2`` scores what did not guide. Every run is a child
process on one thread; what is there already is not computed again. Labels are warped by nearest neighbour through the written
field, the same for everybody. --keep FILE writes the rows of the tables as CSV, in place of earlier rows of the same sets.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jrscli.io import read_labels, write_labels
from jrscli.io.transforms import read_field
from jrscli.metrics.bootstrap import bootstrap_interval
from jrscli.metrics.overlap import count, dice
from jrscli.metrics.surface import hd95, surface_distances
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap

COSTS = ("seconds", "cpu_seconds", "peak_mb")
COLUMNS = ("dice", "hd95_mm", "lost", "folds_percent", "sdlogj", "tre_mm", *COSTS)


LABELS = ("fixed_labels", "moving_labels")


@dataclass(frozen=True)
class _Labels:
    """A label file as a word of a method; ``{…:1,3}`` is a copy with these labels only."""

    path: Path
    folder: Path

    def __format__(self, wanted: str) -> str:
        if not wanted:
            return str(self.path.resolve())
        labels = read_labels(self.path)
        some = self.folder / f"{self.path.name.split('.')[0]}-{wanted.replace(',', '-')}.nii.gz"
        kept = np.where(np.isin(labels.array, [int(n) for n in wanted.split(",")]), labels.array, 0)
        write_labels(LabelMap(kept, labels.geometry), some)
        return str(some.resolve())


@dataclass(frozen=True)
class Score:
    """One pair by one method. lost: labels that vanished (their Dice counts 0, they have no HD95)."""

    case: str
    dice: float
    hd95_mm: float
    lost: int
    folds_percent: float
    sdlogj: float
    tre_mm: float
    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(method: str, case: Mapping[str, str], base: Path, out: Path, kind: str) -> dict[str, float]:
    """Run a method on a case in a child process, unless its field is there; returns what it cost."""
    cost = out / "cost.json"
    if cost.exists():
        return json.loads(cost.read_text())
    out.mkdir(parents=True, exist_ok=True)
    images = [str((base / case[role]).resolve()) for role in ("fixed", "moving")]
    field = str((out / "field.nii.gz").resolve())
    words = shlex.split(method.format_map({role: _Labels(base / name, out) for role, name in case.items() if role in LABELS}))
    if words[0] == "jrs":
        options = ["-o", str((out / "jrs").resolve()), "--exist", "overwrite", "--write-field", field, "-q"]
        command = [sys.executable, "-m", "jrscli", "register", *images, *words[1:], *options]
    else:
        python = os.environ.get("JRS_PEERS_PYTHON", sys.executable)
        command = [python, str(Path(__file__).with_name("peers.py")), words[0], *images, field, kind]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    began = time.perf_counter()
    with (out / "log.txt").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    found = {
        "returncode": child.returncode,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    cost.write_text(json.dumps(found))
    return found


def score(case: Mapping[str, object], base: Path, out: Path, cost: Mapping[str, float]) -> Score:
    """Score what a method left in its folder; a run without a field scores Dice 0."""

    def path(role: str) -> Path:
        return base / str(case[role])

    ids = [int(label) for label in case["label_ids"]]  # type: ignore[attr-defined]
    costs = {name: float(cost[name]) for name in COSTS}
    nan = float("nan")
    if not (out / "field.nii.gz").exists():
        return Score(str(case["id"]), 0.0, nan, len(ids), nan, nan, nan, **costs)
    field = read_field(out / "field.nii.gz")
    fixed, moving = read_labels(path("fixed_labels")), read_labels(path("moving_labels"))
    moved = resample_labels(moving, fixed.geometry, Transform((field,)))
    overlaps, distances, lost = [], [], 0
    for label in ids:
        reference, test = fixed.array == label, moved.array == label
        overlaps.append(dice(count(reference, test)).value or 0.0)
        far = hd95(surface_distances(reference, test, fixed.geometry.spacing_mm)).value
        if far is None:
            lost += 1
        else:
            distances.append(far)
    roi = read_labels(path("roi")).array > 0
    jacobian = field.jacobian()[roi]
    tre = nan
    if "true_field" in case:
        tre = float(np.linalg.norm(field.array - read_field(path("true_field")).array, axis=-1)[roi].mean())
    smooth = float(np.log(np.clip(jacobian, 1e-3, 1e3)).std())
    far_mean = float(np.mean(distances)) if distances else nan
    folds = 100 * float((jacobian <= 0).mean())
    return Score(str(case["id"]), float(np.mean(overlaps)), far_mean, lost, folds, smooth, tre, **costs)


def table(title: str, scores: Mapping[str, list[Score]]) -> str:
    """A Markdown table: means over the cases, the worst Dice, medians of the costs, the difference from the first method."""
    lines = [
        f"\n### {title}, {len(next(iter(scores.values())))} pairs\n",
        "| method | Dice | worst | first − this (95 %) | least of a pair | HD95 mm "
        "| lost | folds % | SDlogJ | TRE mm | s | cpu s | MB |",
        "|---" * 13 + "|",
    ]
    first = np.array([s.dice for s in next(iter(scores.values()))])
    for method, rows in scores.items():
        said = means(rows)
        gap = first - np.array([row.dice for row in rows])
        interval = bootstrap_interval(gap) if gap.any() else None
        versus = f"{gap.mean():+.3f} ({interval[0]:+.3f} … {interval[1]:+.3f})" if interval else ""
        least = f"{gap.min():+.3f}" if gap.any() else ""
        tre = f"{said['tre_mm']:.3f}" if np.isfinite(said["tre_mm"]) else ""
        lines.append(
            f"| {method} | {said['dice']:.4f} | {said['worst']:.3f} | {versus} | {least} | {said['hd95_mm']:.2f} "
            f"| {int(said['lost'])} | {said['folds_percent']:.4f} | {said['sdlogj']:.3f} | {tre} "
            f"| {said['seconds']:.1f} | {said['cpu_seconds']:.1f} | {said['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def means(rows: Sequence[Score]) -> dict[str, float]:
    """What `table` says of one method: means, the worst Dice, all labels lost, medians of the costs; NaN where nothing was."""
    found: dict[str, float] = {}
    for name in COLUMNS:
        values = np.array([getattr(row, name) for row in rows], float)
        known = values[np.isfinite(values)]
        how = np.sum if name == "lost" else np.median if name in COSTS else np.mean
        found[name] = float(how(known)) if len(known) else float("nan")
    return {"pairs": len(rows), "worst": min(row.dice for row in rows), **found}


def keep(path: Path, kept: Mapping[str, Mapping[str, list[Score]]]) -> None:
    """The means of every set and method as CSV; rows of other sets that are in the file stay."""
    head = ["set", "method", "pairs", "worst", *COLUMNS]
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["set"] not in kept]
    for name, scores in kept.items():
        for method, one in scores.items():
            values = {key: "" if np.isnan(value) else f"{value:.4f}" for key, value in means(one).items()}
            rows.append({"set": name, "method": method, **values, "pairs": str(len(one))})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, head, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


Runner = Callable[[Mapping[str, Any], Path, Path, str], Mapping[str, float]]
"""Runs a case: (case, its base folder, where the field goes, kind of linear start) -> what it cost."""


def compare(
    pairs: Path,
    out: Path,
    runners: Mapping[str, Runner],
    *,
    sets: Sequence[str] | None = None,
    cases: slice = slice(None),
    labels: Sequence[int] | None = None,
) -> dict[str, dict[str, list[Score]]]:
    """Run, score and print one table per set; the runners' names are its rows and their folders below ``out``."""
    every: dict[str, dict[str, list[Score]]] = {}
    for manifest in sorted(pairs.glob("*/manifest.json")):
        base = manifest.parent
        if sets and base.name not in sets:
            continue
        facts = json.loads(manifest.read_text())
        scores: dict[str, list[Score]] = {name: [] for name in runners}
        for case in facts["cases"][cases]:
            case["label_ids"] = [n for n in case["label_ids"] if labels is None or n in labels]
            for name, runner in runners.items():  # side by side, so that a busy hour is busy for everybody
                folder = out / base.name / _plain(name) / _plain(case["id"])
                found = score(case, base, folder, runner(case, base, folder, facts["start"]))
                (folder / "score.json").write_text(json.dumps(asdict(found)))
                scores[name].append(found)
        sys.stdout.write(table(base.name, scores) + "\n")
        sys.stdout.flush()
        every[base.name] = scores
    return every


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def _runner(method: str) -> Runner:
    return lambda case, base, folder, kind: run(method, case, base, folder, kind)


def main() -> None:
    """Run, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--method", action="append", required=True)
    parser.add_argument("--set", action="append", help="only these folders")
    parser.add_argument("--cases", type=int, help="only the first N of each set")
    parser.add_argument("--score", type=int, action="append", help="only these labels")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where fields and scores are kept")
    parser.add_argument("--keep", type=Path, help="a CSV file for the rows of the tables")
    given = parser.parse_args()
    runners = {method: _runner(method) for method in given.method}
    found = compare(given.pairs, given.out, runners, sets=given.set, cases=slice(given.cases), labels=given.score)
    if given.keep:
        keep(given.keep, found)


if __name__ == "__main__":
    main()

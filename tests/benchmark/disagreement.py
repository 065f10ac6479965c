"""Does the disagreement of two estimates find the wrong contours? ROC, per organ and over all, where the truth is known.

    python tests/benchmark/disagreement.py PAIRS --set openkbp --set fraction --model CARD -o runs/disagreement
    python tests/benchmark/disagreement.py PAIRS --set fraction-validation --model CARD -o runs/shares --shares

PAIRS holds folders with a ``manifest.json`` (as for compare_pairs.py), labels numbered as in the model's card. In each pair
the model carries the labels of the moving image and finds its own in the fixed one, as ``jrs propagate-contours`` does it;
a carried contour is wrong where its Dice against the drawn one is below --wrong. What is looked at is 1 − Dice of the
carried and the found contour, which needs no truth. A case that is done is not done again. ``disagreement.csv`` has a line
per contour, ``disagreement.png`` the curves. --shares: the Dice of fused contours too, by the share of the model's (0 … 1),
to choose the key ``fusion`` of a card. --agreement prints its key ``agreement``: below it lie 5 % of the right contours of each
organ, so that of the patients whose seven contours are right one in three is doubted. --leave-out 2:pt_283 leaves label 2 out
in cases whose name has pt_283: drawn labels can be wrong, too.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
FALSE_ALARMS = 0.2
DOUBTED = 0.05
"""The share of right contours that the gate of a card may doubt."""
ALL = "all organs"
Line = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """How well a score tells wrong contours from right ones: the larger the score, the more suspect.

    alarms, found: the shares of right contours that are suspected and of wrong ones that are found, threshold by threshold from
    (0, 0) to (1, 1). thresholds: the scores from which on a contour is suspected, one for each point after the first.
    """

    alarms: np.ndarray
    found: np.ndarray
    thresholds: np.ndarray
    wrong: int
    right: int

    @property
    def area(self) -> float:
        """Of the curve: how often a wrong contour has the larger score of a wrong and a right one, ties by half."""
        return float(((self.found[1:] + self.found[:-1]) / 2 * np.diff(self.alarms)).sum())

    def at(self, alarms: float = FALSE_ALARMS) -> tuple[float, float]:
        """(the largest share of wrong contours found with at most so many false alarms, the threshold for it)."""
        best = int(np.flatnonzero(self.alarms <= alarms + 1e-12)[-1])
        return float(self.found[best]), float("inf") if not best else float(self.thresholds[best - 1])

    def beyond(self, threshold: float) -> tuple[float, float]:
        """(share of wrong contours found, false alarms) where a contour with a score above the threshold is suspected."""
        count = int((self.thresholds > threshold).sum())
        return float(self.found[count]), float(self.alarms[count])


def curve_of(scores: Sequence[float], wrong: Sequence[bool]) -> Curve | None:
    """The ROC curve; None where all contours are right, or all wrong."""
    score, bad = np.asarray(scores, float), np.asarray(wrong, bool)
    if not bad.any() or bad.all():
        return None
    thresholds = np.unique(score)[::-1]
    found = np.array([0.0, *(float((score[bad] >= t).mean()) for t in thresholds)])
    alarms = np.array([0.0, *(float((score[~bad] >= t).mean()) for t in thresholds)])
    return Curve(alarms, found, thresholds, int(bad.sum()), int((~bad).sum()))


def curves_of(lines: Sequence[Line], wrong: float, of: str = "carried") -> dict[str, Curve | None]:
    """The curve of each organ, and before them that of all together."""
    organs = dict.fromkeys(line["organ"] for line in lines)
    groups = {ALL: list(lines), **{organ: [line for line in lines if line["organ"] == organ] for organ in organs}}
    return {
        name: curve_of([1 - float(one["agreement"]) for one in group], [float(one[f"{of}_dice"]) < wrong for one in group])
        for name, group in groups.items()
    }


def table(lines: Sequence[Line], wrong: float, of: str, gate: float) -> str:
    """A Markdown table of the curves."""
    cases = len({line["case"] for line in lines})
    out = [
        f"\n### {cases} pairs, {of} contours with a Dice below {wrong:g}, suspected by 1 − Dice of both estimates\n",
        f"| organ | contours | wrong | area under the curve | found at ≤ {FALSE_ALARMS:.0%} false alarms | suspected: Dice "
        f"of both below | gate (below {gate:g}): found, false alarms | Dice carried | Dice network |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, curve in curves_of(lines, wrong, of).items():
        group = [line for line in lines if name in (ALL, line["organ"])]
        means = [f"{np.mean([float(one[key]) for one in group]):.3f}" for key in ("carried_dice", "network_dice")]
        if curve is None:
            bad = sum(float(one[f"{of}_dice"]) < wrong for one in group)
            out.append(f"| {name} | {len(group)} | {bad} | | | | | {means[0]} | {means[1]} |")
            continue
        found, threshold = curve.at()
        caught, alarms = curve.beyond(1 - gate)
        out.append(
            f"| {name} | {len(group)} | {curve.wrong} | {curve.area:.3f} | {found:.2f} | {1 - threshold:.3f} "
            f"| {caught:.2f}, {alarms:.2f} | {means[0]} | {means[1]} |"
        )
    return "\n".join(out)


def shares_table(lines: Sequence[Line]) -> str:
    """A Markdown table: the mean Dice of each organ's fused contour by the share of the model's."""
    shares = [0.0, *SHARES]
    out = ["\n| organ | " + " | ".join(f"share {share:g}" for share in shares) + " | best |", "|---" * (len(shares) + 2) + "|"]
    for organ in dict.fromkeys(line["organ"] for line in lines):
        group = [line for line in lines if line["organ"] == organ]
        means = [float(np.mean([float(one["carried_dice" if not w else f"fused_{w:g}"]) for one in group])) for w in shares]
        best = shares[int(np.argmax(means))]
        out.append(f"| {organ} | " + " | ".join(f"{mean:.4f}" for mean in means) + f" | {best:g} |")
    return "\n".join(out)


def agreement_words(lines: Sequence[Line], wrong: float) -> str:
    """The key ``agreement`` of a card: of each organ the Dice below which few of the right contours lie."""
    limits = {}
    for organ in dict.fromkeys(line["organ"] for line in lines):
        right = [float(line["agreement"]) for line in lines if line["organ"] == organ and float(line["carried_dice"]) >= wrong]
        if right:
            limits[organ] = np.floor(100 * np.quantile(right, DOUBTED)) / 100
    return "agreement: {" + ", ".join(f"{organ}: {least:.2f}" for organ, least in limits.items()) + "}"


def doubts_table(lines: Sequence[Line], wrong: float, limits: Mapping[str, float]) -> str:
    """A Markdown table: how many carried contours the limits of a card (`agreement`) doubt, set by set."""
    out = ["\n| set | wrong | doubted | right | doubted | cases with a right one doubted |", "|---" * 6 + "|"]
    for name in dict.fromkeys(line["set"] for line in lines):
        group = [line for line in lines if line["set"] == name and line["organ"] in limits]
        doubted = [line for line in group if float(line["agreement"]) < limits[line["organ"]]]
        bad, seen = ([line for line in some if float(line["carried_dice"]) < wrong] for some in (group, doubted))
        right = [line for line in doubted if float(line["carried_dice"]) >= wrong]
        cases = f"{len({line['case'] for line in right})} of {len({line['case'] for line in group})}"
        out.append(f"| {name} | {len(bad)} | {len(seen)} | {len(group) - len(bad)} | {len(right)} | {cases} |")
    return "\n".join(out)


def draw(lines: Sequence[Line], wrong: float, of: str, path: Path) -> None:
    """The picture of all curves that there are."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(5.6, 5.2), layout="constrained")
    for name, curve in curves_of(lines, wrong, of).items():
        if curve is not None:
            words = f"{name}: {curve.area:.2f} ({curve.wrong} of {curve.wrong + curve.right} wrong)"
            style: dict[str, Any] = {"color": "black", "linewidth": 2.4} if name == ALL else {"linewidth": 1.2, "alpha": 0.8}
            panel.plot(100 * curve.alarms, 100 * curve.found, label=words, **style)
    panel.plot([0, 100], [0, 100], color="0.8", linewidth=0.8, zorder=0)
    panel.axvline(100 * FALSE_ALARMS, color="0.6", linestyle=":", linewidth=1)
    panel.set_xlabel("right contours that are suspected, %")
    panel.set_ylabel(f"wrong contours (Dice < {wrong:g}) that are found, %")
    panel.set_aspect("equal")
    panel.legend(loc="lower right", fontsize=8, title="area under the curve", title_fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def measure(case: Mapping[str, Any], base: Path, predictor: Any, refine: int | None, *, shares: bool) -> list[Line]:
    """A line per organ that is drawn in both images of the pair."""
    from jrscli.io import read_image, read_labels
    from jrscli.io.tolerances import read_tolerances
    from jrscli.metrics.overlap import count, dice
    from jrscli.workflows.fuse import fuse
    from jrscli.workflows.propagate import propagate
    from jrscli.workflows.second_estimate import second_estimate
    from jrscli.workflows.segment_by_model import segment_by_model, segmentation_of

    fixed, moving = (read_image(base / case[role]).volume for role in ("fixed", "moving"))
    truth, source = (read_labels(base / case[f"{role}_labels"]) for role in ("fixed", "moving"))
    source = type(source)(source.array, source.geometry, dict(enumerate(predictor.card.labels[1:], start=1)))
    began = time.perf_counter()
    carried = propagate(moving, source, fixed, model=predictor, refine=refine, body="propagate")
    seen = carried.registration.seen if predictor.segmenting is None else None
    found = segment_by_model(fixed, predictor) if seen is None else segmentation_of(seen, fixed, predictor)
    second = second_estimate(carried, found, read_tolerances())
    seconds = time.perf_counter() - began
    rows = {one.number: one for one in second.organs if one.row is not None}

    def against_truth(labels: Any, number: int) -> float:
        return dice(count(truth.mask(number), labels.mask(number))).value or 0.0

    names = predictor.card.labels[1:]
    fused = {w: fuse(carried, found, second, dict.fromkeys(names, w)).labels for w in SHARES} if shares else {}
    lines = []
    for number in case["label_ids"]:
        one = rows.get(number)
        lines.append(
            {
                "case": case["id"],
                "number": number,
                "organ": predictor.card.labels[number],
                "agreement": (one.value("dice.v1") if one else None) or 0.0,
                "agreement_msd_mm": one.value("msd.v1") if one else None,
                "carried_dice": against_truth(carried.labels, number),
                "network_dice": against_truth(found.labels, number),
                **{f"fused_{w:g}": against_truth(labels, number) for w, labels in fused.items()},
                "seconds": round(seconds, 2),
            }
        )
    return lines


def done_once(path: Path, facts: Mapping[str, Any], make: Callable[[], list[Line]]) -> list[Line]:
    """What is kept in a file, if it was made with these facts; else it is made, and kept."""
    if path.exists():
        kept = json.loads(path.read_text("utf-8"))
        if kept["facts"] == dict(facts):
            return list(kept["lines"])
    lines = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"facts": dict(facts), "lines": lines}, indent=1), "utf-8")
    partial.replace(path)
    return lines


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """One line per contour."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)))
        writer.writeheader()
        writer.writerows(lines)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--set", action="append", help="only these folders")
    parser.add_argument("--cases", type=int, help="only the first N of each set")
    parser.add_argument("--model", required=True, help="name or card")
    parser.add_argument("--refine", type=int, help="steps of refinement [as the card says]")
    parser.add_argument("--of", choices=("carried", "network"), default="carried", help="which contours are to be judged")
    parser.add_argument("--wrong", type=float, default=0.7, help="a contour with a lower Dice is wrong [0.7]")
    parser.add_argument("--gate", type=float, default=0.85, help="the Dice of both below which the gate suspects [0.85]")
    parser.add_argument("--leave-out", action="append", default=[], metavar="LABEL:WORD", help="labels of cases named so")
    parser.add_argument("--shares", action="store_true", help="fused contours too")
    parser.add_argument("--agreement", action="store_true", help="print the limits for a card")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="where the picture goes [disagreement.png in --out]")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    from jrscli.runtime.predict import Predictor
    from jrscli.runtime.store import find_model

    model = find_model(given.model)
    predictor = Predictor(model, device="cpu", threads=given.threads)
    facts = {"model": model.sha256, "refine": given.refine, "shares": given.shares}
    lines: list[Line] = []
    for manifest in sorted(given.pairs.glob("*/manifest.json")):
        base = manifest.parent
        if given.set and base.name not in given.set:
            continue
        for case in json.loads(manifest.read_text("utf-8"))["cases"][: given.cases]:

            def make(case: Mapping[str, Any] = case, base: Path = base) -> list[Line]:
                return measure(case, base, predictor, given.refine, shares=given.shares)

            path = given.out / base.name / f"{case['id']}.json"
            found = done_once(path, facts, make)
            lines += [{"set": base.name, **line} for line in found]
            sys.stderr.write(f"{base.name} {case['id']}: {min((one['agreement'] for one in found), default=0):.2f} at least\n")
    left_out = [word.partition(":") for word in given.leave_out]
    lines = [
        line for line in lines if not any(str(line["number"]) == label and word in line["case"] for label, _, word in left_out)
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(lines, given.out / "disagreement.csv")
    sys.stdout.write(table(lines, given.wrong, given.of, given.gate) + "\n")
    if given.shares:
        sys.stdout.write(shares_table(lines) + "\n")
    if model.card.agreement:
        sys.stdout.write(doubts_table(lines, given.wrong, model.card.agreement) + "\n")
    if given.agreement:
        sys.stdout.write(agreement_words(lines, given.wrong) + "\n")
    draw(lines, given.wrong, given.of, given.picture or given.out / "disagreement.png")


if __name__ == "__main__":
    main()

"""What each choice of the deformable stage is worth: the same pairs by plans that differ in one setting.

    python tests/benchmark/ablation.py PAIRS --set hippocampus --every 2 --plan "" --plan both_ways=False -o runs

PAIRS is laid out as for compare_pairs.py. A plan is the settings of `jrscli.engine.diffeomorphic.Plan` that differ from
those of the preset, with commas between (``smoothness=0.15,update_sigma=2.0``); "" is the preset itself. The linear stage is
run once for each pair, all plans start from it; cpu seconds are those of what follows it, on one thread.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from compare_pairs import Runner, compare

import jrscli.engine  # noqa: F401  (before torch: it asks for threads that wait quietly)

# isort: split
import torch

from jrscli.engine import pair
from jrscli.engine.diffeomorphic import Plan
from jrscli.engine.linear import LinearResult
from jrscli.io import read_image
from jrscli.io.transforms import write_field
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform


def changes_of(words: str) -> dict[str, Any]:
    """``a=1,b=(2, 3)`` as keywords."""
    call = ast.parse(f"Plan({words})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}


def run(
    case: Mapping[str, Any], base: Path, plan: str, preset: str, linear: dict[str, LinearResult], out: Path
) -> Mapping[str, float]:
    """Register a case by one plan, leave its field in ``out`` unless it is there, and return what it cost."""
    kept = out / "cost.json"
    if kept.exists():
        return json.loads(kept.read_text())
    out.mkdir(parents=True, exist_ok=True)
    fixed, moving = (read_image(base / case[role]).volume for role in ("fixed", "moving"))
    planned, changes = pair.Effort.plan, changes_of(plan)

    def changed(self: pair.Effort, grid: Geometry) -> Plan:
        return replace(planned(self, grid), **changes)

    key = f"{base.name}/{case['id']}"
    if key not in linear:
        linear[key] = pair.optimise(fixed, moving, linear_only=True).linear
    before = time.process_time()
    with patch.object(pair.Effort, "plan", changed), patch.object(pair, "align", lambda *_, **__: linear[key]):
        found = pair.optimise(fixed, moving, preset=preset)
    seconds = time.process_time() - before
    assert found.displacement is not None
    write_field(Transform((found.displacement, found.linear.affine)).displacement(fixed.geometry), out / "field.nii.gz")
    cost = {"seconds": seconds, "cpu_seconds": seconds, "peak_mb": float("nan")}
    kept.write_text(json.dumps(cost))
    return cost


def main() -> None:
    """Run, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--plan", action="append", required=True)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--set", action="append", help="only these folders")
    parser.add_argument("--every", type=int, default=1, help="only every Nth pair")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where fields and scores are kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    linear: dict[str, LinearResult] = {}

    def runner(plan: str) -> Runner:
        return lambda case, base, folder, _: run(case, base, plan, given.preset, linear, folder)

    runners = {f"{given.preset} {plan}".strip(): runner(plan) for plan in given.plan}
    compare(given.pairs, given.out, runners, sets=given.set, cases=slice(given.first, None, given.every))


if __name__ == "__main__":
    main()

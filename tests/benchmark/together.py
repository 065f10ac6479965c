"""Each recipe beside itself with a part left out: several seeds, one training each, all by `jrs train`.

    python tests/benchmark/together.py DATA --method ddir --seeds 3 -o runs
    python tests/benchmark/together.py DATA --keep docs/methods/runs -o runs --most 0

docs/methods/together.yaml says which ways of training each recipe are compared. DATA holds the sets' folders. Every training
has a folder of its own, runs/METHOD-WAY-SEED: one that was stopped goes on where it was, one that is done is left alone. --keep
copies the validations, every tenth of the watched numbers and the settings of those that are done, from which
docs/make_methods.py makes its table and its pictures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from trained import keep_log

ROOT = Path(__file__).parents[2]
LIST = ROOT / "docs" / "methods" / "together.yaml"
DONE = "done"


@dataclass(frozen=True)
class Cell:
    """One training."""

    method: str
    way: str
    seed: int
    words: tuple[str, ...]
    folder: str

    @property
    def name(self) -> str:
        return f"{self.method}-{self.way.replace(' ', '-')}-{self.seed}"


def cells(listed: dict[str, Any], methods: list[str], ways: list[str], seeds: int) -> Iterator[Cell]:
    """All that are wanted, the first seed of everything before the second of anything; shipped models are trained already."""
    for seed in range(seeds):
        for method in methods or list(listed):
            one = listed[method]
            given = (f"configs/{one['data']}.yaml", "--config", f"configs/{one['config']}.yaml")
            for way, what in one["ways"].items():
                if (not ways or way in ways) and not (seed == 0 and "model" in what):
                    sets = [word for setting in what.get("set", []) for word in ("--set", setting)]
                    yield Cell(method, way, seed, (*given, *sets), one.get("folder", ""))


def run(cell: Cell, data: Path, out: Path) -> None:
    """Train it, or go on."""
    folder = out / cell.name
    words = [sys.executable, "-m", "jrscli", "train", cell.method, *cell.words, "--seed", str(cell.seed), "-o", str(folder)]
    words += ["--root", str(data / cell.folder)] if cell.folder else []
    words += ["--resume"] if (folder / "checkpoint.pt").exists() else []
    settings = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run([*words, "--threads", "1", "--progress", "none"], cwd=ROOT, env=settings, check=False)
    if done.returncode == 0:
        (folder / DONE).touch()


def keep(cell: Cell, out: Path, kept: Path) -> bool:
    """Whether it is done; its validations and settings are then in ``kept``."""
    folder = out / cell.name
    if not (folder / DONE).exists():
        return False
    keep_log(folder, kept / f"{cell.name}.csv")
    (kept / f"{cell.name}.yaml").write_text((folder / "config.yaml").read_text("utf-8"), "utf-8")
    return True


def main() -> None:
    """Train what is not done, then say what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--method", nargs="*", default=[])
    parser.add_argument("--way", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=1000, help="trainings to run at most now")
    parser.add_argument("--keep", type=Path, help="folder for the validations of those that are done")
    chosen = parser.parse_args()
    wanted = list(cells(yaml.safe_load(LIST.read_text("utf-8")), chosen.method, chosen.way, chosen.seeds))
    left = [cell for cell in wanted if not (chosen.out / cell.name / DONE).exists()]
    for cell in left[: chosen.most]:
        run(cell, chosen.data, chosen.out.resolve())
    for cell in wanted:
        done = keep(cell, chosen.out, chosen.keep) if chosen.keep else (chosen.out / cell.name / DONE).exists()
        sys.stdout.write(f"{cell.name}: {'done' if done else 'not run'}\n")


if __name__ == "__main__":
    main()

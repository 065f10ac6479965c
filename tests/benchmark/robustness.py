"""How well `jrs register` stands up to wrong headers and unrelated images, and how well its inverse is one.

    python tests/benchmark/robustness.py headers PAIRS -o runs
    python tests/benchmark/robustness.py unrelated PAIRS -o runs
    python tests/benchmark/robustness.py inverse PAIRS -o runs

PAIRS is a folder as for compare_pairs.py. Every run is a child process on one thread; what is there already is not computed
again. `headers` turns the moving image's header by up to 20° and shifts it by up to 40 mm at random (nothing is resampled) and
compares the Dice with that of the untouched pair. `unrelated` registers images of different sets in both orders, each of which
should end with exit code 3. `inverse` composes the saved transforms of a few pairs in both orders, measures in voxels of the
fixed image how far points of the roi end from where they were, and lets `jrs warp` carry points.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from compare_pairs import run, score  # beside this file
from scipy.spatial.transform import Rotation

from jrscli.io import read_image, read_labels, write_image, write_labels
from jrscli.io.points import read_points, write_points
from jrscli.io.transforms import read_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

DEGREES, MILLIMETRES = 20.0, 40.0
UNRELATED = [("hippocampus", "openkbp"), ("acdc", "openkbp"), ("hippocampus", "acdc"), ("hippocampus", "fraction")]
FORWARD, BACKWARD = "from-moving_to-fixed_mode-image_xfm.h5", "from-fixed_to-moving_mode-image_xfm.h5"


def row(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def random_rigid(
    seed: Sequence[int], centre_mm: np.ndarray, degrees: tuple[float, float], millimetres: tuple[float, float]
) -> AffineTransform:
    """A turn about a random axis through the centre and a shift in a random direction, each of a size in its range."""
    rng = np.random.default_rng(seed)
    axis, way = rng.normal(size=(2, 3))
    turn = Rotation.from_rotvec(np.radians(rng.uniform(*degrees)) * axis / np.linalg.norm(axis))
    return AffineTransform.about(turn.as_matrix(), centre_mm, rng.uniform(*millimetres) * way / np.linalg.norm(way))


def elsewhere(geometry: Geometry, map_: AffineTransform) -> Geometry:
    """The same voxels where ``map_`` takes them."""
    return Geometry(geometry.shape, map_.matrix @ geometry.affine)


def pairs_of(folder: Path, name: str) -> tuple[Path, dict]:
    """A set's folder and what its manifest says."""
    return folder / name, json.loads((folder / name / "manifest.json").read_text())


def sets_of(folder: Path, only: Sequence[str] | None) -> list[str]:
    """The sets that are there, or those of them that are asked for."""
    return [path.parent.name for path in sorted(folder.glob("*/manifest.json")) if not only or path.parent.name in only]


def plain(name: str) -> str:
    """A name that can be a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def headers(given: argparse.Namespace) -> None:
    """The Dice of every start beside that of the untouched pair."""
    row("| set | pair | header as it is | worst start | mean | largest difference | within 0.02 | reported as failed |")
    row("|---|---|---|---|---|---|---|---|")
    for name in sets_of(given.pairs, given.set):
        base, facts = pairs_of(given.pairs, name)
        for case in facts["cases"][: given.cases]:
            out = given.out / "headers" / name / plain(case["id"])
            dice, codes = [], []
            for number in range(-1, given.starts):
                moved = case if number < 0 else _moved(case, base, out / f"moving{number}", number)
                folder = out / ("untouched" if number < 0 else str(number))
                cost = run(given.method, moved, base, folder, facts.get("start", "affine"))
                dice.append(score(moved, base, folder, cost).dice)
                codes.append(int(cost["returncode"]))
            gaps = np.array(dice[1:]) - dice[0]
            row(
                f"| {name} | {case['id']} | {dice[0]:.4f} | {min(dice[1:]):.4f} | {np.mean(dice[1:]):.4f} "
                f"| {gaps[np.abs(gaps).argmax()]:+.4f} | {int((np.abs(gaps) <= 0.02).sum())} of {len(gaps)} "
                f"| {sum(code == 3 for code in codes[1:])} |",
            )


def _moved(case: Mapping[str, str], base: Path, out: Path, number: int) -> dict[str, object]:
    """The case with a moving image and labels whose header puts them elsewhere."""
    out.mkdir(parents=True, exist_ok=True)
    image, labels = read_image(base / case["moving"]).volume, read_labels(base / case["moving_labels"])
    map_ = random_rigid([number], image.geometry.centre_mm, (0, DEGREES), (0, MILLIMETRES))
    paths = {role: out.resolve() / f"{role}.nii.gz" for role in ("moving", "moving_labels")}
    write_image(Volume(image.array, elsewhere(image.geometry, map_)), paths["moving"])
    write_labels(LabelMap(labels.array, elsewhere(labels.geometry, map_), labels.names), paths["moving_labels"])
    # the true field speaks of the untouched header
    return {**{k: v for k, v in case.items() if k != "true_field"}, **{role: str(path) for role, path in paths.items()}}


def unrelated(given: argparse.Namespace) -> None:
    """The exit code of pairs that do not belong together, both orders."""
    row("| fixed | moving | exit code | what it said |")
    row("|---|---|---|---|")
    for pair in UNRELATED:
        for one, other in (pair, pair[::-1]):
            if not (given.pairs / one).exists() or not (given.pairs / other).exists():
                continue
            roles = {"fixed": one, "moving": other}
            for number in range(given.cases):
                places = {role: pairs_of(given.pairs, name) for role, name in roles.items()}
                images = {
                    role: str((base / facts["cases"][number % len(facts["cases"])]["fixed"]).resolve())
                    for role, (base, facts) in places.items()
                }
                out = given.out / "unrelated" / f"{one}-{other}-{number}"
                cost = run(given.method, images, given.pairs, out, "affine")
                said = [line for line in (out / "log.txt").read_text().splitlines() if line.startswith("error:")]
                row(f"| {one} | {other} | {int(cost['returncode'])} | {said[0] if said else ''} |")


def inverse(given: argparse.Namespace) -> None:
    """Where points of the roi end after both saved transforms, and whether `jrs warp` agrees with the saved inverse."""
    row("| set | pairs | inverse, then field: mean, largest | field, then inverse: mean, p99, largest | `jrs warp`: mm off |")
    row("|---|---|---|---|---|")
    for name in sets_of(given.pairs, given.set):
        base, facts = pairs_of(given.pairs, name)
        rows = []
        for case in facts["cases"][: given.cases]:
            out = given.out / "inverse" / name / plain(case["id"])
            run(given.method, case, base, out, facts.get("start", "affine"))
            forward, backward = (read_transform(out / "jrs" / each) for each in (FORWARD, BACKWARD))
            roi = read_labels(base / case["roi"])
            index = np.argwhere(roi.array > 0)[:: given.every].astype(float)
            points = roi.geometry.index_to_world(index)
            linear = forward.parts[-1]
            there = backward.map_points(linear.map_points(points))
            first = roi.geometry.world_to_index(linear.inverse().map_points(forward.map_points(there))) - index
            second = roi.geometry.world_to_index(backward.map_points(forward.map_points(points))) - index
            one, other = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
            said = _by_command(forward, backward, points[:500], out)
            rows.append((one.mean(), one.max(), other.mean(), np.percentile(other, 99), other.max(), said))
        mean, _, other_mean, *_ = np.array(rows).mean(0)
        _, most, _, p99, other_most, said = np.array(rows).max(0)
        row(f"| {name} | {len(rows)} | {mean:.4f}, {most:.3f} | {other_mean:.4f}, {p99:.3f}, {other_most:.3f} | {said:.5f} |")


def _by_command(forward: object, backward: object, points: np.ndarray, out: Path) -> float:
    """The largest distance between points that ``jrs warp --inverse`` moved and the same points through the saved inverse.

    ``--inverse`` takes points of FIXED to MOVING, which is the forward pull; without it points go from MOVING to FIXED.
    """
    most = 0.0
    for words, expected in (["--inverse"], forward), ([], backward):
        source = out / "points.csv"
        write_points(points, ("",) * len(points), source)
        target = out / f"points{len(words)}"
        command = [sys.executable, "-m", "jrscli", "warp", str(source), "--xfm", str(out / "jrs" / FORWARD), *words]
        subprocess.run([*command, "-o", str(target), "--exist", "overwrite", "-q"], check=True, stdout=subprocess.DEVNULL)
        found, _ = read_points(next(target.glob("points*.csv")))
        most = max(most, float(np.linalg.norm(found - expected.map_points(points), axis=1).max()))  # type: ignore[attr-defined]
    return most


def main() -> None:
    """Run one of the three and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"headers": headers, "unrelated": unrelated, "inverse": inverse}
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--method", default="jrs --model none", help="jrs with any options of jrs register")
    parser.add_argument("--set", action="append", help="only these folders")
    parser.add_argument("--cases", type=int, default=1, help="the first N pairs of each set")
    parser.add_argument("--starts", type=int, default=10, help="headers: how many")
    parser.add_argument("--every", type=int, default=7, help="inverse: every n-th voxel of the roi")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where results are kept")
    given = parser.parse_args()
    kinds[given.kind](given)


if __name__ == "__main__":
    main()

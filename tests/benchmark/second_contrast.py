"""A set of pairs whose moving images are in another contrast (simulated), for compare_pairs.py.

    python tests/benchmark/second_contrast.py PAIRS/fraction models/hn-jssr.yaml -o PAIRS2/fraction-contrast

The grey values of each moving image, within the window of the model's card, go through the curve that was simulated in its
training (`training.simulated.fractions.Contrast`), with noise and gain of their own; all else is linked.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from jrscli.io import read_image, write_image
from jrscli.roles import SYNTHESIS
from jrscli.runtime.card import Card
from jrscli.spatial.volume import Volume
from jrscli.training.simulated.fractions import Contrast, recoloured

SEED = 5000


def main() -> None:
    """Write the images that are new, and the list."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("pairs", type=Path)
    words.add_argument("card", type=Path)
    words.add_argument("-o", "--out", type=Path, required=True)
    given = words.parse_args()
    card = Card.read(given.card)
    window = card.graphs[SYNTHESIS].inputs["moving"].window
    if window is None or window.values is None or card.trained is None:
        raise SystemExit("a model with a synthesis and a window of scanner units is needed")
    low, high = window.values
    told = {key.removeprefix("contrast."): n for key, n in card.trained.simulation.items() if key.startswith("contrast.")}
    curve = tuple(value for key, value in told.items() if key.startswith("curve."))
    contrast = Contrast(curve=curve, gain=told["gain"], noise=told["noise"])
    manifest = json.loads((given.pairs / "manifest.json").read_text("utf-8"))
    given.out.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(manifest["cases"]):
        for key in ("fixed", "fixed_labels", "moving_labels", "roi", "true_field"):
            if key in case and not (given.out / case[key]).exists():
                (given.out / case[key]).symlink_to((given.pairs / case[key]).resolve())
        moving = read_image(given.pairs / case["moving"]).volume
        unit = torch.from_numpy((moving.array[None] - low) / (high - low)).float().clamp(0, 1)
        made = recoloured(unit, contrast, torch.Generator().manual_seed(SEED + number))[0].numpy()
        write_image(Volume(low + (high - low) * made, moving.geometry), given.out / case["moving"])
    manifest["set"] = given.out.name
    (given.out / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
    sys.stdout.write(f"{len(manifest['cases'])} pairs in {given.out}\n")


if __name__ == "__main__":
    main()

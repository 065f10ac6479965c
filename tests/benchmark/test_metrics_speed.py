"""Time and memory of every metric on a whole CT, beside surface-distance called per structure in the same run.

    pytest -m benchmark tests/benchmark/test_metrics_speed.py -s

Two sets of 20 organs of 1 to 500 cc (blobs with a boundary that differs by millimetres) on 512×512×160 voxels; a second run
adds a body outline. Each run is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark
SHAPE, SPACING_MM = (512, 512, 160), (0.9766, 0.9766, 2.5)
SECONDS, SECONDS_WITH_BODY, MEMORY_MIB = 10, 20, 1536

_RUN = """
import json, sys, time
sys.path.insert(0, {here!r})
from test_metrics_speed import organs
from jrscli.io.run_record import peak_memory_mib
from jrscli.metrics.compare import LABEL_METRICS
from jrscli.workflows.evaluate import evaluate_labels
reference, prediction = organs(body={body})
held = peak_memory_mib()
start = time.perf_counter()
found = evaluate_labels(reference, prediction, metrics=LABEL_METRICS)
seconds = time.perf_counter() - start
out = {{"seconds": seconds, "held_mib": held, "peak_mib": peak_memory_mib(), "structures": len(found.rows),
       "hd95": {{row.name: row.values["hd95.v1"].value for row in found.rows}}}}
if {oracle}:
    import warnings; warnings.simplefilter("ignore")
    import surface_distance as oracle
    start = time.perf_counter()
    theirs = {{}}
    for number in reference.numbers():
        lists = oracle.compute_surface_distances(reference.mask(number), prediction.mask(number), reference.geometry.spacing_mm)
        theirs[reference.name(number)] = float(oracle.compute_robust_hausdorff(lists, 95))
        oracle.compute_surface_dice_at_tolerance(lists, 2.5)
        oracle.compute_average_surface_distance(lists)
    out["oracle_seconds"] = time.perf_counter() - start
    out["oracle_hd95"] = theirs
print(json.dumps(out))
"""


def organs(*, body: bool):
    """Reference and prediction: 20 balls of uneven surface, 1 to 500 cc, on a grid of places; the body is an ellipse."""
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.volume import LabelMap

    geometry = Geometry(SHAPE, np.diag((*SPACING_MM, 1.0)))
    rng = np.random.default_rng(0)
    pair = [np.zeros(SHAPE, np.uint32) for _ in range(2)]
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    if body:
        for number, array in enumerate(pair):
            across = ((i - 256) / (230 + number)) ** 2 + ((j - 256) / (190 + 2 * number)) ** 2
            array[:, :, 4:156] = np.broadcast_to(across <= 1, (*SHAPE[:2], 152)).astype(np.uint32) * 99
    for number, cc in enumerate(np.geomspace(1, 500, 20), start=1):
        radius = (cc * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
        place = np.array([90 + 80 * ((number - 1) % 5), 110 + 90 * ((number - 1) // 5), rng.integers(55, 105)])
        half = np.ceil(1.4 * radius / np.array(SPACING_MM)).astype(int) + 3
        low, high = np.maximum(place - half, 0), np.minimum(place + half, SHAPE)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        x, y, z = (
            (axis[part] - centre) * step
            for axis, part, centre, step in zip(
                (i, j.transpose(1, 0, 2), k.transpose(2, 0, 1)), box, place, SPACING_MM, strict=True
            )
        )
        x, y, z = x.reshape(-1, 1, 1), y.reshape(1, -1, 1), z.reshape(1, 1, -1)
        angle, height = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
        for one, array in enumerate(pair):
            wave = 1 + 0.06 * np.sin(3 * angle + number + 0.5 * one) * np.cos(2 * height) + 0.02 * one
            inside = np.sqrt((x - 1.5 * one) ** 2 + y**2 + z**2) <= radius * wave
            array[box][inside] = number
    names = {n: f"organ {n}" for n in range(1, 21)} | ({99: "body"} if body else {})
    return LabelMap(pair[0], geometry, names), LabelMap(pair[1], geometry, names)


def _measured(*, body: bool, oracle: bool) -> dict:
    from pathlib import Path

    code = _RUN.format(here=str(Path(__file__).parent), body=body, oracle=oracle)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    return json.loads(done.stdout.splitlines()[-1])


def _say(capsys, line: str) -> None:
    with capsys.disabled():
        sys.stdout.write(line + "\n")


def test_twenty_organs(capsys):
    # the figures of surface-distance come from the second process, so that its memory is not counted as ours
    found = _measured(body=False, oracle=False)
    other = _measured(body=False, oracle=True)
    _say(
        capsys,
        f"\n20 organs, all metrics: {found['seconds']:.1f} s, peak {found['peak_mib']} MiB "
        f"(the two label maps: {found['held_mib']} MiB); "
        f"surface-distance per structure: {other['oracle_seconds']:.1f} s, ours in the same process: {other['seconds']:.1f} s",
    )
    assert other["hd95"] == pytest.approx(other["oracle_hd95"], abs=1e-6)
    assert found["seconds"] < SECONDS
    assert found["peak_mib"] < MEMORY_MIB
    assert other["seconds"] < other["oracle_seconds"]


def test_twenty_organs_and_a_body(capsys):
    found = _measured(body=True, oracle=False)
    _say(capsys, f"\n20 organs and a body, all metrics: {found['seconds']:.1f} s, peak {found['peak_mib']} MiB")
    assert found["structures"] == 21
    assert found["seconds"] < SECONDS_WITH_BODY
    assert found["peak_mib"] < MEMORY_MIB

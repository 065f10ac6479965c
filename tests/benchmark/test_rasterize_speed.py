"""How long it takes to rasterise 20 ROIs on a CT of 512×512×160, beside the plain way: every pixel of a contour's box.

pytest -m benchmark tests/benchmark/test_rasterize_speed.py -s
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from skimage.draw import polygon as drawn_by_skimage

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import place_contours
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi

pytestmark = pytest.mark.benchmark
LIMIT_SECONDS = 2.0


def twenty(geometry: Geometry) -> list[Roi]:
    """A body outline on every slice, and 19 organs of 20 to 100 mm across with a wavy outline, 200 to 600 points a slice."""
    random = np.random.default_rng(0)
    rois = []
    for number in range(20):
        body = number == 0
        centre = np.zeros(3) if body else random.uniform(-80, 80, 3)
        size = np.array([165.0, 110.0, 1000.0]) if body else random.uniform(10, 50, 3)
        angle = np.linspace(0, 2 * np.pi, 600 if body else 200, endpoint=False)
        contours = []
        for k in range(geometry.shape[2]):
            z = float(geometry.index_to_world(np.array([[0, 0, k]]))[0, 2])
            rest = 1 - ((z - centre[2]) / size[2]) ** 2
            if rest > 0:
                radius = np.sqrt(rest) * (1 + 0.1 * np.sin(7 * angle))
                flat = centre[:2] + size[:2] * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
                contours.append(Contour(np.column_stack([flat, np.full(len(angle), z)])))
        rois.append(Roi(number + 1, str(number), tuple(contours)))
    return rois


def test_twenty_rois_take_less_than_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    affine = np.diag([0.742, 0.742, 2.0, 1.0])
    affine[:3, 3] = (-189.5, -189.5, -159)
    geometry = Geometry((512, 512, 160), affine)
    rois = twenty(geometry)
    began = time.perf_counter()
    voxels = [int(np.count_nonzero(rasterize(roi, geometry))) for roi in rois]
    seconds = time.perf_counter() - began
    # one slice in sixteen, as nobody wants to wait for the rest
    began = time.perf_counter()
    drawn, ours = 0, 0
    for roi in rois:
        mask = rasterize(roi, geometry)[:, :, ::16]
        ours += int(np.count_nonzero(mask))
        for k, polygons in place_contours(roi, geometry).planes.items():
            if k % 16 == 0:
                whole = np.zeros(geometry.shape[:2], bool)
                for polygon in polygons:
                    part = np.zeros_like(whole)
                    part[drawn_by_skimage(polygon[:, 0], polygon[:, 1], whole.shape)] = True
                    whole ^= part
                drawn += int(np.count_nonzero(whole))
    plain = (time.perf_counter() - began - seconds) * 16
    with capsys.disabled():
        sys.stdout.write(
            f"\n20 ROIs, {sum(len(roi.contours) for roi in rois)} contours on 512x512x160: {seconds:.2f} s; "
            f"skimage.draw.polygon, contour by contour: {plain:.1f} s (from one slice in 16); voxels {ours} and {drawn}\n"
        )
    assert sum(voxels) > 1e7
    assert abs(drawn - ours) < 1e-3 * ours
    assert seconds < LIMIT_SECONDS

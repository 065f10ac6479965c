"""The small pelvis of the demo: a planning CT and its structures, made from formulas.

Shapes are given by levels: about the distance in mm to the surface, positive inside. They can be evaluated anywhere, so a test
knows the true structures on every grid and under every motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from jrscli.spatial.contouring import contours_from_levels
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.volume import Volume

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y, z in LPS mm; any shapes that broadcast together."""


@dataclass(frozen=True)
class Organ:
    """A structure of the phantom: its number in the structure set, TG-263 name, interpreted type and colour."""

    number: int
    name: str
    kind: str
    colour: tuple[int, int, int]


ORGANS = (
    Organ(1, "Body", "EXTERNAL", (0, 255, 0)),
    Organ(2, "Bladder", "ORGAN", (255, 255, 0)),
    Organ(3, "Rectum", "ORGAN", (165, 82, 45)),
    Organ(4, "FemoralHead_L", "ORGAN", (0, 191, 255)),
    Organ(5, "FemoralHead_R", "ORGAN", (0, 128, 255)),
    Organ(6, "PTV", "PTV", (255, 0, 0)),
)


@dataclass(frozen=True)
class Study:
    """A planning CT (HU) and its structures."""

    planning: Volume
    structures: StructureSet


def pelvis_geometry() -> Geometry:
    """The planning grid: 128 × 96 × 40 voxels of 3 × 3 × 3 mm, the isocentre in the middle of the PTV."""
    affine = np.diag((3.0, 3.0, 3.0, 1.0))
    affine[:3, 3] = (-190.5, -142.5, -62.0)
    return Geometry((128, 96, 40), affine)


def pelvis_study(seed: int = 0, geometry: Geometry | None = None) -> Study:
    """The planning CT with texture and noise from ``seed``, and its structures as closed contours on its slices."""
    grid = pelvis_geometry() if geometry is None else geometry
    points = grid_points(grid)
    levels = organ_levels(points)
    rois = tuple(
        Roi(organ.number, organ.name, contours_from_levels(levels[organ.name], grid, 0.0), organ.colour, organ.kind)
        for organ in ORGANS
    )
    image = Volume(_paint(points, levels, grid, np.random.default_rng(seed)), grid)
    return Study(image, StructureSet(rois, label="PELVIS"))


def grid_points(geometry: Geometry) -> Points:
    """The voxel centres of a grid, float32."""
    i, j, k = (np.arange(n, dtype=np.float32) for n in geometry.shape)
    step = geometry.affine.astype(np.float32)
    at = [step[c, 0] * i[:, None, None] + step[c, 1] * j[:, None] + step[c, 2] * k + step[c, 3] for c in range(3)]
    return at[0], at[1], at[2]


def organ_levels(points: Points) -> Mapping[str, Float[np.ndarray, "..."]]:
    """For each organ of the phantom the level at the points (mm, positive inside)."""
    widen = 1 + 0.04 * np.cos((points[2] + 10) / 40)
    return {
        "Body": _body(points, 165.0 * widen, 108.0 * widen),
        "Bladder": _ellipsoid(points, (3, -28, 27), (31, 24, 20)),
        "Rectum": _tube(points),
        "FemoralHead_L": _ellipsoid(points, (88, 4, -2), (23, 23, 23)),
        "FemoralHead_R": _ellipsoid(points, (-88, 4, -2), (23, 23, 23)),
        "PTV": _ellipsoid(points, (0, -2, -6), (22, 18, 19)),
    }


def _body(points: Points, half_width: np.ndarray, half_depth: np.ndarray) -> np.ndarray:
    """A rounded box in every slice (superellipse of power 2.6), flatter at the back."""
    x, y, _ = points
    depth = np.where(y > 0, half_depth * 0.9, half_depth)
    return (1 - ((np.abs(x) / half_width) ** 2.6 + (np.abs(y) / depth) ** 2.6) ** (1 / 2.6)) * half_depth


def _ellipsoid(points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """First-order distance to an ellipsoid: k0 (1 − k0) / k1 with k0 = |p/r|, k1 = |p/r²|."""
    p = [(q - c) / r for q, c, r in zip(points, centre, radii, strict=True)]
    k0 = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    k1 = np.sqrt(sum((q / r) ** 2 for q, r in zip(p, radii, strict=True))) + 1e-6
    return np.where(k0 < 1e-3, min(radii), k0 * (1 - k0) / k1).astype(np.float32)


def _tube(points: Points, grow: float = 0.0) -> np.ndarray:
    """The rectum: a tube that bends with z, closed at both ends."""
    x, y, z = points
    radius = 13.5 + 2.5 * np.sin(z / 14) + grow
    across = radius - np.hypot(x - 4 * np.sin(z / 22), y - 40 - 0.0035 * (z - 10) ** 2)
    return np.minimum(across, np.minimum(z + 39.5, 41.5 - z)).astype(np.float32)


def _paint(
    points: Points, levels: Mapping[str, np.ndarray], grid: Geometry, rng: np.random.Generator
) -> Float[np.ndarray, "i j k"]:
    """HU of the phantom: shapes painted one over the other with edges one voxel wide, as partial volume makes them."""
    edge = float(np.mean(grid.spacing_mm))
    image = np.full(grid.shape, -1000.0, np.float32)

    def put(level: np.ndarray, hu: float | np.ndarray) -> None:
        weight = np.clip(0.5 + level / edge, 0, 1).astype(np.float32)
        image[...] = image * (1 - weight) + np.asarray(hu, np.float32) * weight

    def texture(amplitude: float, sigma_mm: float) -> np.ndarray:
        noise = gaussian_filter(rng.standard_normal(grid.shape).astype(np.float32), [sigma_mm / s for s in grid.spacing_mm])
        return noise * (amplitude / max(float(noise.std()), 1e-6))

    body = levels["Body"]
    strands = texture(1.0, 5.0)
    put(body, 20.0)  # skin
    put(body - 3, -105 + np.where(strands > 1.6, 55, 0) + texture(9, 4))
    muscle = 52 + texture(12, 4)
    fibres = np.where(strands < -1.4, -70, 0)
    for centre, radii in _MUSCLES:
        for side in (1, -1):
            put(np.minimum(_ellipsoid(points, (side * centre[0], centre[1], centre[2]), radii), body - 8), muscle + fibres)
    marrow = 220 + texture(45, 4)
    for centre, radii in _BONES:
        for side in (1, -1):
            bone = np.minimum(_ellipsoid(points, (side * centre[0], centre[1], centre[2]), radii), body - 10)
            put(bone, 750.0)
            put(bone - 4, marrow)
    for name in ("FemoralHead_L", "FemoralHead_R"):
        put(levels[name] + 6, 650.0)  # acetabulum
        put(levels[name] + 3, 40.0)  # cartilage
        put(levels[name], 700.0)
        put(levels[name] - 3, marrow + 60)
    put(_ellipsoid(points, (0, 78, 20), (42, 16, 60)), 600.0)  # sacrum
    put(_ellipsoid(points, (0, 78, 20), (38, 12, 56)), marrow)
    put(levels["PTV"], 45 + texture(8, 3))
    put(_ellipsoid(points, (0, 20, 14), (24, 7, 8)), 30.0)  # seminal vesicles
    put(levels["Bladder"], 48.0)
    put(levels["Bladder"] - 3, 6 + texture(4, 4))
    put(levels["Rectum"], 45.0)
    put(levels["Rectum"] - 3.5, 15 + texture(35, 5))
    put(_ellipsoid(points, (2, 38, 22), (7, 6, 13)), -900.0)  # gas
    put(_ellipsoid(points, (-3, 40, -20), (5, 5, 8)), -850.0)
    image += rng.standard_normal(grid.shape).astype(np.float32) * 8
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


# (centre of the left one, radii) in mm; the right one is its mirror image
_MUSCLES = (
    ((80, 62, 30), (62, 30, 70)),  # gluteus
    ((120, 10, -10), (24, 46, 60)),  # abductors
    ((60, -55, -20), (38, 26, 60)),  # iliopsoas
    ((46, 12, -8), (13, 36, 40)),  # obturator internus
    ((24, -92, 10), (26, 9, 90)),  # rectus
)
_BONES = (
    ((92, 22, 52), (20, 44, 34)),  # ilium
    ((112, 10, -36), (17, 18, 34)),  # trochanter and shaft
    ((20, -44, -24), (24, 11, 13)),  # pubis
    ((62, 44, -34), (15, 17, 26)),  # ischium
)

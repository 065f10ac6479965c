"""AffineTransform: fixed mm -> moving mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jrscli.errors import GeometryError


@dataclass(frozen=True, eq=False)
class AffineTransform:
    """A linear map of points, LPS mm; like a field it pulls (fixed mm -> moving mm).

    Raises GeometryError `transform.matrix` for a matrix that is not an invertible affine map.
    """

    matrix: Float[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        good = matrix.shape == (4, 4) and np.isfinite(matrix).all() and np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-9)
        if not good or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise GeometryError(
                "the matrix is not an invertible affine transform",
                code="transform.matrix",
                hint="a transform needs a 4×4 matrix whose last row is 0 0 0 1",
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @staticmethod
    def identity() -> AffineTransform:
        """The map that leaves every point where it is."""
        return AffineTransform(np.eye(4))

    @staticmethod
    def about(
        linear: Float[np.ndarray, "3 3"], centre_mm: Float[np.ndarray, "3"], shift_mm: Float[np.ndarray, "3"]
    ) -> AffineTransform:
        """``x -> linear (x − centre) + centre + shift``."""
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = np.asarray(centre_mm) - np.asarray(linear) @ np.asarray(centre_mm) + np.asarray(shift_mm)
        return AffineTransform(matrix)

    def map_points(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Where the points go, LPS mm."""
        return np.asarray(points_mm, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def inverse(self) -> AffineTransform:
        """The map back."""
        return AffineTransform(np.linalg.inv(self.matrix))

    def then(self, after: AffineTransform) -> AffineTransform:
        """This map first, ``after`` second."""
        return AffineTransform(after.matrix @ self.matrix)

    def rotation_deg(self) -> float:
        """Angle of the rotation part (polar decomposition), degrees."""
        u, _, vt = np.linalg.svd(self.matrix[:3, :3])
        trace = float(np.trace(u @ vt))
        return float(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))

    def is_rigid(self, atol: float = 1e-4) -> bool:
        """Whether lengths and handedness are kept."""
        linear = self.matrix[:3, :3]
        return bool(np.abs(linear.T @ linear - np.eye(3)).max() <= atol and np.linalg.det(linear) > 0)

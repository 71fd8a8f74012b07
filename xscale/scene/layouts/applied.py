"""Changes of the world that nerfstudio makes before it writes ``transforms.json``, undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.frames import nearest_rotation
from xscale.io.strict_json import matrix, number


class AppliedWorld:
    """Change of the world: ``file = scale * (factor * turn * original + shift)``."""

    def __init__(self, applied: np.ndarray, scale: float, where: str) -> None:
        linear = applied[:3, :3]
        determinant = float(np.linalg.det(linear))
        if not determinant > 0:
            raise CameraError(
                "applied_transform mirrors or flattens the world",
                where=where,
                advice="export the cameras again",
            )
        self.factor = determinant ** (1 / 3)
        self.turn = nearest_rotation(linear / self.factor, where)
        self.shift = applied[:3, 3]
        self.scale = scale

    def matrix(self) -> np.ndarray:
        """Return the matrix float64 [4, 4] that takes the file's frame to the one before."""
        found = np.eye(4)
        found[:3, :3] = self.turn.T / (self.factor * self.scale)
        found[:3, 3] = self.undo_points(np.zeros((1, 3)))[0]
        return found

    def undo(self, rotation: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a pose (world from camera, position) as it was before."""
        return self.turn.T @ rotation, self.undo_points(position[None])[0]

    def undo_points(self, points: np.ndarray) -> np.ndarray:
        """Return points [N, 3] as they were before."""
        return (points / self.scale - self.shift) @ self.turn / self.factor


def applied_world(content: dict[str, Any], path: Path) -> AppliedWorld | None:
    """Read what was done to the world; None where nothing was.

    Raises:
        CameraError: It cannot be undone.
    """
    applied, scale = content.get("applied_transform"), content.get("applied_scale")
    if applied is None and scale is None:
        return None
    where = f"{path}: /applied_transform"
    found = np.eye(4) if applied is None else matrix(applied, where)
    factor = 1.0 if scale is None else number(scale, f"{path}: /applied_scale")
    if not factor > 0:
        raise CameraError(f"applied_scale is {factor:g}", where=path, advice="export it again")
    return AppliedWorld(found, factor, where)

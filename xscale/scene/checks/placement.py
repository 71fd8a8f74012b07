"""Where the mesh would have to be for photos to agree best: a search over turns, shifts and sizes.

The search starts at the mesh as it is, and at places and sizes around it, and goes downhill by
halving steps. It finds a mesh that was turned by up to about 20 degrees or moved or scaled by up
to a fifth; the answer is as good as small photos allow, a few thousandths of the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xscale.geometry.camera import Camera
from xscale.scene.checks.agree import Agreement, PhotoTrial

_DEGREES, _SHARE = 6.0, 0.06
_ROUNDS = 7
_STARTS = (0.06, 0.15, 0.3)
"""Shares of the distance by which the starts lie aside."""
_SEARCHED = 3
_GAIN, _FEWER = 0.04, 1.5
"""A better place gains so much correlation, and divides what is missing to 1 by so much: within
that, places of right scenes whose mesh has holes vary."""
_MOVED = 0.006
"""Median shift of the surface, as a share of the distance, that small photos surely show."""


@dataclass(frozen=True)
class Placement:
    """A place for the mesh at which photos agree better."""

    matrix: np.ndarray
    """float64 [4, 4], scene from mesh."""
    before: Agreement
    after: Agreement
    moved: float
    """Median distance by which the surface moves, as a share of the viewing distance."""
    turned: float
    """Degrees."""
    scale: float

    @property
    def clear(self) -> bool:
        """Whether the mesh surely belongs there rather than where it is."""
        before, after = self.before.correlation, self.after.correlation
        fewer = 1 - before > _FEWER * (1 - after)
        return self.after.agrees and self.moved > _MOVED and after - before > _GAIN and fewer

    def words(self) -> str:
        """Say what the matrix does."""
        parts = []
        if self.turned > 0.2:
            parts.append(f"turned by {self.turned:.2g} degrees")
        if abs(self.scale - 1) > 2e-3:
            parts.append(f"{self.scale:.4g} times the size")
        parts.append(f"its surface moved by {self.moved:.1%} of the viewing distance")
        return ", ".join(parts)


def best_placement(
    trial: PhotoTrial,
    cameras: Sequence[Camera],
    surface: np.ndarray,
    starts: Sequence[np.ndarray] = (),
) -> Placement | None:
    """Search for the place of the mesh at which photos agree best.

    Args:
        trial: With which places are tried.
        cameras: Of the photos.
        surface: Samples of the mesh, float64 [N, 3].
        starts: Further matrices [4, 4] to start at.

    Returns:
        The best place; None where photos cannot be compared anywhere near.
    """
    before = trial.of()
    centre = np.median(surface, axis=0)
    places = np.array([camera.position for camera in cameras])
    distance = float(np.median(np.linalg.norm(places - centre, axis=1))) or 1.0
    forward = np.mean([camera.R[2] for camera in cameras], axis=0)
    forward /= np.linalg.norm(forward) or 1.0

    def worth(matrix: np.ndarray) -> float:
        found = trial.of(matrix)
        return found.correlation if found.compared else -1.0

    begins = [np.eye(4), *starts, *_around(centre, distance, forward)]
    ranked = sorted(begins[1:], key=worth, reverse=True)
    best, best_worth = np.eye(4), worth(np.eye(4))
    for start in [begins[0], *ranked[: _SEARCHED - 1]]:
        matrix, value = _downhill(worth, start, centre, distance)
        if value > best_worth + 1e-3:
            best, best_worth = matrix, value
    after = trial.of(best)
    if not after.compared:
        return None
    shift = np.linalg.norm(surface @ best[:3, :3].T + best[:3, 3] - surface, axis=1)
    scale = float(np.cbrt(np.linalg.det(best[:3, :3])))
    cosine = (np.trace(best[:3, :3]) / scale - 1) / 2
    turned = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return Placement(best, before, after, float(np.median(shift)) / distance, turned, scale)


def _around(centre: np.ndarray, distance: float, forward: np.ndarray) -> Iterator[np.ndarray]:
    """Yield places around the mesh's own: aside, nearer and farther, smaller and larger."""
    for share in _STARTS:
        for way in (forward, -forward, *np.eye(3), *-np.eye(3)):
            matrix = np.eye(4)
            matrix[:3, 3] = share * distance * way
            yield matrix
        for scale in (1 + share, 1 / (1 + share)):
            yield _similarity(np.array([0, 0, 0, 0, 0, 0, np.log(scale)]), centre, distance)


def _similarity(x: np.ndarray, centre: np.ndarray, distance: float) -> np.ndarray:
    """Return the matrix of turns (degrees) about ``centre``, shifts and the size's logarithm."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(x[:3])):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[[i, j], [i, j]] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    found = np.eye(4)
    found[:3, :3] = np.exp(x[6]) * turn
    found[:3, 3] = centre - found[:3, :3] @ centre + x[3:6] * distance
    return found


def _downhill(worth, start: np.ndarray, centre: np.ndarray, distance: float) -> tuple:
    """Improve a start by single steps of halving size; return matrix and worth."""
    x = np.zeros(7)
    step = np.array([_DEGREES] * 3 + [_SHARE] * 4)
    pivot = start[:3, :3] @ centre + start[:3, 3]
    best = worth(start)
    for _ in range(_ROUNDS):
        for _ in range(3):
            improved = False
            for k, sign in ((k, sign) for k in range(7) for sign in (1, -1)):
                y = x.copy()
                y[k] += sign * step[k]
                value = worth(_similarity(y, pivot, distance) @ start)
                if value > best + 1e-4:
                    best, x, improved = value, y, True
            if not improved:
                break
        step /= 2
    return _similarity(x, pivot, distance) @ start, best

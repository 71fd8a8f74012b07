"""Where a mesh must stand for points to lie on it: iterative closest points to planes.

The unknown is a similarity: turn, shift and size. Points that the mesh lacks, and parts of the mesh
that no point lies on, have no say. Source: Y. Chen and G. Medioni, "Object modelling by
registration of multiple range images", 1992; the weights are Tukey's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xscale.scene.checks.sweep import Points

NEAR = 0.01
"""Distance of a point from the surface up to which it lies on it, as a share of its viewing
distance."""
_COARSE_POINTS, _COARSE_SAMPLES = 250, 1_800
_FINE_POINTS, _FINE_SAMPLES = 1_200, 20_000
_COARSE_ROUNDS, _FINE_ROUNDS = 8, 10
_REACH = 0.12
"""Share of the viewing distance from which a point has no say, in the first round."""
_LEAST_REACH = 0.012
_KEPT = 3
"""Starts that are followed to the end."""
_TRIED = 28
"""Starts that are followed for a few rounds."""
_PRIOR = 0.3
"""Standard deviation of turns (radians), shifts (share of the distance) and sizes (logarithm) in
one round: what points do not decide stays."""
_DISTINCT = 0.01


@dataclass(frozen=True)
class Registration:
    """A place of the mesh."""

    matrix: np.ndarray
    """float64 [4, 4], scene from mesh."""
    near: float
    """Share of the points that lie on the surface."""
    spread: float
    """Median distance of those, as a share of the viewing distance."""

    @property
    def worth(self) -> float:
        """Number by which places are compared: more points on the surface, and closer."""
        return self.near - 0.5 * self.spread / NEAR


class Registrar:
    """Lays a mesh on points.

    Args:
        points: The points.
        surface: Samples of the mesh, float64 [N, 3].
        normals: Unit normals there, float64 [N, 3]; of either side.
    """

    def __init__(self, points: Points, surface: np.ndarray, normals: np.ndarray) -> None:
        self._position, self._distance = points.position, points.distance
        self._surface, self._normals = surface, normals
        self._whole = float(np.median(points.distance))

    def start(self, matrix: np.ndarray) -> Registration:
        """Return how well points lie on the mesh moved by a matrix."""
        return self._judged(matrix, _COARSE_POINTS, _COARSE_SAMPLES)

    def best(self, starts: Sequence[np.ndarray]) -> list[Registration]:
        """Follow starts downhill; return the distinct places found, the best first.

        Args:
            starts: Matrices float64 [4, 4].
        """
        scored = sorted(starts, key=self._cost)[:_TRIED]
        coarse = [self._follow(m, _COARSE_POINTS, _COARSE_SAMPLES, _COARSE_ROUNDS) for m in scored]
        coarse = self._distinct(
            [self._judged(m, _COARSE_POINTS, _COARSE_SAMPLES) for m in coarse if m is not None]
        )
        fine = [self.refined(found.matrix) for found in coarse[:_KEPT]]
        return self._distinct([found for found in fine if found is not None])

    def refined(
        self, matrix: np.ndarray, reach: float = 4 * _LEAST_REACH, rounds: int = _FINE_ROUNDS
    ) -> Registration | None:
        """Follow one start with many points; None where too few points lie near."""
        found = self._follow(matrix, _FINE_POINTS, _FINE_SAMPLES, rounds, reach)
        return None if found is None else self._judged(found, _FINE_POINTS, _FINE_SAMPLES)

    def displacement(self, first: np.ndarray, second: np.ndarray) -> float:
        """Return by how much of the viewing distance the surface stands apart at two places."""
        surface = _some(self._surface, _COARSE_SAMPLES)
        gap = _moved(surface, first) - _moved(surface, second)
        return float(np.median(np.linalg.norm(gap, axis=1))) / self._whole

    def _distinct(self, found: list[Registration]) -> list[Registration]:
        kept: list[Registration] = []
        for one in sorted(found, key=lambda f: -f.worth):
            if all(self.displacement(one.matrix, k.matrix) > _DISTINCT for k in kept):
                kept.append(one)
        return kept

    def _cost(self, matrix: np.ndarray) -> float:
        """Mean distance of points from the surface and of some of the surface from the points.

        The second keeps a mesh that is far too large from swallowing the points.
        """
        position = _some(self._position, _COARSE_POINTS)
        distance = _some(self._distance, _COARSE_POINTS)
        surface = _moved(_some(self._surface, _COARSE_SAMPLES), matrix)
        nearest, gap = _nearest(position, surface)
        back = _nearest(surface[:: max(1, len(surface) // 300)], position)[1]
        del nearest
        return float(
            np.minimum(gap / distance, 2 * _REACH).mean()
            + 0.5 * np.minimum(back / self._whole, 4 * _REACH).mean()
        )

    def _judged(self, matrix: np.ndarray, most: int, samples: int) -> Registration:
        position, distance = _some(self._position, most), _some(self._distance, most)
        _, gap = self._planes(matrix, position, samples)
        off = gap / distance
        on = off < NEAR
        spread = float(np.median(off[on])) if on.any() else NEAR
        return Registration(matrix, float(on.mean()), spread)

    def _planes(
        self, matrix: np.ndarray, position: np.ndarray, samples: int
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return the nearest samples, their normals, and the distances of points from there."""
        surface = _moved(_some(self._surface, samples), matrix)
        normals = _some(self._normals, samples) @ np.linalg.inv(matrix[:3, :3])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        nearest, gap = _nearest(position, surface)
        at, normal = surface[nearest], normals[nearest]
        along = np.abs(((at - position) * normal).sum(axis=1))
        # Beside the surface's border its planes go on, where nothing is.
        spacing = float(np.median(gap)) if len(gap) else 0.0
        beside = np.sqrt(np.maximum(gap**2 - along**2, 0))
        return (at, normal), np.where(beside > 4 * spacing + along, gap, along)

    def _follow(
        self,
        matrix: np.ndarray,
        most: int,
        samples: int,
        rounds: int,
        reach: float = _REACH,
    ) -> np.ndarray | None:
        position, distance = _some(self._position, most), _some(self._distance, most)
        shrink = (_LEAST_REACH / reach) ** (1 / max(rounds - 2, 1))
        for _ in range(rounds):
            (at, normal), gap = self._planes(matrix, position, samples)
            off = gap / distance
            weight = np.where(off < reach, (1 - (off / reach).clip(0, 1) ** 2) ** 2, 0.0)
            if (weight > 0).sum() < 12:
                return None
            step, _ = similarity_step(position, at, normal, weight, distance)
            matrix = step @ matrix
            if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-30:
                return None
            reach = max(reach * shrink, _LEAST_REACH)
        return matrix


def similarity_step(
    position: np.ndarray,
    at: np.ndarray,
    normal: np.ndarray,
    weight: np.ndarray,
    distance: np.ndarray,
    prior: float = _PRIOR,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the small similarity that brings surface points into planes through points.

    Args:
        position: Points, float64 [N, 3].
        at: The surface beside each, float64 [N, 3].
        normal: Its unit normals, float64 [N, 3].
        weight: float64 [N].
        distance: Viewing distances, float64 [N], by which distances are divided.
        prior: Standard deviation of each of the seven numbers beforehand.

    Returns:
        The matrix [4, 4], and the standard error [N] of the places it gives the surface points, as
        a share of the viewing distance.
    """
    centre = (weight[:, None] * at).sum(axis=0) / weight.sum()
    whole = float(np.median(distance))
    arm = at - centre
    design = np.column_stack(
        [np.cross(arm, normal), normal * whole, (arm * normal).sum(axis=1)]
    ) / distance[:, None]  # fmt: skip
    wanted = ((position - at) * normal).sum(axis=1) / distance
    used = weight > 0
    noise = 1.5 * float(np.median(np.abs(wanted[used]))) + 1e-9
    left = design.T @ (design * weight[:, None]) + np.eye(7) * (noise / prior) ** 2
    inverse = np.linalg.inv(left)
    x = inverse @ (design.T @ (weight * wanted))
    found = np.eye(4)
    found[:3, :3] = np.exp(np.clip(x[6], -0.3, 0.3)) * rotation(x[:3])
    found[:3, 3] = centre + whole * x[3:6] - found[:3, :3] @ centre
    return found, noise * np.sqrt(_spread(arm, whole, inverse)) / distance


def _spread(arm: np.ndarray, whole: float, covariance: np.ndarray) -> np.ndarray:
    """Return the variance [N] of places whose seven numbers have a covariance [7, 7]."""
    x, y, z = arm.T
    zero, one = np.zeros(len(arm)), np.full(len(arm), whole)
    rows = np.array(
        [
            [zero, z, -y, one, zero, zero, x],
            [-z, zero, x, zero, one, zero, y],
            [y, -x, zero, zero, zero, one, z],
        ]
    )
    return np.einsum("cin,ij,cjn->n", rows, covariance, rows)


def turn_of(matrix: np.ndarray) -> float:
    """Return the degrees by which a similarity [4, 4] turns."""
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    cosine = (np.trace(matrix[:3, :3]) / scale - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def rotation(turn: np.ndarray) -> np.ndarray:
    """Return the matrix [3, 3] of a turn by ``|turn|`` radians about ``turn`` (Rodrigues)."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = turn / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _some(values: np.ndarray, most: int) -> np.ndarray:
    if len(values) <= most:
        return values
    return values[np.arange(most) * len(values) // most]


def _nearest(points: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each point the nearest sample's index and distance; exact for the one found."""
    middle = surface.mean(axis=0)
    p, s = (points - middle).astype(np.float32), (surface - middle).astype(np.float32)
    half = (s * s).sum(axis=1) / 2
    index = np.concatenate(
        [(half - p[k : k + 256] @ s.T).argmin(axis=1) for k in range(0, len(p), 256)]
    )
    return index, np.linalg.norm(surface[index] - points, axis=1)

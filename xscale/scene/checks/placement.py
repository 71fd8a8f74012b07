"""Where the mesh would have to stand: a search that starts at likely places.

Sparse points say where the surface is; where a layout has none, photos alone do
(:mod:`xscale.scene.checks.sweep`). The mesh is laid on them from its own place, from usual axes and
units, and from places around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xscale.geometry.camera import Camera
from xscale.scene.checks.fit import Evidence
from xscale.scene.checks.registration import Registrar, Registration, rotation, turn_of
from xscale.scene.checks.sweep import Points

_LEAST_POINTS = 60
_STARTS = (0.08, 0.2)
"""Shares of the distance by which starts lie aside."""
_SCALES = (0.75, 1.3)
_TURNS = (12.0, 25.0)
"""Degrees by which starts are turned."""
_LEAST_NEAR = 0.5
"""Share of the points that a place found must bring to the surface."""
_MARGIN = 0.05
"""How much worse any other place is, where one place is sure."""
_MORE_NEAR, _CLOSER = 0.05, 0.7


@dataclass(frozen=True)
class Placement:
    """A place for the mesh at which it lies on the points."""

    matrix: np.ndarray
    """float64 [4, 4], scene from mesh."""
    before: Registration
    after: Registration
    moved: float
    """Median distance by which the surface moves, as a share of the viewing distance."""
    turned: float
    """Degrees."""
    scale: float
    margin: float
    """How much worse the next place is (:attr:`Registration.worth`)."""

    @property
    def clear(self) -> bool:
        """Whether points put the mesh there, and nowhere else."""
        before, after = self.before, self.after
        closer = after.near >= before.near and after.spread < _CLOSER * before.spread
        better = after.near > before.near + _MORE_NEAR or closer
        return after.near >= _LEAST_NEAR and better and self.margin > _MARGIN

    def words(self) -> str:
        """Say what the matrix does."""
        parts = []
        if self.turned > 0.2:
            parts.append(f"turned by {self.turned:.2g} degrees")
        if abs(abs(self.scale) - 1) > 2e-3:
            parts.append(f"{abs(self.scale):.4g} times the size")
        if self.scale < 0:
            parts.append("mirrored")
        parts.append(f"its surface moved by {self.moved:.1%} of the viewing distance")
        return ", ".join(parts)


def sparse_points(points: np.ndarray, cameras: Sequence[Camera]) -> Points:
    """Return sparse points with their distances from the nearest camera.

    Args:
        points: float64 [N, 3].
        cameras: Of all photos.
    """
    chosen = points[:: max(1, len(points) // 4000)]
    chosen = chosen[np.isfinite(chosen).all(axis=1)]
    places = np.array([camera.position for camera in cameras])
    nearest = np.full(len(chosen), np.inf)
    for place in places[:: max(1, len(places) // 64)]:
        nearest = np.minimum(nearest, np.linalg.norm(chosen - place, axis=1))
    return Points(chosen, np.maximum(nearest, 1e-12), len(chosen))


def best_placement(
    points: Points,
    evidence: Evidence,
    cameras: Sequence[Camera],
    starts: Sequence[np.ndarray] = (),
) -> Placement | None:
    """Search for the place of the mesh at which it lies on the points.

    Args:
        points: Of the surface.
        evidence: Samples of the mesh.
        cameras: Of the photos.
        starts: Further matrices [4, 4] to start at.

    Returns:
        The best place; None where points are too few, or the mesh lies on them nowhere near.
    """
    if len(points) < _LEAST_POINTS:
        return None
    registrar = Registrar(points, evidence.surface, evidence.normals)
    distance = float(np.median(points.distance))
    begins = [np.eye(4), *starts]
    # From every usual place, the search looks around: a mesh may have other axes and be moved.
    middle = np.median(points.position, axis=0)
    for begin in (np.eye(4), *starts[:1]):
        begins += [around @ begin for around in _around(middle, distance)]
    found = registrar.best(begins)
    if not found:
        return None
    best = found[0]
    margin = best.worth - found[1].worth if len(found) > 1 else 1.0
    before = registrar.refined(np.eye(4), rounds=0)
    scale = float(np.cbrt(np.linalg.det(best.matrix[:3, :3])))
    turned = turn_of(best.matrix)
    moved = registrar.displacement(np.eye(4), best.matrix)
    return Placement(best.matrix, before, best, moved, turned, scale, margin)


def _around(centre: np.ndarray, distance: float) -> Iterator[np.ndarray]:
    """Yield moves about a centre: aside, larger and smaller, turned."""
    for way in (*np.eye(3), *-np.eye(3)):
        for share in _STARTS:
            yield _about(centre, np.eye(3), share * distance * way)
        for degrees in _TURNS:
            yield _about(centre, rotation(np.radians(degrees) * way))
    for scale in _SCALES:
        yield _about(centre, scale * np.eye(3))


def _about(centre: np.ndarray, linear: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3] = linear
    found[:3, 3] = centre - linear @ centre + shift
    return found

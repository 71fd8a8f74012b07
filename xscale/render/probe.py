"""Checks of a camera path: surface points in view, faces it flies through, room around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera

_SIDE = 12
"""Rays along an edge of the cube that looks around a camera."""
_NARROW = 1000.0
_ASKED, _SAMPLES, _COARSE = 48, 20_000, 24
_AXES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


@dataclass(frozen=True)
class Encounter:
    """Findings for one frame of a path."""

    frame: int
    crosses: bool
    """The way to the next frame goes through a face."""
    clearance: float
    """Distance to the nearest face around it, world units; inf where nothing is around."""
    inside: bool
    """Nearly everything around it shows its back."""


def surface_point(
    surface: Surface, origin: Sequence[float], camera: Camera, u: float, v: float
) -> np.ndarray | None:
    """Return the world point float64 [3] that pixel position (u, v) shows, None for a miss."""
    K = np.array(camera.K)
    K[0, 2] += 0.5 - u
    K[1, 2] += 0.5 - v
    samples = _look(surface, origin, replace(camera, width=1, height=1, K=K))
    if not len(samples.position):
        return None
    return samples.position[0].double().numpy() + np.asarray(origin)


def focus_of(
    surface: Surface, origin: Sequence[float], cameras: Sequence[Camera]
) -> np.ndarray | None:
    """Return the median of the points in the pictures' middles, float64 [3]; None without any."""
    points = [surface_point(surface, origin, c, c.width / 2, c.height / 2) for c in cameras]
    points = [point for point in points if point is not None]
    return np.median(points, axis=0) if points else None


def sees_mesh(surface: Surface, origin: Sequence[float], cameras: Sequence[Camera]) -> bool:
    """Tell whether any of the cameras, of many an even spread, sees any of the mesh."""
    chosen = cameras[:: max(1, len(cameras) // _ASKED)]
    vertices = surface.vertices[:: max(1, len(surface.vertices) // _SAMPLES)].cpu().numpy()
    world = vertices.astype(np.float64) + np.asarray(origin)
    for camera in chosen:
        pixel, depth = camera.project(world)
        size = (camera.width, camera.height)
        if ((depth > 0) & ((pixel >= 0) & (pixel < size)).all(axis=1)).any():
            return True
    # A close-up may lie inside one large triangle.
    return any(len(_look(surface, origin, c.scaled(_COARSE, _COARSE)).position) for c in chosen)


def is_inside(surface: Surface, origin: Sequence[float], camera: Camera) -> bool:
    """Whether nearly everything around a camera shows its back."""
    return _around(surface, origin, camera.position)[1]


def check_path(
    surface: Surface, origin: Sequence[float], cameras: Sequence[Camera]
) -> list[Encounter]:
    """Tell for every frame what it meets."""
    found = []
    for index, camera in enumerate(cameras):
        after = cameras[index + 1] if index + 1 < len(cameras) else None
        clearance, inside = _around(surface, origin, camera.position)
        crosses = after is not None and _blocked(surface, origin, camera.position, after.position)
        found.append(Encounter(index, crosses, clearance, inside))
    return found


def crossings(surface: Surface, origin: Sequence[float], cameras: Sequence[Camera]) -> list[int]:
    """Return the frames from which the way to the next one goes through a face."""
    ways = enumerate(pairwise(camera.position for camera in cameras))
    return [index for index, (start, end) in ways if _blocked(surface, origin, start, end)]


def _blocked(surface: Surface, origin: Sequence[float], start: np.ndarray, end: np.ndarray) -> bool:
    """Whether a face stands between two world points."""
    way = end - start
    length = np.linalg.norm(way)
    if length == 0:
        return False
    K = np.array([[_NARROW, 0, 0.5], [0, _NARROW, 0.5], [0, 0, 1]])
    samples = _look(surface, origin, _facing(start, way / length, 1, K))
    return bool(len(samples.depth)) and float(samples.depth[0]) < length


def _around(surface: Surface, origin: Sequence[float], position: np.ndarray) -> tuple[float, bool]:
    """Return the distance to the nearest face, and whether nearly all around shows its back."""
    half = _SIDE / 2
    K = np.array([[half, 0, half], [0, half, half], [0, 0, 1]])
    nearest, hits, backs = float("inf"), 0, 0
    for axis in _AXES:
        samples = _look(surface, origin, _facing(position, np.array(axis, float), _SIDE, K))
        if not len(samples.depth):
            continue
        away = samples.position.double() + torch.tensor(np.asarray(origin) - position)
        nearest = min(nearest, float(away.norm(dim=1).min()))
        hits += len(samples.depth)
        backs += int(((samples.normal * samples.direction).sum(1) > 0).sum())
    rays = 6 * _SIDE * _SIDE
    return nearest, hits > 0.95 * rays and backs > 0.9 * hits


def _facing(position: np.ndarray, z: np.ndarray, side: int, K: np.ndarray) -> Camera:
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    return Camera("PINHOLE", side, side, K, R, -R @ position)


def _look(surface: Surface, origin: Sequence[float], camera: Camera) -> GBuffer:
    packed = torch.from_numpy(camera.recentred(origin).packed()).to(surface.vertices.device)
    # A mesh that is flown through or stood in need not be seen.
    whole = surface.two_sided()
    samples, _ = build_gbuffer(whole, packed, camera.width, camera.height)
    return samples

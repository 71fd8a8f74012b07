"""Photos that see a surface point: by ray casting, sorted by resolution and angle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.render.probe import surface_point

_TOLERANCE = 0.005
"""How much nearer than the point a surface may lie, as a share, and not hide it."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """One photo that sees a point."""

    name: str
    pixel: tuple[float, float]
    """Where the point stands in the photo, (u, v) of its camera."""
    size: float
    """Width of the photo's pixel on the surface, world units, with the slant."""
    angle: float
    """Degrees between the surface's normal and the direction to the photo."""


def sightings(
    surface: Surface,
    origin: np.ndarray,
    cameras: Mapping[str, Camera],
    point: np.ndarray,
    normal: np.ndarray,
) -> list[Sighting]:
    """Return the photos that see a point, the finest first; equal ones by their angle.

    Args:
        surface: The mesh, local frame.
        origin: World position of the local frame's origin, [3].
        cameras: The photos', world frame.
        point: Float64 [3], world, on the surface.
        normal: Float64 [3], unit; either side.
    """
    found = []
    for name, camera in cameras.items():
        pixel, depth = camera.project(point[None])
        (u, v), ahead = pixel[0], float(depth[0])
        if not (ahead > max(camera.near, 0) and 0 <= u < camera.width and 0 <= v < camera.height):
            continue
        away = point - camera.position
        distance = float(np.linalg.norm(away))
        hit = surface_point(surface, origin, camera, float(u), float(v))
        if hit is None or np.linalg.norm(hit - camera.position) < distance * (1 - _TOLERANCE):
            continue
        found.append(_sighting(name, camera, (float(u), float(v)), away, distance, normal))
    return sorted(found, key=lambda s: (round(math.log2(s.size) * 8), s.angle))


def _sighting(
    name: str,
    camera: Camera,
    pixel: tuple[float, float],
    away: np.ndarray,
    distance: float,
    normal: np.ndarray,
) -> Sighting:
    cosine = abs(float(away @ normal)) / max(distance, 1e-12)
    # The area of a pixel on the surface, as a square: slant stretches one direction.
    size = distance / math.sqrt(camera.fx * camera.fy) / math.sqrt(max(cosine, 1e-3))
    return Sighting(name, pixel, size, math.degrees(math.acos(min(cosine, 1.0))))


def beyond(size: float, seen: list[Sighting]) -> float | None:
    """Return how many times finer a picture is than the best photo; None without any photo.

    Args:
        size: Width of the picture's pixel on the surface, world units.
        seen: Of that point.
    """
    return seen[0].size / size if seen and size > 0 else None

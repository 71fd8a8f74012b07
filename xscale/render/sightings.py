"""Which photos see a surface point: by a ray from each photo's camera, the finest photo first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.render.probe import surface_point
from xscale.render.run import Run

_STEPS = 8
"""Resolutions of an octave that count as different; within one the angle decides."""
_TOLERANCE = 0.002
"""How much nearer than the point the ray may meet the surface, as a share of the distance."""
_LEAST_COSINE = 0.1
"""As of footprints (``xscale.ops.interpolate``)."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """One photo that sees a point."""

    name: str
    pixel: tuple[float, float]
    """Where the point stands in the photo, (u, v) of its camera at training size."""
    size: float
    """Size of the photo's pixel on the surface, world units."""
    angle: float
    """Degrees between the surface's normal, on the photo's side, and the direction to the photo."""
    distance: float
    """From the photo's camera to the point, world units."""


def photos_seeing(
    surface: Surface,
    cameras: Mapping[str, Camera],
    point: np.ndarray,
    normal: np.ndarray,
    origin: np.ndarray,
) -> list[Sighting]:
    """Return the photos that see a point: the finest first, of equally fine ones the most frontal.

    Args:
        surface: The mesh.
        cameras: The photos', world frame, by name.
        point: Float64 [3], world, on the surface.
        normal: [3], unit, of the surface there; either side.
        origin: World position of the local frame's origin, [3].
    """
    point = np.asarray(point, np.float64)
    found = []
    for name, camera in cameras.items():
        pixel, depth = camera.project(point[None])
        u, v = (float(value) for value in pixel[0])
        if not (depth[0] > camera.near and 0 <= u <= camera.width and 0 <= v <= camera.height):
            continue
        away = point - camera.position
        distance = float(np.linalg.norm(away))
        met = surface_point(surface, origin, camera, u, v)
        if met is None or np.linalg.norm(met - camera.position) < distance * (1 - _TOLERANCE):
            continue
        cosine = abs(float(away @ normal)) / max(distance, 1e-300)
        area = distance**2 * _solid_angle(camera, pixel[0]) / max(cosine, _LEAST_COSINE)
        found.append(
            Sighting(
                name,
                (u, v),
                area**0.5,
                float(np.degrees(np.arccos(min(cosine, 1.0)))),
                distance,
            )
        )
    return sorted(found, key=lambda s: (round(np.log2(s.size) * _STEPS), s.angle, s.name))


def _solid_angle(camera: Camera, pixel: np.ndarray) -> float:
    """Return the solid angle of the pixel around a place, by the rays beside it."""
    step = 0.25
    places = pixel + step * np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
    left, right, up, down = camera.rays(places)
    across = np.linalg.norm(np.cross(right - left, down - up))
    if np.isfinite(across):
        return float(across / (2 * step) ** 2)
    return 1 / (camera.fx * camera.fy)


def sightings(run: Run, point: np.ndarray, normal: np.ndarray) -> list[Sighting]:
    """Return the training photos of a run that see a surface point; see ``photos_seeing``.

    Args:
        run: The opened run.
        point: Float64 [3], world.
        normal: [3], unit, of the surface there.
    """
    cameras = {name: run.camera(name) for name in run.names("train")}
    return photos_seeing(run.surface, cameras, point, normal, run.origin)

"""Places worth a look: where photos and model disagree most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xscale.geometry.camera import Camera
from xscale_viewer.navigation import View, look_at

_STAND_OFF = 0.5
"""Distance of the eye from a place, in the nearest photo's distance."""


@dataclass(frozen=True, eq=False)
class Place:
    """One stop of a tour."""

    point: np.ndarray
    """Float64 [3], world."""
    normal: np.ndarray
    """Float64 [3], unit."""
    value: float
    """Value that it is listed for."""


def places(
    points: np.ndarray, normals: np.ndarray, values: np.ndarray, spacing: float, count: int = 20
) -> list[Place]:
    """Return the places of the largest values, apart from each other.

    A place's value is the mean over the cell of ``spacing`` that it lies in, so that a single
    vertex does not make a stop.

    Args:
        points: [V, 3], world.
        normals: [V, 3].
        values: [V]; NaN is left out.
        spacing: World units between two places.
        count: Most places.
    """
    good = np.isfinite(values)
    if not good.any():
        return []
    points, normals, values = (np.asarray(a, np.float64)[good] for a in (points, normals, values))
    cell = np.floor((points - points.min(0)) / spacing).astype(np.int64)
    _, index = np.unique(cell, axis=0, return_inverse=True)
    index = index.reshape(-1)
    size = np.bincount(index)
    mean = np.bincount(index, values) / size
    # Cells at the mesh's rim hold few vertices, whose mean says little.
    mean[size < 0.2 * np.median(size)] = -np.inf
    found: list[Place] = []
    for best in np.argsort(-mean):
        if len(found) == count or not np.isfinite(mean[best]):
            break
        inside = index == best
        point, normal = points[inside].mean(0), normals[inside].mean(0)
        near = points[inside][np.argmin(np.linalg.norm(points[inside] - point, axis=1))]
        if all(np.linalg.norm(near - place.point) >= spacing for place in found):
            length = np.linalg.norm(normal)
            unit = normal / length if length > 1e-6 else np.array([0.0, 0, 1])
            found.append(Place(near, unit, float(mean[best])))
    return found


def view_of_place(
    place: Place, cameras: Mapping[str, Camera], up: np.ndarray, extent: float
) -> View:
    """Return a view of a place from the side of the photo that looks at it most squarely."""
    best, most = None, 0.2
    for camera in cameras.values():
        away = camera.position - place.point
        distance = float(np.linalg.norm(away))
        pixel, depth = camera.project(place.point[None])
        inside = depth[0] > 0 and 0 <= pixel[0, 0] < camera.width
        if distance == 0 or not (inside and 0 <= pixel[0, 1] < camera.height):
            continue
        facing = float(away @ place.normal) / distance
        if facing > most:
            best, most = away, facing
    if best is None:
        best = place.normal * extent * 0.1
    return look_at(place.point + best * _STAND_OFF, place.point, up)


class Tour:
    """A list of places and where the user stands in it."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.at = -1

    def step(self, by: int) -> Place | None:
        """Go on or back; past the end it begins again. None where there is no place."""
        if not self.places:
            return None
        self.at = (self.at + by) % len(self.places) if self.at >= 0 else (0 if by > 0 else -1)
        self.at %= len(self.places)
        return self.places[self.at]

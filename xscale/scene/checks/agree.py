"""Do photos agree through the mesh? Points of the surface must look alike in all photos of them.

The measure is coarse and quick: a few pairs of neighbouring photos, small, locally normalised, and
compared at samples of the surface that both see. The correlation is near 0 where cameras, mesh and
photos have nothing to do with each other. Any placement of the mesh and any reading of the cameras
can be tried in milliseconds, before it is advised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xscale.errors import XscaleError
from xscale.scene.checks.fit import Evidence
from xscale.scene.checks.pictures import Pictures

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.scene.photo import Photo
    from xscale.scene.scene import Scene

AGREES, DISAGREES = 0.3, 0.12
"""Correlations from which photos agree, and below which they do not."""
_LONG_SIDE = 160
_BASES, _OTHERS = 5, 2
_MOST_READ = 12
_ASIDE = 20.0
"""Degrees between the directions from which the photos of a pair see the scene, if there are any:
the farther apart, the more a wrong depth shows."""
_RADIUS = 4
_CELL = 4
_SAME_DEPTH = 0.03
_LEAST_POINTS = 150
_LEAST_PAIRS = 2
_FLAT = 1.5 / 255
_TEXTURED = 0.15
"""Share of the points seen that must have contrast around them."""


@dataclass(frozen=True)
class Agreement:
    """How far photos agree through the mesh."""

    pairs: int
    """Pairs of photos that could be compared."""
    points: int
    """Surface points that were compared."""
    correlation: float
    """Median over the pairs, of locally normalised brightness."""

    @property
    def compared(self) -> bool:
        """Whether there was enough to compare."""
        return self.pairs >= _LEAST_PAIRS

    @property
    def agrees(self) -> bool:
        """Whether photos are seen to agree."""
        return self.compared and self.correlation >= AGREES

    @property
    def disagrees(self) -> bool:
        """Whether photos are seen to disagree."""
        return self.compared and self.correlation < DISAGREES


SAMPLES = 8_000
"""Samples of the surface for a trial."""


class PhotoTrial:
    """A few small photos, with which placements of a mesh are tried.

    Args:
        photos: The scene's.
        surface: Samples of the surface, float64 [N, 3], as the mesh stands.
        pictures: Of the photos, where some are decoded already.
    """

    def __init__(
        self, photos: Sequence[Photo], surface: np.ndarray, pictures: Pictures | None = None
    ) -> None:
        self._surface = surface
        self.pictures = pictures or Pictures(photos)
        """The small photos."""
        self._cameras = [photo.camera for photo in photos]
        self._pairs = _pairs(self._cameras, np.median(surface, axis=0))
        self._normalised: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for index in dict.fromkeys(k for pair in self._pairs for k in pair):
            if len(self._normalised) >= _MOST_READ:
                break
            try:
                made = self.pictures.derived
                if index not in made:
                    made[index] = _normalised(*self.pictures.grey(index, _LONG_SIDE))
                self._normalised[index] = made[index]
            except XscaleError:
                continue  # damaged photos are reported where all are decoded

    def of(
        self, matrix: np.ndarray | None = None, cameras: Sequence[Camera] | None = None
    ) -> Agreement:
        """Return the agreement with the mesh moved, or with other cameras.

        Args:
            matrix: float64 [4, 4], applied to the mesh.
            cameras: As many as photos.
        """
        surface = self._surface
        if matrix is not None:
            surface = surface @ matrix[:3, :3].T + matrix[:3, 3]
        cameras = cameras or self._cameras
        seen = {k: _seen(cameras[k], surface) for k in self._normalised}
        found, points = [], 0
        for first, second in self._pairs:
            if first not in seen or second not in seen:
                continue
            both = np.intersect1d(seen[first][0], seen[second][0], assume_unique=True)
            a, b = (self._at(k, *seen[k], both) for k in (first, second))
            known = ~(np.isnan(a) | np.isnan(b))
            if known.sum() < max(_LEAST_POINTS, _TEXTURED * len(both)):
                continue
            a, b = a[known], b[known]
            points += len(a)
            found.append(float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9)))
        return Agreement(len(found), points, float(np.median(found)) if found else 0.0)

    def _at(
        self, index: int, points: np.ndarray, pixel: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Return the normalised brightness at points, NaN where the picture is flat or masked."""
        picture, known = self._normalised[index]
        height, width = picture.shape
        at = pixel[np.searchsorted(points, wanted)] * (width, height) - 0.5
        at = at.clip(0, (width - 1.001, height - 1.001))
        column, row = np.floor(at).astype(np.int64).T
        x, y = (at - np.floor(at)).T
        right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
        value = (1 - y) * ((1 - x) * picture[row, column] + x * picture[row, right])
        value += y * ((1 - x) * picture[below, column] + x * picture[below, right])
        return np.where(known[row, column], value, np.nan)


def _pairs(cameras: Sequence[Camera], centre: np.ndarray) -> list[tuple[int, int]]:
    """Choose photos spread over the scene, and for each some that see it from a little aside."""
    count = len(cameras)
    places = np.array([camera.position for camera in cameras])
    forward = np.array([camera.R[2] for camera in cameras])
    rays = places - centre
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-30)
    pairs = []
    for k in range(min(_BASES, count)):
        base = k * count // min(_BASES, count)
        away = np.linalg.norm(places - places[base], axis=1)
        turned = np.degrees(np.arccos(np.clip(forward @ forward[base], -1, 1)))
        aside = np.degrees(np.arccos(np.clip(rays @ rays[base], -1, 1)))
        # Two photos from one place agree through any mesh: they prove nothing. From far aside, the
        # same surface looks different.
        cost = np.abs(aside - _ASIDE) + np.maximum(turned - _ASIDE, 0)
        cost[away < 1e-3 * (np.median(away) or 1.0)] = np.inf
        for other in np.argsort(cost, kind="stable")[:_OTHERS]:
            if np.isfinite(cost[other]) and (int(other), base) not in pairs:
                pairs.append((base, int(other)))
    return pairs


def _normalised(grey: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture without local brightness and contrast, and where it has any."""
    grey = grey.astype(np.float64)
    centred = grey - _blurred(grey)
    contrast = np.sqrt(np.maximum(_blurred(centred**2), 0.0))
    return centred / (contrast + 1e-3), known & (contrast > _FLAT)


def _blurred(picture: np.ndarray) -> np.ndarray:
    side = 2 * _RADIUS + 1
    for axis in (0, 1):
        pad = [(_RADIUS + 1, _RADIUS) if a == axis else (0, 0) for a in (0, 1)]
        total = np.cumsum(np.pad(picture, pad, mode="edge"), axis=axis)
        ahead = np.take(total, np.arange(side, total.shape[axis]), axis=axis)
        picture = (ahead - np.take(total, np.arange(total.shape[axis] - side), axis=axis)) / side
    return picture


def _seen(camera: Camera, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples a camera sees, sorted, and where, as shares of the picture's sides."""
    with np.errstate(all="ignore"):
        pixel, depth = camera.project(surface)
    share = pixel / (camera.width, camera.height)
    inside = (depth > 0) & ((share >= 0) & (share < 1)).all(axis=1)
    index = np.flatnonzero(inside)
    share, depth = share[index], depth[index]
    across = _LONG_SIDE // _CELL
    column, row = np.floor(share * across).astype(np.int64).T
    nearest = np.full(across * across, np.inf)
    cell = row * across + column
    np.minimum.at(nearest, cell, depth)
    front = depth <= nearest[cell] * (1 + _SAME_DEPTH)
    return index[front], share[front]


def photo_trial(photos: Sequence[Photo], evidence: Evidence) -> PhotoTrial:
    """Return the trial of a scene whose surface was sampled already."""
    surface = evidence.surface
    return PhotoTrial(photos, surface[:: max(1, len(surface) // SAMPLES)])


def quick_check(scene: Scene) -> str:
    """Return one line about whether photos agree through the mesh, in a second.

    It is a coded warning where they do not, or cannot be compared.
    """
    if any(photo.make is not None for photo in scene.photos):
        return "photos are made on demand from the mesh: they agree with it"
    evidence = Evidence(scene.mesh, [photo.camera for photo in scene.photos], None)
    found = photo_trial(scene.photos, evidence).of()
    measured = f"correlation {found.correlation:.2f} over {found.pairs} pairs"
    if not found.compared:
        return (
            "W-SCENE-UNCOMPARED: whether photos, cameras and mesh fit together was not measured: "
            f"{found.pairs} pairs of photos could be compared; run xscale inspect"
        )
    if found.agrees:
        return f"photos agree roughly through the mesh: {measured}; xscale inspect measures it"
    return (
        f"W-SCENE-DISAGREES: photos do not agree through the mesh ({measured}): cameras and mesh "
        "may not fit together; run xscale inspect"
    )

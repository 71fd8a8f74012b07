"""Photos that are missing: places that few photos see, or none as finely as is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xscale.geometry.camera import Camera
from xscale_viewer.navigation import look_at
from xscale_viewer.tour import Place, places

if TYPE_CHECKING:
    from xscale.render.sight import Sight

FEW = 3
"""Photos below which a place is one where photos are missing."""
_COARSER = 1.4
"""A photo is missing where the finest one is coarser than wanted by more than this factor."""
_PROBED = 20_000
_SHARED = 0.4
"""Least distance between two places, in heights of an advised photo."""
_NEAREST = 0.02
"""Least distance of an advised photo, in diagonals of the scene."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """A place, and the photo that would supply what it lacks."""

    place: Place
    photos: int
    """Photos that see it."""
    best: float
    """Width of the finest photo's pixel there, world units; inf where no photo sees it."""
    size: float
    """Width that is wanted."""
    camera: Camera
    """The photo's, world frame: it looks squarely at the place."""


@dataclass(frozen=True, eq=False)
class InView:
    """A picture: only what it shows is searched, and its pixels' size is what is wanted."""

    camera: Camera
    depth: np.ndarray
    """Float32 [H, W]."""


def search(
    run: object,
    cameras: Mapping[str, Camera],
    up: np.ndarray,
    extent: float,
    seen_in: InView | None = None,
) -> list[Wanted]:
    """Return the places where photos are missing most. For the render thread.

    Args:
        run: Run or ``SceneRun``.
        cameras: The photos', by name; the first one lends its lens and size to those advised.
        up: The scene's upward direction.
        extent: Diagonal of the scene.
        seen_in: The picture that is searched; without one the whole mesh is, and the photos' usual
            resolution is wanted.
    """
    if not cameras:
        return []
    surface, origin = run.surface, np.asarray(run.origin)
    every = max(1, len(surface.vertices) // _PROBED)
    local = surface.vertices[::every].cpu().numpy()
    normals = surface.normals[::every].cpu().numpy()
    points = local.astype(np.float64) + origin
    count, best, front = resolution(run.views, local, normals)
    if front < 0.5:  # a mesh whose faces are turned inside out
        normals = -normals
    if seen_in is None:
        usual = np.isfinite(best)
        size = np.full(len(points), np.median(best[usual]) if usual.any() else extent / 1000)
    else:
        size = _size_in(seen_in, points, normals)
    values = lack(count, best, size)
    lens, found = next(iter(cameras.values())), []
    if np.isnan(values).all():
        return []
    # One photo supplies what lies around its place too.
    wide = _SHARED * min(lens.width, lens.height) * float(np.nanmedian(size))
    for place in places(points, normals, values, max(extent / 20, wide)):
        at = int(np.argmin(np.linalg.norm(points - place.point, axis=1)))
        camera = advised(run, place, lens, float(size[at]), up, extent)
        found.append(Wanted(place, int(count[at]), float(best[at]), float(size[at]), camera))
    return found


def resolution(
    views: Sequence[Sight], points: np.ndarray, normals: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return how many photos see points, and the width of the finest one's pixel: [N] and [N].

    The third value is the share of sightings from the side that the normals point to.

    Args:
        views: What the photos' cameras see.
        points: Float32 [N, 3], local frame.
        normals: Float32 [N, 3], unit.
    """
    count, most = np.zeros(len(points), np.int64), np.zeros(len(points))
    front = 0
    for view in views:
        direction, pixels = view.seen(points, normals)
        seen = pixels > 0
        count += seen
        front += int((seen & ((direction * normals).sum(1) < 0)).sum())
        most = np.maximum(most, pixels)
    with np.errstate(divide="ignore"):
        return count, 1 / np.sqrt(most), front / max(int(count.sum()), 1)


def lack(count: np.ndarray, best: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return how much photos are missing at points [N]; NaN where none is.

    A photo too few counts as much as one that is twice as coarse as wanted. A size of NaN leaves a
    point out.
    """
    few = np.maximum(FEW - count, 0).astype(float)
    with np.errstate(invalid="ignore"):
        times = np.where(np.isfinite(best), best / size, 1.0)
    coarse = np.where(times > _COARSER, np.log2(np.maximum(times, 1.0)), 0.0)
    values = few + coarse
    return np.where((values > 0) & np.isfinite(size), values, np.nan)


def advised(
    run: object, place: Place, lens: Camera, size: float, up: np.ndarray, extent: float
) -> Camera:
    """Return the camera of a photo that looks squarely at a place, with pixels of a size there.

    It stands nearer where something is in the way.
    """
    from xscale_viewer.motion import room_along

    distance = max(size * float(np.sqrt(lens.fx * lens.fy)), extent * _NEAREST)
    start = place.point + place.normal * extent * 1e-3
    room = room_along(run.surface, run.origin, start, place.normal)
    distance = min(distance, 0.8 * room)
    view = look_at(place.point + place.normal * distance, place.point, up)
    return Camera(
        lens.model, lens.width, lens.height, lens.K, view.R, -view.R @ view.position,
        lens.distortion, lens.near,
    )  # fmt: skip


def _size_in(picture: InView, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return the width of a picture's pixel at points [N]; NaN where it does not show them."""
    camera = picture.camera
    pixel, ahead = camera.project(points)
    height, width = picture.depth.shape
    with np.errstate(invalid="ignore"):
        inside = (ahead > 0) & (pixel >= 0).all(1) & (pixel < (width, height)).all(1)
    column, row = np.where(inside[:, None], np.nan_to_num(pixel), 0).astype(int).T
    inside &= ahead <= picture.depth[row, column] * 1.01
    away = points - camera.position
    distance = np.linalg.norm(away, axis=1)
    cosine = np.abs((away * normals).sum(1)) / np.maximum(distance, 1e-300)
    size = distance / np.sqrt(camera.fx * camera.fy * np.maximum(cosine, 0.1))
    return np.where(inside, size, np.nan)

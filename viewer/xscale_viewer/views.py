"""Views that photos give: the first one of a window, and the photo nearest to a view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xscale.geometry.camera import Camera
from xscale_viewer.navigation import View, angles, is_usable, level, look_at, view_of

if TYPE_CHECKING:
    from xscale_viewer.source import Source


_MOST_ROLL = 20.0
"""Degrees: a photo that was held more aslant is levelled when a window opens with its view."""

_CELLS = 6
"""Cells along a picture's edge that are counted to tell how much of it the mesh fills."""

_STEEP = 0.95
"""Sine of the pitch above which a view has no horizon to be levelled to."""


def first_view(source: Source) -> View:
    """Return the view that a window opens with: a far photo's, else the whole mesh."""
    if source.cameras:
        names = sorted(source.cameras)
        away = np.array([source.cameras[name].position for name in names])
        away -= (source.low + source.high) / 2
        far = np.linalg.norm(away, axis=1)
        # A far one, since a close-up shows little of what there is, but not the remotest.
        apart = np.abs(np.log(np.maximum(far, 1e-12) / max(float(np.quantile(far, 0.8)), 1e-12)))
        side = np.linalg.norm(away - np.median(away, axis=0), axis=1) / max(source.extent, 1e-12)
        filled = np.array([_filled(source.cameras[name], source.sample) for name in names])
        nearest = names[int(np.argmin(apart + side + 2 * (1 - filled)))]
        view = view_of(source.cameras[nearest])
        if is_usable(view):
            # Straight up or down there is no horizon.
            steep = abs(view.forward @ source.up) > _STEEP
            rolled = not steep and abs(angles(view, source.up)[2]) > _MOST_ROLL
            return level(view, source.up) if rolled else view
    centre, extent = (source.low + source.high) / 2, source.extent
    side = np.cross(source.up, np.eye(3)[int(np.argmin(np.abs(source.up)))])
    return look_at(centre + (side + 0.5 * source.up) * extent, centre, source.up)


def _filled(camera: Camera, points: np.ndarray) -> float:
    """Return the share of a picture's cells that points [N, 3] of the mesh lie in."""
    pixel, ahead = camera.project(points)
    with np.errstate(invalid="ignore"):
        cell = np.floor(pixel * _CELLS / (camera.width, camera.height))
        inside = (ahead > 0) & ((cell >= 0) & (cell < _CELLS)).all(1)
    return len(np.unique(cell[inside], axis=0)) / _CELLS**2


def nearest_photo(cameras: Mapping[str, Camera], view: View, extent: float) -> str:
    """Return the name of the photo nearest to a view, in place and direction."""

    def far(name: str) -> float:
        camera = cameras[name]
        apart = float(np.linalg.norm(camera.position - view.position)) / max(extent, 1e-12)
        return apart + (1 - float(camera.R[2] @ view.forward)) * 0.5

    return min(cameras, key=far)

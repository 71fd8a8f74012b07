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


def first_view(source: Source) -> View:
    """Return the view that a window opens with: the middle photo's, else the whole mesh."""
    if source.cameras:
        names = sorted(source.cameras)
        centres = np.array([source.cameras[name].position for name in names])
        middle = np.median(centres, axis=0)
        nearest = names[int(np.argmin(np.linalg.norm(centres - middle, axis=1)))]
        view = view_of(source.cameras[nearest])
        if is_usable(view):
            rolled = abs(angles(view, source.up)[2]) > _MOST_ROLL
            return level(view, source.up) if rolled else view
    centre, extent = (source.low + source.high) / 2, source.extent
    side = np.cross(source.up, np.eye(3)[int(np.argmin(np.abs(source.up)))])
    return look_at(centre + (side + 0.5 * source.up) * extent, centre, source.up)


def nearest_photo(cameras: Mapping[str, Camera], view: View, extent: float) -> str:
    """Return the name of the photo nearest to a view, in place and direction."""

    def far(name: str) -> float:
        camera = cameras[name]
        apart = float(np.linalg.norm(camera.position - view.position)) / max(extent, 1e-12)
        return apart + (1 - float(camera.R[2] @ view.forward)) * 0.5

    return min(cameras, key=far)

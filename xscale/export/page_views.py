"""Places that a page can go to: the photos', the start, and a camera path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xscale.geometry.camera import Camera
from xscale.geometry.trajectory import orbit, outer_arm, up_of
from xscale.render.probe import check_path, focus_of
from xscale.render.run import Run

_MOST_VIEWS = 400
_MOST_LOOKED_AT = 40
_PATH_VIEWS = 48
_PATH_SECONDS = 40.0
_SMALL = 64
_WIDE_FOCAL = 0.7
"""Focal length, in shorter sides, where a lens sees more than a flat picture can show."""
_NEAR = 1e-4
"""Nearest depth in sizes of the mesh, where the run has none."""


def photo_views(run: Run) -> list[tuple[str, Camera]]:
    """Return the photos' names and cameras, some of very many; a page starts at the first."""
    names = run.names("all")
    some = names[:: -(-len(names) // _MOST_VIEWS)]
    return [(name, run.camera(name)) for name in some]


def places(run: Run, vertices: np.ndarray, path: Sequence[Camera] | None) -> dict[str, object]:
    """Return the record of a page's places, in the mesh's local frame.

    Args:
        run: The run.
        vertices: Float32 [V, 3], local frame.
        path: Camera path of the world frame; None circles around what the photos show.
    """
    views = photo_views(run)
    cameras = [camera for _, camera in views]
    points = vertices.astype(np.float64)
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    some = cameras[:: max(1, len(cameras) // _MOST_LOOKED_AT)]
    focus = focus_of(run.surface, run.origin, some)
    focus = points.mean(0) + run.origin if focus is None else focus
    up = up_of(cameras)
    if path is None:
        path = _circle(run, cameras, focus, up)
    return {
        "near": min([c.near for c in cameras if c.near > 0] or [size * _NEAR]),
        "size": size,
        "up": up.tolist(),
        "centre_of_view": (focus - run.origin).tolist(),
        "start": _record(run, cameras[0]),
        "views": [{"name": plain(name), **_record(run, c)} for name, c in views],
        "path": [_record(run, camera) for camera in path],
        "path_seconds": _PATH_SECONDS,
    }


def _record(run: Run, camera: Camera) -> dict[str, object]:
    local = camera.recentred(run.origin)
    focal = (camera.fx * camera.fy) ** 0.5 / min(camera.width, camera.height)
    if camera.lens.projection.wide:
        focal = _WIDE_FOCAL
    return {"eye": local.position.tolist(), "R": np.asarray(local.R).tolist(), "f": focal}


def _circle(run: Run, cameras: list[Camera], focus: np.ndarray, up: np.ndarray) -> list[Camera]:
    """Return a circle around a point; nothing where it would go through the mesh."""
    radius, height = outer_arm(cameras, focus, up)
    circle = orbit(cameras[0], focus, up, _PATH_VIEWS, 360.0, radius, height)
    small = [
        replace(camera, width=_SMALL, height=_SMALL, K=limited(camera, _SMALL).K)
        for camera in circle
    ]
    met = check_path(run.surface, run.origin, small)
    return [] if any(m.crosses or m.inside for m in met) else circle


def limited(camera: Camera, edge: int) -> Camera:
    """Return the camera of the picture no longer than ``edge`` on any side."""
    factor = min(1.0, edge / max(camera.width, camera.height))
    width, height = (max(1, round(side * factor)) for side in (camera.width, camera.height))
    return camera.scaled(width, height)


def plain(text: str) -> str:
    """Return text without control characters and what is not Unicode."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in clean)[:300]

"""Facts of a run that help to read other programs' cameras, and advice for blind ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xscale.errors import InputError
from xscale.geometry.camera import Camera
from xscale.render.foreign_cameras import DATAPARSER, Known
from xscale.render.run import Run

_UNIT_CUBE = 4.0
"""nerfstudio's own frame holds its cameras within about 1 of the origin."""


def known_to(run: Run) -> Known:
    """Return the cameras and the provenance of a run's scene."""
    cameras = {name: run.camera(name) for name in run.names("all")}
    return Known(cameras, run.manifest.scene.provenance)


def cameras_not_seeing(run: Run, cameras: list[Camera], where: Path) -> InputError:
    """Return the error of cameras none of which sees the mesh; it names their probable frame.

    Args:
        run: The run.
        cameras: At least one.
        where: Their file.
    """
    vertices = run.surface.vertices.cpu().numpy()
    origin = np.asarray(run.origin)
    low, high = vertices.min(0) + origin, vertices.max(0) + origin
    places = np.array([camera.position for camera in cameras])
    if float(np.abs(places).max()) < _UNIT_CUBE:
        advice = f"nerfstudio's own frame is likely: put its {DATAPARSER} beside the file"
    else:
        advice = (
            "export them from the alignment that the scene was made of; for a path in "
            f"nerfstudio's own frame put its {DATAPARSER} beside the file"
        )
    return InputError(
        f"none of the {len(cameras)} cameras sees the mesh: they stand in "
        f"{_box(places.min(0), places.max(0))}, the mesh fills {_box(low, high)}",
        where=where,
        advice=advice,
    )


def _box(low: np.ndarray, high: np.ndarray) -> str:
    return " to ".join("(" + ", ".join(f"{x:.4g}" for x in corner) + ")" for corner in (low, high))

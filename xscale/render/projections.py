"""The same viewpoint seen through other lenses: fisheye, panorama, cube, pair of eyes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from xscale.errors import UsageError
from xscale.geometry.camera import Camera
from xscale.geometry.models import BY_NAME

PROJECTIONS = ("camera", "perspective", "fisheye", "equirectangular", "cubemap", "stereo")
# Rotations from a camera to a face of the cube around it (OpenCV axes: x right, y down).
_FACES = {
    "front": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "right": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    "back": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "left": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "up": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "down": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def project(
    camera: Camera, projection: str, fov: float | None = None, baseline: float | None = None
) -> dict[str, Camera]:
    """Return the cameras that stand for one camera in a projection, by their name's suffix.

    Args:
        camera: Gives place, direction and size.
        projection: ``camera`` (as it is), ``perspective`` (no distortion), ``fisheye``
            (equidistant), ``equirectangular`` (360 x 180 degrees), ``cubemap`` (six pictures,
            squares of the camera's height) or ``stereo`` (two cameras side by side, parallel).
        fov: Vertical field of view in degrees, perspective and fisheye; the camera's own (180 for
            a fisheye) by default.
        baseline: Distance of the two eyes in world units, stereo.

    Raises:
        UsageError: The projection or a number makes no sense, or this version cannot compute it.
    """
    check_projection(projection, fov, baseline)
    width, height = camera.width, camera.height
    middle = (width / 2, height / 2)
    if projection == "camera":
        return {"": camera}
    if projection == "perspective":
        if fov is None:
            return {"": replace(camera, model="PINHOLE", distortion=np.zeros(0))}
        focal = height / 2 / math.tan(math.radians(fov) / 2)
        return {"": _with(camera, "PINHOLE", focal, focal, middle)}
    if projection == "fisheye":
        fov = 180.0 if fov is None else fov
        focal = height / math.radians(fov)
        return {"": _with(camera, "OPENCV_FISHEYE", focal, focal, middle, 4)}
    if projection == "equirectangular":
        fx, fy = width / (2 * math.pi), height / math.pi
        return {"": _with(camera, "EQUIRECTANGULAR", fx, fy, middle)}
    if projection == "cubemap":
        square = _with(
            replace(camera, width=height), "PINHOLE", height / 2, height / 2, (middle[1],) * 2
        )
        return {
            f"_{name}": replace(square, R=np.array(turn) @ camera.R, t=np.array(turn) @ camera.t)
            for name, turn in _FACES.items()
        }
    shift = np.array([baseline / 2, 0, 0])
    return {
        "_left": replace(camera, t=camera.t + shift),
        "_right": replace(camera, t=camera.t - shift),
    }


def check_projection(
    projection: str, fov: float | None = None, baseline: float | None = None
) -> None:
    """Refuse numbers that make no sense for a projection; arguments of ``project``.

    Raises:
        UsageError: They make none, or there is no such projection.
    """
    if projection not in PROJECTIONS:
        raise UsageError(f"no projection {projection!r}; there are {', '.join(PROJECTIONS)}")
    if projection == "perspective" and fov is not None and not 0 < fov < 180:
        raise UsageError(f"--fov of a perspective lies between 0 and 180, got {fov:g}")
    if projection == "fisheye" and fov is not None and not 0 < fov <= 360:
        raise UsageError(f"--fov of a fisheye lies between 0 and 360, got {fov:g}")
    if projection == "stereo" and not (baseline is not None and 0 < baseline < math.inf):
        raise UsageError("stereo needs the distance of the eyes", advice="give --baseline")


def _with(
    camera: Camera,
    model: str,
    fx: float,
    fy: float,
    middle: tuple[float, float],
    distortion: int = 0,
) -> Camera:
    if not BY_NAME[model].supported:
        raise UsageError(f"this version cannot render {model} cameras")
    K = np.array([[fx, 0, middle[0]], [0, fy, middle[1]], [0, 0, 1]])
    return replace(camera, model=model, K=K, distortion=np.zeros(distortion))

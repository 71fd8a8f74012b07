"""Camera paths: orbits, spirals, smooth curves through key poses, and zooms onto a point.

All cameras are in the scene's frame with OpenCV axes. A path keeps the size, the camera model and
the distortion of the camera that it is made from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xscale.errors import UsageError
from xscale.geometry.camera import Camera
from xscale.geometry.curve import Curve, scipy_modules

_FARTHER = 2 / 3
"""Quantile of the distances from which cameras are the farther ones."""


def look_at(position: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return R (float64 [3, 3]) of a camera at ``position`` that looks at ``target``.

    Args:
        position: [3].
        target: [3], elsewhere than ``position``.
        up: [3], what points upwards in the picture; another direction is taken where the camera
            looks along it.
    """
    z = _unit(np.asarray(target, np.float64) - position)
    x = np.cross(z, _unit(np.asarray(up, np.float64)))
    if np.linalg.norm(x) < 1e-6:
        x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x = _unit(x)
    return np.stack([x, np.cross(z, x), z])


def placed(camera: Camera, position: np.ndarray, R: np.ndarray) -> Camera:
    """Return ``camera`` moved to ``position`` [3] and turned to ``R`` [3, 3]."""
    return replace(camera, R=R, t=-R @ np.asarray(position, np.float64))


def up_of(cameras: Sequence[Camera]) -> np.ndarray:
    """Return what points upwards in most pictures: a unit vector, float64 [3]."""
    mean = -np.mean([camera.R[1] for camera in cameras], axis=0)
    return _unit(mean if np.linalg.norm(mean) > 1e-6 else -cameras[0].R[1])


def outer_arm(cameras: Sequence[Camera], centre: np.ndarray, up: np.ndarray) -> tuple[float, float]:
    """Return the distance from an axis and the height at which the farther cameras stand.

    The farther third decides: from there, what all cameras look at is seen as a whole. Where all
    stand equally far, it is what all do.

    Args:
        cameras: At least one.
        centre: [3], on the axis; heights count from it.
        up: The axis, [3].
    """
    up = _unit(np.asarray(up, np.float64))
    arms = np.array([camera.position for camera in cameras]) - centre
    far = np.linalg.norm(arms, axis=1)
    arms = arms[far >= np.quantile(far, _FARTHER)]
    heights = arms @ up
    return (
        float(np.median(np.linalg.norm(arms - heights[:, None] * up, axis=1))),
        float(np.median(heights)),
    )


def orbit(
    camera: Camera,
    centre: np.ndarray,
    up: np.ndarray,
    frames: int,
    degrees: float = 360.0,
    radius: float | None = None,
    height: float | None = None,
) -> list[Camera]:
    """Circle around a point, looking at it; begins in the direction of ``camera``.

    Args:
        camera: Gives the start and the intrinsics.
        centre: [3].
        up: Axis of the circle, [3].
        frames: How many cameras, 2 at least.
        degrees: How far to go; a whole circle does not repeat its first camera.
        radius: Of the circle, world units; default: the camera's own.
        height: Of the circle above ``centre``; default: the camera's own.
    """
    _enough(frames)
    up = _unit(np.asarray(up, np.float64))
    arm = camera.position - centre
    height = float(arm @ up) if height is None else height
    arm = arm - (arm @ up) * up
    if np.linalg.norm(arm) < 1e-9:
        arm = camera.R[0] - (camera.R[0] @ up) * up
    radius = float(np.linalg.norm(arm)) if radius is None else radius
    first = _unit(arm)
    second = np.cross(up, first)
    steps = frames if abs(degrees) % 360 == 0 else frames - 1
    cameras = []
    for k in range(frames):
        angle = math.radians(degrees) * k / steps
        arm = radius * (math.cos(angle) * first + math.sin(angle) * second)
        position = np.asarray(centre, np.float64) + arm + height * up
        cameras.append(placed(camera, position, look_at(position, centre, up)))
    return cameras


def spiral(
    camera: Camera,
    centre: np.ndarray,
    up: np.ndarray,
    frames: int,
    size: Sequence[float],
    turns: float = 2.0,
) -> list[Camera]:
    """Wind around ``camera``'s place with the picture held on a point.

    Args:
        camera: The middle of the spiral, and the intrinsics.
        centre: [3], stays in the middle of the picture.
        up: [3].
        frames: How many cameras, 2 at least.
        size: Half the extent to the right, downwards and forwards, world units.
        turns: How often around.
    """
    _enough(frames)
    steps = frames if float(turns).is_integer() else frames - 1
    cameras = []
    for k in range(frames):
        angle = 2 * math.pi * turns * k / steps
        around = np.array([math.cos(angle), math.sin(angle), math.sin(angle / max(turns, 1))])
        position = camera.position + (around * size) @ camera.R
        cameras.append(placed(camera, position, look_at(position, centre, up)))
    return cameras


def zoom(
    camera: Camera, target: np.ndarray, up: np.ndarray, frames: int, closest: float
) -> list[Camera]:
    """Go straight from ``camera`` towards a surface point, every frame by the same factor nearer.

    The target drifts from where the camera sees it to the middle of the picture; start and end
    are gentle.

    Args:
        camera: Start and intrinsics.
        target: [3], in front of the camera.
        up: [3].
        frames: How many cameras, 2 at least.
        closest: Distance to the target at the end, world units.

    Raises:
        UsageError: ``closest`` is not above 0.
    """
    _enough(frames)
    if not closest > 0:
        raise UsageError(f"the closest distance must be above 0, got {closest:g}")
    _, transform = scipy_modules()
    away = camera.position - target
    distance = float(np.linalg.norm(away))
    there = look_at(camera.position, target, up)
    both = transform.Rotation.from_matrix(np.stack([camera.R, there]))
    turn = transform.Slerp([0, 1], both)
    cameras = []
    for share in np.linspace(0, 1, frames):
        eased = share * share * (3 - 2 * share)
        position = target + away * (closest / distance) ** eased
        cameras.append(placed(camera, position, turn(eased).as_matrix()))
    return cameras


def interpolate(keys: Sequence[Camera], frames: int, closed: bool = False) -> list[Camera]:
    """Pass smoothly through key poses at an even pace.

    The keys lie on the curve (``curve.Curve``); the first and, unless closed, the last frame are
    the first and last key.

    Args:
        keys: Two cameras at least, undistorted; the first gives the size of the pictures.
        frames: How many cameras, 2 at least.
        closed: Return to the first key; the last frame stops one step before it.

    Raises:
        UsageError: Fewer than two keys or frames, or a key with distortion.
    """
    _enough(frames)
    curve = Curve(keys, closed)
    return curve.cameras(np.linspace(0, curve.length, frames, endpoint=not closed))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def resized(camera: Camera, width: int, height: int) -> Camera:
    """Return ``camera`` with another picture size and the same vertical field of view.

    Pixels keep their shape; where the proportions differ, the picture shows more or less at the
    sides, and its middle stays the middle.
    """
    factor = height / camera.height
    K = camera.K * np.array([[factor], [factor], [1]])
    K[0, 2] = width / 2 + (camera.cx - camera.width / 2) * factor
    return replace(camera, width=width, height=height, K=K)


def _enough(frames: int) -> None:
    if frames < 2:
        raise UsageError(f"a path has two frames at least, got {frames}")

"""Views and how a user moves them: orbit, pan, dolly, fly, look around, frame, level.

Every function takes a view and returns a new one. Pixels are continuous, corner origin, as for
``xscale.geometry.camera``; lengths are world units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xscale.geometry.camera import FARTHEST, Camera

FOV_RANGE = (1.0, 150.0)
"""Smallest and largest vertical field of view, degrees."""
_PARALLEL = 3000.0
"""Distance of the eye in heights of the picture when lines of sight are nearly parallel.

What lies a picture's height behind another point is then drawn 1 / 3000 smaller: an eighth of a
pixel at the edge of 720 rows. Farther away, depths in float32 could not tell neighbouring surfaces
apart."""
_STEEPEST = math.radians(89.9)
AXES: dict[str, tuple[float, float, float]] = {
    "front": (0, -1, 0), "back": (0, 1, 0), "left": (-1, 0, 0),
    "right": (1, 0, 0), "top": (0, 0, 1), "bottom": (0, 0, -1),
}  # fmt: skip
"""Where the eye stands for each axis view, in the frame whose z is up."""


@dataclass(frozen=True, eq=False)
class View:
    """Where the user looks from: a pinhole camera without a size."""

    position: np.ndarray
    """Float64 [3], world."""
    R: np.ndarray
    """Float64 [3, 3], camera from world; x right, y down, z forward."""
    fov: float = 50.0
    """Vertical field of view, degrees."""
    parallel: float | None = None
    """Height of the picture in world units when orthographic; None for perspective."""

    @property
    def forward(self) -> np.ndarray:
        """Direction of sight, unit, float64 [3]."""
        return self.R[2]

    def camera(self, width: int, height: int, near: float = 0.0) -> Camera:
        """Return the camera of a picture of this size.

        An orthographic view is a camera so far behind that its rays are parallel to 0.02 degrees.
        """
        position, fov = self.position, self.fov
        if self.parallel is not None:
            away = _PARALLEL * self.parallel
            position = position - self.forward * away
            fov = math.degrees(2 * math.atan(0.5 / _PARALLEL))
            near = max(near, away * 1e-3)
        focal = height / 2 / math.tan(math.radians(fov) / 2)
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return Camera("PINHOLE", width, height, K, self.R, -self.R @ position, near=near)


def view_of(camera: Camera) -> View:
    """Return the view from a camera's place; a lens's distortion is left out."""
    fov = math.degrees(2 * math.atan(camera.height / 2 / camera.fy))
    return View(camera.position, np.array(camera.R), float(np.clip(fov, *FOV_RANGE)))


def is_usable(view: View) -> bool:
    """Whether a view can be rendered: finite, near enough, a rotation."""
    numbers = np.concatenate([view.position, view.R.ravel(), [view.fov]])
    if view.parallel is not None:
        numbers = np.append(numbers, view.parallel)
    return bool(
        np.isfinite(numbers).all()
        and np.abs(view.position).max() < FARTHEST / 1e3
        and np.allclose(view.R @ view.R.T, np.eye(3), atol=1e-6)
        and (view.parallel is None or 0 < view.parallel < FARTHEST / 1e6)
        and FOV_RANGE[0] <= view.fov <= FOV_RANGE[1]
    )


def up_of(
    cameras: Sequence[Camera], middle: np.ndarray | None = None, *, z_is_up: bool = False
) -> np.ndarray:
    """Return the scene's upward direction: the photos' mean, or an axis within 15 degrees of it.

    Photos of a flight over ground all look down: up is then where they were taken.

    Args:
        cameras: The photos'.
        middle: Of the scene, float64 [3], world.
        z_is_up: Whether the scene's frame says so, as map coordinates do.
    """
    if not cameras or z_is_up:
        return np.array([0.0, 0.0, 1.0])
    if middle is not None and _looks_down(cameras, middle):
        return _near_axis(-np.mean([camera.R[2] for camera in cameras], axis=0))
    mean = -np.mean([camera.R[1] for camera in cameras], axis=0)
    length = np.linalg.norm(mean)
    if length < 0.2:  # photos taken from all sides of an object, or straight down
        return np.array([0.0, 0.0, 1.0])
    return _near_axis(mean)


def _near_axis(direction: np.ndarray) -> np.ndarray:
    """Return a direction as a unit vector; an axis that is within 15 degrees takes its place."""
    direction = direction / np.linalg.norm(direction)
    axis = np.zeros(3)
    most = int(np.argmax(np.abs(direction)))
    axis[most] = np.sign(direction[most])
    return axis if direction @ axis > math.cos(math.radians(15)) else direction


def _looks_down(cameras: Sequence[Camera], middle: np.ndarray) -> bool:
    """Whether photos are those of a flight: all look alike, from places spread far and level."""
    if len(cameras) < 6:
        return False
    forward = np.array([camera.R[2] for camera in cameras])
    mean = forward.mean(0)
    if np.linalg.norm(mean) < math.cos(math.radians(8)):
        return False
    mean /= np.linalg.norm(mean)
    places = np.array([camera.position for camera in cameras])
    height = float((middle - np.median(places, axis=0)) @ mean)
    along = (places - places.mean(0)) @ mean
    across = places - places.mean(0) - along[:, None] * mean
    spread = np.sqrt(np.linalg.svd(across, compute_uv=False)[:2] ** 2 / len(places))
    # Spread in both directions: a row of photos may as well be that of a wall.
    return height > 0 and spread[1] > 0.15 * height and along.std() < 0.2 * spread[0]


def look_at(position: np.ndarray, target: np.ndarray, up: np.ndarray, fov: float = 50.0) -> View:
    """Return the view from a position to a target, upright."""
    forward = np.asarray(target, float) - position
    length = np.linalg.norm(forward)
    forward = np.array([0.0, 1, 0]) if length == 0 else forward / length
    return View(np.asarray(position, float), _upright(forward, up), fov)


def _upright(forward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the rotation that looks along ``forward`` with a level horizon."""
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, np.eye(3)[np.argmin(np.abs(forward))])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def turned(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation about an axis by an angle in radians (Rodrigues), float64 [3, 3]."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _clean(R: np.ndarray) -> np.ndarray:
    """Return the rotation without the rounding of many small turns."""
    u, _, v = np.linalg.svd(R)
    return u @ v


def orbit(view: View, pivot: np.ndarray, yaw: float, pitch: float, up: np.ndarray) -> View:
    """Turn about a surface point, which stays where it is in the picture.

    Args:
        view: The view.
        pivot: Float64 [3]; it keeps its pixel and its distance.
        yaw: Radians about ``up``; positive moves the eye to the left.
        pitch: Radians about the picture's horizontal; positive moves the eye upwards.
        up: The scene's upward direction; the eye does not pass over the pole.
    """
    now = math.asin(float(np.clip(view.forward @ up, -1, 1)))
    pitch = now - float(np.clip(now - pitch, -_STEEPEST, _STEEPEST))
    turn = turned(up, -yaw) @ turned(view.R[0], -pitch)
    position = pivot + turn @ (view.position - pivot)
    return replace(view, position=position, R=_clean(view.R @ turn.T))


def look(view: View, yaw: float, pitch: float, up: np.ndarray) -> View:
    """Turn the head without moving; positive angles turn right and up, radians."""
    now = math.asin(float(np.clip(view.forward @ up, -1, 1)))
    pitch = float(np.clip(now + pitch, -_STEEPEST, _STEEPEST)) - now
    turn = turned(up, -yaw) @ turned(view.R[0], pitch)
    return replace(view, R=_clean(view.R @ turn.T))


def pan(view: View, point: np.ndarray, shift: tuple[float, float], height: int) -> View:
    """Move sideways so that a surface point follows the cursor.

    Args:
        view: The view.
        point: Float64 [3], the surface point that was taken hold of.
        shift: Pixels that the cursor moved (right, down).
        height: Of the picture in pixels.
    """
    size = pixel_size(view, point, height)
    move = -view.R[0] * shift[0] * size - view.R[1] * shift[1] * size
    return replace(view, position=view.position + move)


def pixel_size(view: View, point: np.ndarray, height: int) -> float:
    """Return the width of a pixel at a point's depth, frontal, in world units."""
    if view.parallel is not None:
        return view.parallel / height
    depth = max(float((point - view.position) @ view.forward), 1e-12)
    return 2 * depth * math.tan(math.radians(view.fov) / 2) / height


def dolly(view: View, point: np.ndarray, factor: float, margin: float = 0.0) -> View:
    """Move along the line of sight to a surface point, which keeps its pixel.

    Args:
        view: The view.
        point: Float64 [3].
        factor: The new distance in old ones: below 1 is nearer.
        margin: Distance that is kept from the point.
    """
    away = view.position - point
    if view.parallel is not None:
        offset = away - (away @ view.forward) * view.forward
        return replace(
            view, parallel=view.parallel * factor, position=view.position - offset * (1 - factor)
        )
    distance = float(np.linalg.norm(away))
    if distance == 0:
        return view
    target = max(distance * factor, min(margin, distance))
    return replace(view, position=point + away * (target / distance))


def fly(view: View, move: Sequence[float], up: np.ndarray) -> View:
    """Move by (right, up, forward) in world units; up is the scene's, as a helicopter's lift is."""
    right, lift, ahead = move
    step = view.R[0] * right + up * lift + view.forward * ahead
    return replace(view, position=view.position + step)


def level(view: View, up: np.ndarray) -> View:
    """Take out the roll: the horizon is level again."""
    return replace(view, R=_upright(view.forward, up))


def centred(view: View, point: np.ndarray, up: np.ndarray, nearer: float = 0.6) -> View:
    """Look straight at a point, from a part of its distance."""
    away = view.position - point
    if view.parallel is not None:
        move = -away + (away @ view.forward) * view.forward
        return replace(view, position=view.position + move, parallel=view.parallel * nearer)
    return look_at(point + away * nearer, point, up, view.fov)


def framed(view: View, low: np.ndarray, high: np.ndarray) -> View:
    """Move back or forth until a box fits, the direction of sight kept."""
    centre, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-9)
    distance = radius / math.sin(math.radians(min(view.fov, 90.0)) / 2)
    position = centre - view.forward * distance
    parallel = None if view.parallel is None else 2 * radius
    return replace(view, position=position, parallel=parallel)


def axis_view(view: View, name: str, low: np.ndarray, high: np.ndarray, up: np.ndarray) -> View:
    """Look along one of ``AXES`` at a box."""
    frame = _upright(np.array([0.0, 1, 0]) if abs(up[1]) < 0.9 else np.array([1.0, 0, 0]), up)
    x, y = frame[0], np.cross(up, frame[0])
    a, b, c = AXES[name]
    forward = -(a * x + b * y + c * up)
    R = np.stack([x, np.cross(forward, x), forward]) if c else _upright(forward, up)
    return framed(replace(view, R=R), low, high)


def toggled_parallel(view: View, point: np.ndarray) -> View:
    """Change between perspective and orthographic; what is as far as ``point`` keeps its size."""
    tangent = 2 * math.tan(math.radians(view.fov) / 2)
    if view.parallel is None:
        depth = max(float((point - view.position) @ view.forward), 1e-9)
        return replace(view, parallel=depth * tangent)
    depth = view.parallel / tangent
    ahead = float((point - view.position) @ view.forward)
    return replace(view, parallel=None, position=view.position + view.forward * (ahead - depth))


def zoomed(view: View, degrees: float) -> View:
    """Widen (positive) or narrow the field of view; an orthographic picture grows as much."""
    fov = float(np.clip(view.fov + degrees, *FOV_RANGE))
    if view.parallel is not None:
        grown = math.tan(math.radians(fov) / 2) / math.tan(math.radians(view.fov) / 2)
        return replace(view, parallel=view.parallel * grown)
    return replace(view, fov=fov)


def speed(clearance: float, extent: float) -> float:
    """Return the flying speed in world units a second: it follows the distance to the surface.

    Args:
        clearance: Distance to the nearest surface known, or inf.
        extent: Diagonal of the scene.
    """
    return float(np.clip(clearance, extent * 1e-6, extent)) * 0.8


def stopped(step: np.ndarray, clearance: float, margin: float) -> np.ndarray:
    """Return a step, shortened so that a surface ``clearance`` ahead stays ``margin`` away."""
    length = float(np.linalg.norm(step))
    room = max(clearance - margin, 0.0)
    return step if length <= room or length == 0 else step * (room / length)


def _ground(up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two horizontal directions that headings are counted from: right and ahead."""
    ahead = np.array([0.0, 1, 0]) if abs(up[1]) < 0.9 else np.array([1.0, 0, 0])
    ahead = ahead - (ahead @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.cross(ahead, up), ahead


def angles(view: View, up: np.ndarray) -> tuple[float, float, float]:
    """Return heading (clockwise), pitch (upwards) and roll (clockwise) of a view, degrees."""
    right, ahead = _ground(up)
    heading = math.degrees(math.atan2(view.forward @ right, view.forward @ ahead))
    pitch = math.degrees(math.asin(float(np.clip(view.forward @ up, -1, 1))))
    flat = _upright(view.forward, up)
    roll = math.degrees(math.atan2(view.R[0] @ flat[1], view.R[0] @ flat[0]))
    return heading, pitch, roll


def from_angles(view: View, heading: float, pitch: float, roll: float, up: np.ndarray) -> View:
    """Return the view with other angles, in degrees as :func:`angles` gives them.

    Angles that are not finite give a view that ``is_usable`` refuses.
    """
    if not np.isfinite([heading, pitch, roll]).all():
        return replace(view, R=np.full((3, 3), np.nan))
    right, ahead = _ground(up)
    h, p = math.radians(heading), math.radians(float(np.clip(pitch, -89.9, 89.9)))
    forward = math.cos(p) * (math.sin(h) * right + math.cos(h) * ahead) + math.sin(p) * up
    flat = _upright(forward, up)
    turn = turned(forward, math.radians(roll))
    return replace(view, R=flat @ turn.T)

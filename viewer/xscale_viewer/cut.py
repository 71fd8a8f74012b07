"""The clipping plane of a session: where it stands, and how it is moved and drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from xscale_viewer.navigation import View

DIRECTIONS = ("view", "x", "y", "z")
"""Directions that a plane may face: that of the view where it was set, or an axis of the scene."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A clipping plane."""

    direction: str
    """One of ``DIRECTIONS``."""
    axis: np.ndarray
    """Float64 [3], unit, world: what the plane stands across."""
    place: float
    """Where the plane stands along the axis, world units."""
    side: int = 1
    """1 cuts away what lies farther along the axis, -1 what lies less far."""

    def plane(self) -> tuple[tuple[float, float, float], float]:
        """Return normal and offset as ``xscale.gbuffer.cut.Plane`` takes them."""
        normal = tuple(float(x) * self.side for x in self.axis)
        return normal, float(self.place * self.side)

    def flipped(self) -> Cut:
        """Return the plane that cuts the other side away."""
        return replace(self, side=-self.side)

    def at(self, place: float) -> Cut:
        """Return the plane moved along its axis."""
        return replace(self, place=float(place))


def new_cut(direction: str, view: View, distance: float, low: np.ndarray, high: np.ndarray) -> Cut:
    """Return a plane in one of ``DIRECTIONS``.

    Args:
        direction: Along the view it stands just behind the surface in the middle, and what is
            nearer is cut away; along an axis it halves the box, and the view's side is cut away.
        view: The view.
        distance: From the eye to the surface in the middle, or inf.
        low: Lower corner of the scene's box, world.
        high: Upper corner.
    """
    middle = (low + high) / 2
    if direction == "view":
        axis = view.forward
        if not np.isfinite(distance):
            distance = float((middle - view.position) @ axis)
        return Cut(direction, axis, float(view.position @ axis) + distance * 1.05, -1)
    axis = np.eye(3)[DIRECTIONS.index(direction) - 1]
    side = 1 if (view.position - middle) @ axis > 0 else -1
    return Cut(direction, axis, float(middle @ axis), side)


def span(cut: Cut, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Return the places along a plane's axis between which it meets the scene's box."""
    places = np.array(list(product(*zip(low, high, strict=True)))) @ cut.axis
    return float(places.min()), float(places.max())


def outline(cut: Cut, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the corners of the plane's part inside the scene's box, in order, float64 [N, 3]."""
    corners = np.array(list(product(*zip(low, high, strict=True))))
    found = []
    for one in range(8):
        for bit in (1, 2, 4):
            if one & bit:
                continue
            a, b = corners[one], corners[one | bit]
            here, there = a @ cut.axis - cut.place, b @ cut.axis - cut.place
            if (here <= 0) != (there <= 0):
                found.append(a + (b - a) * here / (here - there))
    if len(found) < 3:
        return np.zeros((0, 3))
    points = np.array(found)
    across = np.cross(cut.axis, np.eye(3)[int(np.argmin(np.abs(cut.axis)))])
    along = np.cross(cut.axis, across)
    from_middle = points - points.mean(0)
    return points[np.argsort(np.arctan2(from_middle @ along, from_middle @ across))]


def dragged(cut: Cut, view: View, delta: tuple[float, float], pixel: float) -> Cut:
    """Return the plane after a drag of its handle.

    Args:
        cut: The plane.
        view: The view.
        delta: Pixels (right, down).
        pixel: Width of a pixel at the handle, world units.
    """
    ahead = view.forward @ cut.axis
    way = np.array([view.R[0] @ cut.axis, view.R[1] @ cut.axis])
    if np.linalg.norm(way) > 0.2:
        along = float(np.dot(delta, way) / (way @ way))
    else:  # it faces the eye: upwards is away
        along = -delta[1] * float(np.sign(ahead))
    return cut.at(cut.place + along * pixel)

"""Axis-aligned boxes and the maps from a box to the unit cube in which features are stored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PER_AXIS_EPSILON = 1e-6
"""Added to each extent by the published per-axis map, so that a flat scene divides by no zero."""


class Box(NamedTuple):
    """An axis-aligned box."""

    lo: np.ndarray
    """Smallest corner, [3]."""
    hi: np.ndarray
    """Largest corner, [3]."""

    @property
    def centre(self) -> np.ndarray:
        """Middle of the box, float64 [3]."""
        return (np.asarray(self.lo, np.float64) + np.asarray(self.hi, np.float64)) / 2

    @property
    def extent(self) -> np.ndarray:
        """Edge lengths, float64 [3]."""
        return np.asarray(self.hi, np.float64) - np.asarray(self.lo, np.float64)

    @property
    def diagonal(self) -> float:
        """Length from corner to corner."""
        return float(np.linalg.norm(self.extent))

    def grown(self, margin: float) -> Box:
        """Return the box with ``margin`` added on every side."""
        return Box(np.asarray(self.lo) - margin, np.asarray(self.hi) + margin)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Tell for each of the points [N, 3] whether it lies inside, bool [N]."""
        return ((points >= self.lo) & (points <= self.hi)).all(axis=1)

    def __str__(self) -> str:
        lo = ", ".join(f"{v:.6g}" for v in self.lo)
        hi = ", ".join(f"{v:.6g}" for v in self.hi)
        return f"({lo}) to ({hi})"


class UnitMap(NamedTuple):
    """The affine map ``unit = (x - offset) * scale`` from a box to [0, 1]^3."""

    offset: np.ndarray
    """float64 [3], position of the unit cube's smallest corner."""
    scale: np.ndarray
    """float64 [3], unit lengths in one length of the box's frame."""

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points [N, 3] of the box's frame to unit coordinates, float64 [N, 3]."""
        return (np.asarray(points, np.float64) - self.offset) * self.scale

    def invert(self, unit: np.ndarray) -> np.ndarray:
        """Map unit coordinates [N, 3] back to the box's frame, float64 [N, 3]."""
        return np.asarray(unit, np.float64) / self.scale + self.offset


def box_of(points: np.ndarray) -> Box:
    """Return the smallest box around points [N, 3], N at least 1."""
    return Box(points.min(axis=0), points.max(axis=0))


def per_axis_map(box: Box) -> UnitMap:
    """Stretch every axis to [0, 1], as published: ``(x - centre) / (extent + 1e-6) + 0.5``."""
    scale = 1.0 / (box.extent + PER_AXIS_EPSILON)
    return UnitMap(box.centre - 0.5 / scale, scale)


def cube_map(box: Box, margin: float = 0.0) -> UnitMap:
    """Map the bounding cube to [0, 1]^3 with one scale for all axes, the box in its middle.

    Args:
        box: The box to hold.
        margin: Share of the cube's edge left free on every side, below 0.5.
    """
    edge = float(box.extent.max()) / (1.0 - 2.0 * margin)
    edge = edge if edge > 0 else 1.0
    return UnitMap(box.centre - edge / 2, np.full(3, 1.0 / edge))

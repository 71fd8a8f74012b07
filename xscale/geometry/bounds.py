"""Axis-aligned boxes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
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

    def grown(self, margin: float) -> Bounds:
        """Return the box with ``margin`` added on every side."""
        return Bounds(np.asarray(self.lo) - margin, np.asarray(self.hi) + margin)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Tell for each of the points [N, 3] whether it lies inside, bool [N]."""
        return ((points >= self.lo) & (points <= self.hi)).all(axis=1)

    def __str__(self) -> str:
        lo = ", ".join(f"{v:.6g}" for v in self.lo)
        hi = ", ".join(f"{v:.6g}" for v in self.hi)
        return f"({lo}) to ({hi})"


def box_of(points: np.ndarray) -> Bounds:
    """Return the smallest box around points [N, 3], N at least 1."""
    return Bounds(points.min(axis=0), points.max(axis=0))

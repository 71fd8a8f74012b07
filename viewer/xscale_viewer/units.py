"""Lengths and coordinates as text."""

from __future__ import annotations

import numpy as np

METRES = {"km": 1000.0, "m": 1.0, "cm": 0.01, "mm": 0.001}
"""Units that the scene may be in, and their length in metres."""


def length(value: float, unit: str | None) -> str:
    """Return a length with its unit: one that needs no leading zeros.

    Args:
        value: World units.
        unit: What a world unit is, one of ``METRES``; None where that is not known.
    """
    if not np.isfinite(value):
        return "-"
    if unit is None:
        return f"{value:.4g} units"
    metres = value * METRES[unit]
    name = next((n for n, size in METRES.items() if abs(metres) >= size), "mm")
    return f"{metres / METRES[name]:.4g} {name}"


def coordinates(point: np.ndarray, extent: float) -> str:
    """Return a point's coordinates with the digits that matter in a scene of that diagonal."""
    digits = int(np.clip(5 - np.floor(np.log10(max(extent, 1e-9))), 0, 9))
    return ", ".join(f"{x:.{digits}f}" for x in point)

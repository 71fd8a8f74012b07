"""Edges of the photo against edges of the mesh: outlines and creases lie on each other or not."""

from __future__ import annotations

import numpy as np

from xscale.inspection.looks import Look
from xscale.inspection.shift import Shift, best_shift, blurred

REACH = 24
_FULL_BEND = 0.02
_FEW = 0.002
_DISTINCT = 6.0


def depth_edges(look: Look) -> np.ndarray:
    """Return where the mesh jumps or bends as the camera sees it, float [H, W] in [0, 1].

    On a plane 1 / z is linear across the picture: what is left of its second difference are
    outlines and creases, however slanted the surface.
    """
    inverse = np.where(look.covered, 1 / np.maximum(look.depth, 1e-30), np.nan).astype(np.float64)
    bend = np.zeros_like(inverse)
    rows = np.abs(inverse[2:] - 2 * inverse[1:-1] + inverse[:-2]) / inverse[1:-1]
    columns = np.abs(inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2]) / inverse[:, 1:-1]
    bend[1:-1] = np.nan_to_num(rows)
    bend[:, 1:-1] = np.maximum(bend[:, 1:-1], np.nan_to_num(columns))
    return np.clip(bend / _FULL_BEND, 0, 1)


def photo_edges(look: Look) -> np.ndarray:
    """Return the strength of the photo's edges relative to their surroundings, float [H, W]."""
    grey = blurred(look.grey, 1)
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    return strength / (blurred(strength, 12) + 0.01)


def edge_shift(look: Look) -> Shift | None:
    """Return by how many small pixels the photo's edges lie off the mesh's.

    None where the mesh shows hardly any edge, or the best place does not stand out.
    """
    mesh = depth_edges(look)
    inside = blurred(look.covered & look.usable, 4) > 0.99
    if (mesh[inside] > 0.5).mean() < _FEW if inside.any() else True:
        return None
    mesh = blurred(mesh, 1)
    photo = np.pad(photo_edges(look), REACH, mode="edge")
    found = best_shift(mesh - mesh[inside].mean(), inside, photo - photo.mean(), REACH)
    return found if found is not None and found.distinct > _DISTINCT else None

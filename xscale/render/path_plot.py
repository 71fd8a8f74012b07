"""A camera path from above: the mesh, the cameras' way and where they look, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from xscale.geometry.camera import Camera

_SIZE = 1000
_MARGIN = 40
_MOST_VERTICES = 2_000_000
_START, _END, _BAD, _PHOTO = (40, 150, 60), (40, 70, 200), (220, 30, 30), (150, 150, 150)


def plot_path(
    vertices: np.ndarray,
    cameras: Sequence[Camera],
    photos: Sequence[Camera],
    up: np.ndarray,
    bad: Sequence[int] = (),
) -> np.ndarray:
    """Draw a path over a top view of the mesh.

    The mesh's vertices are shaded by height (bright is high), photos' cameras are grey dots, the
    path goes from green to blue with a line to where every tenth camera looks; frames that fly
    through a face are red.

    Args:
        vertices: [V, 3], the scene's frame.
        cameras: The path.
        photos: The photos' cameras.
        up: [3], unit: towards the viewer of the picture.
        bad: Frames to mark.

    Returns:
        uint8 [H, W, 3].
    """
    right = np.cross(np.eye(3)[np.argmin(np.abs(up))], up)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(up, right)])
    shown = vertices[:: max(1, len(vertices) // _MOST_VERTICES)]
    ways = np.stack([camera.position for camera in cameras]) @ axes.T
    others = np.stack([camera.position for camera in photos]) @ axes.T if photos else ways[:0]
    flat = shown @ axes.T
    # A few stray vertices must not shrink everything else to a dot.
    core = np.quantile(flat, (0.01, 0.99), axis=0)
    everything = np.concatenate([core, ways, others])
    low, high = everything.min(0), everything.max(0)
    scale = (_SIZE - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)

    def pixels(points: np.ndarray) -> np.ndarray:
        place = (points - (low + high) / 2) * scale
        return np.stack([_SIZE / 2 + place[:, 0], _SIZE / 2 - place[:, 1]], 1)

    canvas = _heights(pixels(flat), shown @ up)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for x, y in pixels(others):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_PHOTO)
    path = pixels(ways)
    looks = pixels(ways + np.stack([camera.R[2] for camera in cameras]) @ axes.T * 40 / scale)
    for k, (x, y) in enumerate(path):
        share = k / max(len(path) - 1, 1)
        colour = tuple(round(a + (b - a) * share) for a, b in zip(_START, _END, strict=True))
        if k % max(1, len(path) // 24) == 0:
            draw.line((x, y, *looks[k]), fill=colour, width=1)
        if k + 1 < len(path):
            draw.line((x, y, *path[k + 1]), fill=colour, width=3)
    for k in bad:
        x, y = path[k]
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=_BAD, width=3)
    x, y = path[0]
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_START)
    bar = _bar(_SIZE / 5 / scale)
    draw.line((_MARGIN, _SIZE - 20, _MARGIN + bar * scale, _SIZE - 20), fill=(0, 0, 0), width=3)
    draw.text((_MARGIN, _SIZE - 38), f"{bar:g} world units", fill=(0, 0, 0))
    return np.asarray(picture)


def _heights(place: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Splat vertices, the highest of each pixel on top, on white."""
    canvas = np.full((_SIZE, _SIZE), -np.inf)
    column, row = np.floor(place).astype(int).T
    inside = (column >= 0) & (column < _SIZE) & (row >= 0) & (row < _SIZE)
    np.maximum.at(canvas, (row[inside], column[inside]), height[inside])
    low, high = np.quantile(height, (0.02, 0.98))
    share = np.clip((canvas - low) / max(high - low, 1e-12), 0, 1)
    grey = np.where(np.isfinite(canvas), 90 + 140 * np.nan_to_num(share), 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, 2)


def _bar(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, ... that is not above ``length``."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(f * power for f in (1, 2, 5) if f * power <= length))

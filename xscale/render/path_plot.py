"""A camera path from above: the mesh, the cameras' way and where they look, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera

_SIZE = 1000
_MARGIN = 40
_MOST_VERTICES = 2_000_000
_FAR = 200.0
"""Sizes of the scene that the map's viewer is away: the view is as good as parallel."""
_FINER = 2
"""Samples a pixel along each edge."""
_LOW, _HIGH = np.array([150.0, 160.0, 150.0]), np.array([245.0, 236.0, 215.0])
"""Colours of low and of high ground."""
_START, _END, _BAD, _PHOTO = (40, 150, 60), (40, 70, 200), (220, 30, 30), (90, 90, 90)


def plot_path(
    surface: Surface,
    origin: np.ndarray,
    cameras: Sequence[Camera],
    photos: Sequence[Camera],
    up: np.ndarray,
    bad: Sequence[int] = (),
) -> np.ndarray:
    """Draw a path over a shaded map of the scene, seen from above.

    Photos' cameras are grey dots, the path goes from green to blue with a line to where every tenth
    camera looks; frames that fly through a face are red.

    Args:
        surface: The mesh.
        origin: [3], of its local frame in the scene's.
        cameras: The path.
        photos: The photos' cameras.
        up: [3], unit: towards the viewer of the picture.
        bad: Frames to mark.

    Returns:
        uint8 [H, W, 3].
    """
    vertices = surface.vertices.cpu().numpy()
    right = np.cross(np.eye(3)[np.argmin(np.abs(up))], up)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(up, right)])
    shown = vertices[:: max(1, len(vertices) // _MOST_VERTICES)].astype(np.float64) + origin
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

    heights = np.quantile(shown @ up, (0.0, 1.0))
    picture = Image.fromarray(_map(surface, origin, axes, up, (low + high) / 2, scale, heights))
    draw = ImageDraw.Draw(picture)
    for x, y in pixels(others):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_PHOTO, outline=(255, 255, 255))
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


def _map(
    surface: Surface,
    origin: np.ndarray,
    axes: np.ndarray,
    up: np.ndarray,
    middle: np.ndarray,
    scale: float,
    heights: np.ndarray,
) -> np.ndarray:
    """Draw the surface from far above, lit from the upper left, uint8 [H, W, 3] on white."""
    extent = max(_SIZE / scale, float(np.ptp(heights)))
    R = np.stack([axes[0], -axes[1], -up])
    position = middle @ axes + (heights[1] + _FAR * extent) * up - origin
    distance = _FAR * extent + float(heights[1] - heights.mean())
    focal = scale * distance * _FINER
    side = _SIZE * _FINER
    K = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1.0]])
    eye = Camera("PINHOLE", side, side, K, R, -R @ position)
    samples, _ = build_gbuffer(surface, torch.from_numpy(eye.packed()), side, side)
    normal = samples.normal.numpy().astype(np.float64)
    # Winding may be either way: what faces the viewer counts.
    normal *= np.sign(normal @ up + 1e-12)[:, None]
    light = axes.T @ (-0.5, 0.6) + 0.75 * up
    shade = np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    height = samples.position.numpy().astype(np.float64) @ up
    low, high = np.quantile(height, (0.02, 0.98)) if len(height) else (0.0, 1.0)
    share = np.clip((height - low) / max(high - low, 1e-12), 0, 1)
    canvas = np.full((side * side, 3), 255.0)
    colour = _LOW + share[:, None] * (_HIGH - _LOW)
    canvas[samples.pixel_index.numpy()] = colour * (0.35 + 0.65 * shade)[:, None]
    whole = canvas.reshape(_SIZE, _FINER, _SIZE, _FINER, 3).mean(axis=(1, 3))
    return whole.astype(np.uint8)


def _bar(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, ... that is not above ``length``."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(f * power for f in (1, 2, 5) if f * power <= length))

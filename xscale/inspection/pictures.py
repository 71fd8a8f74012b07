"""Pictures of one photo: what the mesh looks like from there, and its edges over the photo."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from xscale.inspection.edges import depth_edges
from xscale.inspection.looks import Look
from xscale.inspection.points import PhotoPoints

_LINE = np.array([255, 122, 26], np.float32)
_OFF = (255, 40, 90)
_SEEN = (60, 220, 140)
_OUTSIDE = np.array([232, 230, 226], np.float32)
_MOST_POINTS = 400
_WORTH_A_LINE = 1.5


def mesh_picture(look: Look) -> np.ndarray:
    """Return the mesh as lit from the camera, its edges dark; uint8 [H, W, 3]."""
    toward = look.camera.position - look.position
    toward /= np.maximum(np.linalg.norm(toward, axis=2, keepdims=True), 1e-30)
    facing = np.abs((toward * look.normal).sum(2, keepdims=True))
    shade = (60 + 180 * facing) * (1 - 0.75 * depth_edges(look)[..., None])
    shade = shade * np.array([0.97, 0.99, 1.0])
    return np.where(look.covered[..., None], shade, _OUTSIDE).astype(np.uint8)


def edges_picture(look: Look, sparse: PhotoPoints | None) -> np.ndarray:
    """Return the photo, dimmed, with the mesh's edges over it; uint8 [H, W, 3].

    Where sparse points were seen there is a green dot, and a red line to where camera and point
    put it, if that is elsewhere. What the mesh does not cover is paler.
    """
    photo = look.rgb.astype(np.float32)
    grey = photo.mean(2, keepdims=True)
    dim = 0.75 * (0.45 * photo + 0.55 * grey)
    dim = np.where(look.covered[..., None], dim, 0.45 * dim + 0.55 * _OUTSIDE)
    strength = depth_edges(look)[..., None]
    picture = np.rint(dim * (1 - strength) + _LINE * strength).astype(np.uint8)
    if sparse is None or not len(sparse.seen):
        return picture
    step = max(1, len(sparse.seen) // _MOST_POINTS)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for seen, projected in zip(
        sparse.seen[::step] / look.scale, sparse.projected[::step] / look.scale, strict=True
    ):
        if np.hypot(*(seen - projected)) > _WORTH_A_LINE:
            draw.line([tuple(seen), tuple(projected)], fill=_OFF, width=1)
        x, y = seen
        draw.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=_SEEN)
    return np.asarray(image)

"""A page's texture: every texel's surface point, coloured by the model."""

from __future__ import annotations

import numpy as np
import torch

from xscale.export.colour import SurfaceColour
from xscale.export.unwrap import Page
from xscale.gbuffer.build import build_surface, visibility
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

_ROWS = 256


def bake(page: Page, colour: SurfaceColour, texel_size: float) -> np.ndarray:
    """Return a page's texture, uint8 [height, width, 3], row 0 at the top.

    Texels outside every chart take the colour of the nearest one inside, so that filtering and
    smaller copies of the texture show no seams.

    Args:
        page: The flat part of the mesh.
        colour: Of surface points.
        texel_size: World units that a texel is long.
    """
    picture = np.zeros((page.height, page.width, 3), np.uint8)
    inside = np.zeros((page.height, page.width), bool)
    # The page as a camera at the origin sees it: a mesh in the plane z = 1, a texel a pixel.
    flat = np.concatenate([page.texel, np.ones((len(page.texel), 1), np.float32)], 1)
    surface = build_surface(Mesh(flat, page.faces, np.zeros(3)))
    eye = Camera("PINHOLE", page.width, page.height, np.eye(3), np.eye(3), np.zeros(3))
    packed = torch.from_numpy(eye.packed())
    for top in range(0, page.height, _ROWS):
        rows = min(_ROWS, page.height - top)
        rect = (0, top, page.width, rows)
        face = visibility(surface, packed, page.width, page.height, rect).numpy()
        row, column = np.nonzero(face >= 0)
        if not len(row):
            continue
        place = np.stack([column + 0.5, row + top + 0.5], 1)
        corners = page.faces[face[row, column]]
        weight = _barycentric(page.texel[corners].astype(np.float64), place)
        position = np.einsum("nk,nkd->nd", weight, page.vertices[corners].astype(np.float64))
        normal = np.einsum("nk,nkd->nd", weight, page.normals[corners].astype(np.float64))
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        picture[row + top, column] = colour(position, normal, texel_size)
        inside[row + top, column] = True
    return _filled(picture, inside)


def _barycentric(triangle: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return weights [N, 3] of places [N, 2] in triangles [N, 3, 2]."""
    a, b, c = triangle[:, 0], triangle[:, 1], triangle[:, 2]
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-30, 1e-30, area)
    second = _cross(place - a, c - a) / area
    third = _cross(b - a, place - a) / area
    return np.stack([1 - second - third, second, third], 1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _filled(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    if inside.all() or not inside.any():
        return picture
    from scipy.ndimage import distance_transform_edt

    row, column = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return picture[row, column]

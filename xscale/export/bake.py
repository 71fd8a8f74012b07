"""A page's texture: every texel's surface point, coloured by the model."""

from __future__ import annotations

import numpy as np
import torch

from xscale.export.colour import SurfaceColour
from xscale.export.unwrap import Page
from xscale.gbuffer.build import build_surface, visibility
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

HARMONICS_RANGE = 4.0
"""Largest absolute value that a harmonic's texture holds."""
_ROWS = 256


def bake(page: Page, colour: SurfaceColour, texel_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a page's texture, uint8 [height, width, 3], row 0 at the top, and its harmonics.

    Those are uint16 [terms, height, width, 3] as ``coded`` makes them; no terms at degree 0.
    Texels outside every chart take the values of the nearest one inside, so that filtering and
    smaller copies of the texture show no seams.

    Args:
        page: The flat part of the mesh.
        colour: Of surface points.
        texel_size: World units that a texel is long.
    """
    picture = np.zeros((page.height, page.width, 3), np.uint8)
    terms = (colour.degree + 1) ** 2 if colour.degree else 0
    harmonics = np.full((terms, page.height, page.width, 3), coded(np.zeros(1))[0], np.uint16)
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
        picture[row + top, column], fitted = colour.fit(position, normal, texel_size)
        for term in range(terms):
            harmonics[term, row + top, column] = coded(fitted[:, term])
        inside[row + top, column] = True
    return _filled([picture, *harmonics], inside)


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


def coded(harmonics: np.ndarray) -> np.ndarray:
    """Return harmonics as uint16: minus to plus ``HARMONICS_RANGE`` as 0 to 65535."""
    share = np.clip(harmonics / HARMONICS_RANGE, -1, 1)
    return np.rint((share + 1) / 2 * 65535).astype(np.uint16)


def _filled(textures: list[np.ndarray], inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    picture, harmonics = textures[0], textures[1:]
    if not inside.all() and inside.any():
        from scipy.ndimage import distance_transform_edt

        row, column = distance_transform_edt(~inside, return_distances=False, return_indices=True)
        picture = picture[row, column]
        harmonics = [texture[row, column] for texture in harmonics]
    shape = (0, *picture.shape)
    return picture, np.stack(harmonics) if harmonics else np.zeros(shape, np.uint16)

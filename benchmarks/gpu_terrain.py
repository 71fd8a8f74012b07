"""A terrain of any size as a surface on a device, in a moment: what the raster bars look at.

The hills of ``benchmarks.op_raster``, cut into clusters of 8 x 8 cells (128 faces) directly, where
``build_surface`` would sort the faces of any mesh for minutes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera

EDGE = 8
"""Cells along a cluster."""


def terrain_surface(cells: int, device: torch.device | str) -> Surface:
    """Return a square of hills, 2 across, with 2 * cells^2 triangles.

    Args:
        cells: Along a side, a multiple of ``EDGE``.
        device: Where it is made and lives.
    """
    side, tiles = cells + 1, cells // EDGE
    vertices = _hills(side, device)
    first = torch.arange(cells, device=device, dtype=torch.int32)
    first = (first[:, None] * side + first).reshape(-1)
    faces = torch.empty(2, cells * cells, 3, dtype=torch.int32, device=device)
    for half, corners in enumerate(((0, 1, side + 1), (0, side + 1, side))):
        for corner, shift in enumerate(corners):
            faces[half, :, corner] = first + shift
    # Per cluster: its points, row by row, and the same triangles among them everywhere.
    along = torch.arange(tiles, device=device) * EDGE
    origin = (along[:, None] * side + along).reshape(-1)
    step = torch.arange(EDGE + 1, device=device)
    points = vertices[(origin[:, None] + (step[:, None] * side + step).reshape(-1)).reshape(-1)]
    within = torch.arange(EDGE, device=device, dtype=torch.int32)
    edge = EDGE + 1
    near = (within[:, None] * edge + within).reshape(-1)
    upper = torch.stack([near, near + 1, near + edge + 1], 1)
    lower = torch.stack([near, near + edge + 1, near + edge], 1)
    corners = torch.cat([upper, lower]).to(torch.int16)
    cell = (within.long()[:, None] * cells + within.long()).reshape(-1)
    begin = (along[:, None] * cells + along).reshape(-1)
    ids = torch.cat([cell, cell + cells * cells])
    boxes = points.view(tiles * tiles, edge * edge, 3)
    count = torch.arange(tiles * tiles + 1, device=device, dtype=torch.int32)
    return Surface(
        vertices=vertices,
        faces=faces.view(-1, 3),
        normals=vertices,
        cluster_points=points,
        cluster_face_ids=(begin[:, None] + ids).reshape(-1).int(),
        cluster_start=count * (2 * EDGE * EDGE),
        cluster_point_start=count * (edge * edge),
        cluster_box=torch.cat([boxes.amin(1), boxes.amax(1)], 1),
        cluster_corners=corners.repeat(tiles * tiles, 1).view(torch.uint16),
    )


def _hills(side: int, device: torch.device | str) -> Tensor:
    """Return the vertices float32 [side^2, 3]: fractal hills over [-1, 1]^2."""
    rng = np.random.default_rng(0)
    along = torch.linspace(-1, 1, side, device=device)
    y, x = torch.meshgrid(along, along, indexing="ij")
    z = torch.zeros_like(x)
    for octave in range(10):
        turn, shift = rng.uniform(0, 2 * np.pi, 2)
        wave = 2**octave * 1.5
        across = x * np.cos(turn) + y * np.sin(turn)
        z += 0.12 / 2**octave * (wave * across + shift).sin() * (wave * 0.7 * (x - y) + turn).cos()
    return torch.stack([x, y, z], -1).reshape(-1, 3)


def clip_from_local(view: Camera) -> np.ndarray:
    """Return the matrix [4, 4] of a pinhole camera for hardware, depth 1 - 2 near / z."""
    width, height, K = view.width, view.height, view.K
    pixels = np.array(
        [
            [2 * K[0, 0] / width, 2 * K[0, 1] / width, 2 * K[0, 2] / width - 1],
            [0, 2 * K[1, 1] / height, 2 * K[1, 2] / height - 1],
            [0, 0, 1],
            [0, 0, 1],
        ]
    )
    clip = np.zeros((4, 4))
    clip[:, :3] = pixels @ view.R
    clip[:, 3] = pixels @ view.t
    clip[2, 3] -= 2 * view.near
    return clip

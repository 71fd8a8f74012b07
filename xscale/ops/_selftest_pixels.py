"""A small mesh for self tests, and the tests of what pixels see of it."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops.breaks import breaks, breaks_reference
from xscale.ops.rasterize import rasterize
from xscale.ops.sides import sides, sides_reference


def bumps() -> tuple[Tensor, Tensor, Tensor]:
    """Return vertices, faces and a packed camera that looks at a bumpy sheet from close by."""
    side = 24
    v, u = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    vertices = torch.stack([u, v, 0.2 * torch.sin(5 * u) * torch.cos(4 * v)], -1).reshape(-1, 3)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    upper = torch.stack([corner, corner + 1, corner + side], 1)
    lower = torch.stack([corner + 1, corner + side + 1, corner + side], 1)
    faces = torch.cat([upper, lower]).to(torch.int32)
    camera = torch.zeros(32, dtype=torch.float64)
    camera[[0, 4, 8]] = 1  # no rotation
    camera[9:12] = torch.tensor([0.1, -0.2, 0.9])
    camera[12:16] = torch.tensor([50.0, 60.0, 41.3, 22.7])
    camera[17] = 1e-3
    return vertices.contiguous(), faces.contiguous(), camera


def one_cluster(vertices: Tensor, faces: Tensor) -> list[Tensor]:
    """Return what ``rasterize`` takes of a mesh, all of it in one cluster."""
    return [
        vertices,
        faces.to(torch.uint16),
        torch.arange(len(faces), dtype=torch.int32),
        torch.tensor([0, len(faces)], dtype=torch.int32),
        torch.tensor([0, len(vertices)], dtype=torch.int32),
        torch.cat([vertices.amin(0), vertices.amax(0)])[None],
    ]


def breaks_test(device: torch.device) -> float:
    """Share of pixels and corners that are not the reference's."""
    vertices, faces, camera = bumps()
    cluster, rect = one_cluster(vertices, faces), (3, 2, 60, 50)
    face_id, depth = rasterize(*cluster, camera, rect)
    inputs = (face_id, depth, *rasterize(*cluster, camera, (3, 2, 61, 51), (0.0, 0.0)))
    flags, needed = breaks(*(part.to(device) for part in inputs), step=0.02)
    exact_flags, exact_needed = breaks_reference(*inputs, step=0.02)
    differs = (flags.cpu() != exact_flags).double().mean()
    return float(differs + (needed.cpu() != exact_needed).double().mean())


def sides_test(device: torch.device) -> float:
    """Share of pixels whose side or face is not the reference's."""
    vertices, faces, camera = bumps()
    generator = torch.Generator().manual_seed(3)
    normals = torch.nn.functional.normalize(
        torch.randn(len(vertices), 3, generator=generator), dim=1
    )
    face_id = torch.arange(-1, len(faces), dtype=torch.int32)
    allowed = torch.randint(0, 4, (len(faces),), generator=generator, dtype=torch.uint8)
    inputs = (vertices, faces, normals, camera, face_id)
    side, kept = sides(*(part.to(device) for part in inputs), allowed.to(device))
    exact_side, exact_kept = sides_reference(*inputs, allowed)
    differs = (side.cpu() != exact_side) | (kept.cpu() != exact_kept)
    return float(differs.double().mean())

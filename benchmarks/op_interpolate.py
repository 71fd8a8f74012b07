"""Speed of ``interpolate`` against the same arithmetic in PyTorch, for the pixels of a frame."""

from __future__ import annotations

import torch

from benchmarks._timing import device, milliseconds, row
from benchmarks.op_raster import camera, terrain
from xscale import ops
from xscale.gbuffer.build import build_surface, visibility


def rows() -> list[dict[str, object]]:
    """Time the surface points of all covered pixels of one frame."""
    width, height = 1280, 720
    mesh = terrain(500)
    surface = build_surface(mesh, device())
    packed = torch.from_numpy(camera(width, height).recentred(mesh.origin).packed()).to(device())
    face = visibility(surface, packed, width, height).reshape(-1)
    index = (face >= 0).nonzero().squeeze(1)
    pixel = torch.stack([index % width + 0.5, index // width + 0.5], 1).float()
    arguments = (
        surface.vertices,
        surface.faces,
        surface.normals,
        packed[None].contiguous(),
        torch.zeros(len(index), dtype=torch.int32, device=device()),
        pixel,
        face[index],
    )

    def peer() -> object:
        with ops.use_backend("reference"):
            return ops.interpolate(*arguments)

    times = milliseconds({"ours": lambda: ops.interpolate(*arguments), "peer": peer})
    shape = f"{len(index):,} pixels of a 500,000-triangle terrain"
    return [row("interpolate", shape, times, peer_name="PyTorch ops, float64 inside")]

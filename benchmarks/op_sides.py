"""Speed of ``sides`` against the same arithmetic in PyTorch, for the pixels of a frame."""

from __future__ import annotations

import torch

from benchmarks._timing import device, milliseconds, row
from benchmarks.op_raster import terrain_frame
from xscale import ops
from xscale.gbuffer.build import visibility


def rows() -> list[dict[str, object]]:
    """Time the sides of all faces of one frame, of which none is told without looking."""
    width, height = 1280, 720
    surface, packed = terrain_frame(width, height)
    face_id = visibility(surface, packed, width, height)
    allowed = torch.full((len(surface.faces),), ops.FRONT, dtype=torch.uint8, device=device())
    points = (surface.vertices, surface.faces, surface.normals)

    def ours() -> object:
        return ops.sides(*points, packed, face_id, allowed, side=False)

    def peer() -> object:
        with ops.use_backend("reference"):
            return ours()

    times = milliseconds({"ours": ours, "peer": peer})
    shape = f"{width} x {height} pixels of a 500,000-triangle terrain"
    return [row("sides", shape, times, peer_name="PyTorch ops, float64 inside")]

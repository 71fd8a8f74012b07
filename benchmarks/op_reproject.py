"""Speed of ``reproject`` against shading the same pixels of a frame anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks._timing import device, milliseconds, row
from benchmarks.op_frame import paper_model
from benchmarks.op_raster import camera, terrain
from xscale import ops
from xscale.gbuffer.build import build_surface, visible_depths


def rows() -> list[dict[str, object]]:
    """Time one frame whose key frame was taken beside it."""
    width, height = 1280, 720
    mesh = terrain(500)
    surface = build_surface(mesh, device())
    view = camera(width, height).recentred(mesh.origin)
    beside = replace(view, t=view.t + np.array([0.01, 0.0, 0.005]))
    packed, key = (torch.from_numpy(c.packed()).to(device()) for c in (view, beside))
    face_id, seen = visible_depths(surface, packed, width, height)
    key_faces, depth = visible_depths(surface, key, width, height)
    grid, _, shader, _ = paper_model()
    grid, shader = (
        type(part)(*(v.to(device()) if isinstance(v, torch.Tensor) else v for v in part))
        for part in (grid, shader)
    )
    mesh_parts = (surface.vertices, surface.faces, packed)

    def shade(faces: torch.Tensor) -> torch.Tensor:
        return ops.fused_frame(*mesh_parts, faces, grid, shader)

    colour = ops.fused_frame(surface.vertices, surface.faces, key, key_faces, grid, shader)
    colour = torch.cat([colour, torch.full_like(colour[..., :1], 255)], 2)
    keys = ops.KeyFrames(*(part[None].contiguous() for part in (key, colour, depth)))
    order = torch.zeros(1, dtype=torch.int32, device=device())

    def reuse() -> torch.Tensor:
        found = ops.reproject(*mesh_parts, face_id, seen, keys, order)
        return torch.minimum(shade(found.missing), found.rgba[..., :3])

    found = ops.reproject(*mesh_parts, face_id, seen, keys, order)
    share = 1 - float((found.missing >= 0).sum() / (face_id >= 0).sum())
    times = milliseconds({"ours": reuse, "peer": lambda: shade(face_id)})
    shape = f"{width} x {height}, {share:.1%} of the pixels reused, the rest shaded"
    return [row("reproject", shape, times, peer_name="fused_frame of every pixel")]

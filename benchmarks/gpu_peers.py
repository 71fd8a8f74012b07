"""What a GPU's bars are measured against: PyTorch, and the packages that happen to be installed."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from benchmarks._timing import Work
from benchmarks.op_encode import peer_corners, peer_gather
from benchmarks.op_frame import peer_film
from benchmarks.op_step import SheetPool
from xscale import ops
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.train.rays import Rays

Parts = TypeVar("Parts", ops.FrameGrid, ops.FrameShader, SheetPool)


def on_device(parts: Parts, where: torch.device) -> Parts:
    """Return a grid, a shader or a pool with its tensors on a device."""
    if isinstance(parts, SheetPool):
        parts.surface = Surface(*(t.to(where) for t in vars(parts.surface).values()))
        parts.cameras = parts.cameras.to(where)
        parts.rays = Rays(*(t.to(where) for t in vars(parts.rays).values()))
        return parts
    return type(parts)(*(p.to(where) if isinstance(p, Tensor) else p for p in parts))


def encode(position: Tensor, table: Tensor, layout: ops.GridLayout) -> dict[str, Work]:
    """The grid in compiled PyTorch, and in tiny-cuda-nn where that is installed."""
    compiled = torch.compile(peer_gather)
    works: dict[str, Work] = {"compiled": lambda: compiled(position, table, layout)}
    if "tcnn" in ops.peers():
        works["tiny-cuda-nn"] = lambda: _forced(lambda: ops.encode(position, table, layout))
    return _that_run(works)


def _that_run(works: dict[str, Work]) -> dict[str, Work]:
    """Leave out what fails, with a line: a peer may lack a compiler, or refuse the problem."""
    good = {}
    for name, work in works.items():
        try:
            work()
        except Exception as error:  # whatever a peer does, ours is still to be measured
            print(f"{name} takes no part: {type(error).__name__}: {str(error)[:200]}")
        else:
            good[name] = work
    return good


def _forced(work: Work) -> object:
    with ops.use_peers(encoding="tcnn"):
        return work()


def index_add(grad: Tensor, position: Tensor, layout: ops.GridLayout, table: Tensor) -> None:
    """Add the table's gradient corner by corner, as one writes it in PyTorch."""
    width = table.shape[1]
    for level in range(layout.levels):
        row, weight = peer_corners(position, layout, level)
        part = grad[:, level * width : (level + 1) * width]
        for corner in range(8):
            table.index_add_(0, row[:, corner], weight[:, corner : corner + 1] * part)


def compiled_film(
    position: Tensor,
    direction: Tensor,
    table: Tensor,
    layout: ops.GridLayout,
    parts: dict[str, Tensor],
) -> dict[str, Work]:
    """Inference with the shader compiled and in bfloat16, the grid eager."""
    shade = torch.compile(peer_film)
    batch = 1 << 17

    def infer() -> Tensor:
        done = []
        with torch.autocast("cuda", torch.bfloat16):
            for x, v in zip(position.split(batch), direction.split(batch), strict=True):
                colour = shade(peer_gather(x, table, layout), v, parts)
                done.append((colour.clamp(0, 1) * 255 + 0.5).to(torch.uint8))
        return torch.cat(done)

    return _that_run({"bfloat16, compiled": infer})


def raster(surface: Surface, camera: Tensor, width: int, height: int) -> dict[str, Work]:
    """Rasterize by nvdiffrast where it is installed; it may refuse a mesh for its size."""

    def work() -> Tensor:
        with ops.use_peers(rasterizer="nvdiffrast"):
            return visibility(surface, camera, width, height)

    return _that_run({"nvdiffrast": work}) if "nvdiffrast" in ops.peers() else {}

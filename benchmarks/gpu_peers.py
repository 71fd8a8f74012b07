"""Peers of a GPU's bars: PyTorch, and the packages that happen to be installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks._timing import Work
from benchmarks.gpu_egl import HardwareRaster
from benchmarks.gpu_terrain import clip_from_local
from benchmarks.op_encode import peer_corners, peer_gather
from benchmarks.op_frame import peer_film
from benchmarks.op_step import Peer, SheetPool
from xscale import ops
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.training.trainer import Trainer
from xscale_comparisons.packages import installed

Parts = TypeVar("Parts", ops.FrameGrid, ops.FrameShader, SheetPool)


def on_device(parts: Parts, where: torch.device) -> Parts:
    """Return a grid, a shader or a pool with its tensors on a device."""
    if isinstance(parts, SheetPool):
        parts.surface = Surface(**{n: t.to(where) for n, t in parts.surface.tensors().items()})
        parts.cameras = parts.cameras.to(where)
        parts.rays = parts.rays.each(lambda t: t.to(where))
        return parts
    return type(parts)(*(p.to(where) if isinstance(p, Tensor) else p for p in parts))


def encode(position: Tensor, table: Tensor, layout: ops.GridLayout) -> dict[str, Work]:
    """The grid in compiled PyTorch, and in tiny-cuda-nn where that is installed."""
    compiled = torch.compile(peer_gather)
    works: dict[str, Work] = {"compiled": lambda: compiled(position, table, layout)}
    if "tcnn" in installed():
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

    return _that_run({"nvdiffrast": work}) if "nvdiffrast" in installed() else {}


@contextmanager
def hardware(surface: Surface, view: Camera) -> Iterator[tuple[Work | None, str]]:
    """Rasterize by the GPU's hardware through EGL; gives None and the reason where there is none.

    Who draws stands in the name: without a driver for graphics that is a program on the CPU.
    """
    drawer = None
    try:
        drawer = HardwareRaster(view.width, view.height)
        drawer.upload(
            surface.vertices.cpu().numpy(), surface.faces.cpu().numpy(), clip_from_local(view)
        )
        drawer.draw()
    except OSError as error:
        reason = f"no EGL: {str(error)[:80]}"
        if drawer is not None:
            drawer.close()
        yield None, reason
        return
    try:
        yield drawer.draw, f"EGL, {drawer.renderer}"
    finally:
        drawer.close()


def gaussians(surface: Surface, view: Camera, count: int = 3_000_000) -> dict[str, Work]:
    """Draw as many Gaussians on the same terrain by gsplat, where it is installed.

    Not the same picture: what splatting a scene of that size takes here, for scale.
    """
    if importlib.util.find_spec("gsplat") is None:
        return {}
    from gsplat import rasterization

    where = surface.vertices.device
    generator = torch.Generator(where).manual_seed(0)
    at = torch.randint(0, len(surface.vertices), (count,), generator=generator, device=where)
    pose = torch.eye(4, device=where)
    pose[:3, :3] = torch.from_numpy(view.R).to(where)
    pose[:3, 3] = torch.from_numpy(view.t).to(where)
    given = {
        "means": surface.vertices[at],
        "quats": torch.randn(count, 4, generator=generator, device=where),
        "scales": torch.full((count, 3), 1e-3, device=where),
        "opacities": torch.full((count,), 0.9, device=where),
        "colors": torch.rand(count, 3, generator=generator, device=where),
        "viewmats": pose[None],
        "Ks": torch.from_numpy(view.K).float().to(where)[None],
        "width": view.width,
        "height": view.height,
    }
    return _that_run({f"gsplat, {count / 1e6:.0f} M Gaussians": lambda: rasterization(**given)})


def compiled_step(trainer: Trainer, pool: SheetPool) -> dict[str, Work]:
    """The eager peer of a training step with its shader compiled."""
    peer = Peer(trainer, pool)
    peer._shade = torch.compile(peer._shade)
    return _that_run({"compiled": peer.step})

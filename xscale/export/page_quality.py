"""Pictures of a page against the run's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xscale.export.page_views import limited
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.ops import GridLayout
from xscale.render.renderer import Renderer
from xscale.render.run import Run
from xscale.webgpu import codec
from xscale.webgpu.layout import Table

_COMPARED = 4
_EDGE = 400
_EQUAL = 99.0


@dataclass(frozen=True)
class Quality:
    """Difference between a page's pictures and the run's own."""

    psnr: float
    """Decibels, mean of some views, sRGB."""
    within: float
    """Share of the pixels whose channels differ by one step of the byte at most."""


def compare(run: Run, mesh: codec.PackedMesh, table: Table) -> Quality:
    """Render some views from a page's mesh and table, and from the run's, on the CPU."""
    names = run.names("test") or run.names("train")
    some = names[:: max(1, len(names) // _COMPARED)][:_COMPARED]
    cameras = [limited(run.camera(name), _EDGE) for name in some]
    exact = [_picture(run, run.surface, camera) for camera in cameras]
    field, surface = run.model.field, page_surface(mesh)
    own = field.table
    try:
        field.table = torch.from_numpy(page_table(table, field.layout))
        ours = [_picture(run, surface, camera) for camera in cameras]
    finally:
        field.table = own
    psnr, within = [], []
    for a, b in zip(exact, ours, strict=True):
        error = float(((a - b) ** 2).mean())
        psnr.append(10 * np.log10(1 / error) if error > 0 else _EQUAL)
        away = np.abs(np.rint(a * 255) - np.rint(b * 255)).max(-1)
        within.append(float((away <= 1).mean()))
    return Quality(float(np.mean(psnr)), float(np.mean(within)))


def page_surface(mesh: codec.PackedMesh) -> Surface:
    """Return a page's mesh, ready for the ops."""
    return build_surface(Mesh(vertices=mesh.vertices, faces=mesh.faces, origin=np.zeros(3)))


def page_table(table: Table, grid: GridLayout) -> np.ndarray:
    """Return the numbers that a page's table stands for, float32 [rows, width]."""
    values = table.data.astype(np.float32)
    if table.number == "snorm8":
        for level in range(grid.levels):
            values[slice(*grid.offsets[level : level + 2])] *= table.steps[level] / 127
    return values


def _picture(run: Run, surface: Surface, camera: Camera) -> np.ndarray:
    renderer = Renderer(surface, run.model, run.origin)
    return renderer.render(camera, ("srgb",)).srgb.cpu().numpy()

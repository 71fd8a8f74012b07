"""Small colourful pictures, and what the references make of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from xscale import ops
from xscale.gbuffer.build import build_surface, visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.ops import FilmShaderLayout, FrameGrid, FrameShader, ReluShaderLayout
from xscale.ops._selftest import _bumps
from xscale.webgpu.painter import Painted, Painter

WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class Problem:
    """A mesh, its colours and a camera."""

    surface: Surface
    grid: FrameGrid
    shader: FrameShader
    camera: Camera

    def painter(self, device, **options) -> Painter:
        return Painter(device, self.surface, self.grid, self.shader, **options)

    def paint(self, device, rect=None, painter=None, **options) -> Painted:
        rect = rect or (0, 0, self.camera.width, self.camera.height)
        painter = painter or self.painter(device)
        return painter.paint(self.camera, rect, self.shader, faces=True, **options)

    def faces(self) -> torch.Tensor:
        """The reference's face ids [h, w]."""
        packed = torch.from_numpy(self.camera.packed())
        with ops.use_backend("reference"):
            return visibility(self.surface, packed, self.camera.width, self.camera.height)

    def colours(self, face_id: torch.Tensor, photo_range: float = 255) -> np.ndarray:
        """The reference's colours of face ids, uint8 [h, w, 3]."""
        with ops.use_backend("reference"):
            return ops.fused_frame(
                self.surface.vertices, self.surface.faces, torch.from_numpy(self.camera.packed()),
                face_id, self.grid, self.shader, photo_range=photo_range,
            ).numpy()  # fmt: skip

    def seen_by(self, camera: Camera) -> Problem:
        return replace(self, camera=camera)


def pinhole(skew: float = 0.0, near: float = 1e-3) -> Camera:
    K = np.array([[31.0, skew, 30.3], [0, 29.0, 23.7], [0, 0, 1]])
    return Camera("PINHOLE", WIDTH, HEIGHT, K, np.eye(3), [0.1, -0.2, 0.9], near=near)


def problem(
    kind: str = "relu",
    width: int = 4,
    hidden: int = 16,
    *,
    sh_degree: int = 4,
    interpolation: str = "linear",
    footprint_scale: float = 0.5,
    dtype: torch.dtype = torch.float16,
    box: tuple = ((0.0, 0.0, 0.0), (0.49, 0.49, 2.0)),
    exposed: bool = True,
    camera: Camera | None = None,
) -> Problem:
    generator = torch.Generator().manual_seed(11)
    vertices, faces, _ = _bumps()
    layout = ops.grid_layout(8, width, 10, 4, 1.6)
    table = (0.6 * torch.randn(layout.rows, width, generator=generator)).to(dtype)
    grid = FrameGrid(table, layout, torch.tensor(box), interpolation, footprint_scale)
    if kind == "relu":
        sizes = ReluShaderLayout(8 * width, hidden, sh_degree)
        weights = ops.relu_shader_init(sizes, generator)
        exposure = torch.eye(3, 4).flatten() + 0.1 * torch.randn(12, generator=generator)
        shader = FrameShader(weights, sizes, exposure if exposed else None)
    else:
        film = FilmShaderLayout(8 * width, hidden)
        weights = ops.film_shader_init(film, generator)
        film.unpack(weights)["W3"].mul_(6)
        light = torch.cat(
            [torch.full((2, hidden), 30.0), torch.randn(2, hidden, generator=generator)]
        )
        exposure = 0.2 * torch.randn(2 * hidden, generator=generator)
        shader = FrameShader(weights, film, exposure if exposed else None, light)
    mesh = Mesh(vertices=vertices.numpy(), faces=faces.numpy(), origin=np.zeros(3))
    return Problem(build_surface(mesh), grid, shader, camera or pinhole())


def check(problem: Problem, found: Painted, photo_range: float = 255, step: int = 1) -> None:
    """Hold a picture to the reference: its faces, and the colours where they are the same."""
    face_id = problem.faces()
    expected = problem.colours(face_id, photo_range)
    same = found.face == face_id.numpy()
    assert (face_id >= 0).double().mean() > 0.2
    assert expected[face_id.numpy() >= 0].std() > 5  # a picture, not a grey wall
    assert (~same).mean() <= 0.003
    assert beside_edges(face_id.numpy(), ~same)
    away = np.abs(found.colour.astype(int) - expected).max(-1)
    assert away[same].max() <= step
    assert np.array_equal(found.covered, found.face >= 0)


def beside_edges(face_id: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether each chosen pixel has a neighbour of another face."""
    edge = np.zeros(face_id.shape, bool)
    for axis in (0, 1):
        differs = np.diff(face_id, axis=axis) != 0
        before, after = [[slice(None)] * 2 for _ in range(2)]
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        edge[tuple(before)] |= differs
        edge[tuple(after)] |= differs
    return bool(edge[chosen].all())

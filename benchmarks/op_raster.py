"""Speed of ``rasterize`` against open3d's (Embree's) ray caster on a fractal terrain.

The ray caster's time to build its tree is not counted. Both answer the same question: which
triangle each pixel's centre ray hits first.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks._timing import Work, device, milliseconds, row
from xscale.gbuffer.build import build_surface, visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh


def rows() -> list[dict[str, object]]:
    """Time meshes of 0.4 to 16 million triangles, all of them in view, and a deep scene."""
    return [
        terrain_row(447, 1536, 1024),
        terrain_row(1000, 1920, 1080),
        terrain_row(2236, 1920, 1080),
        terrain_row(2828, 3840, 2160),
        _street(40, 25, 1920, 1080),
    ]


def terrain(cells: int) -> Mesh:
    """Return a square of fractal hills, 2 across, with 2 * cells^2 triangles."""
    turn, shift = np.random.default_rng(0).uniform(0, 2 * np.pi, (10, 2)).T
    along = np.linspace(-1, 1, cells + 1)
    vertices = np.empty((cells + 1, cells + 1, 3), np.float32)
    vertices[:, :, 0], vertices[:, :, 1] = along, along[:, None]
    for index, y in enumerate(along):  # row by row: the largest mesh has fifty million points
        z = np.zeros_like(along)
        for octave in range(10):
            wave = 2**octave * 1.5
            across = along * np.cos(turn[octave]) + y * np.sin(turn[octave])
            hills = np.sin(wave * across + shift[octave])
            z += 0.12 / 2**octave * hills * np.cos(wave * 0.7 * (along - y) + turn[octave])
        vertices[index, :, 2] = z
    faces = np.empty((2, cells, cells, 3), np.int32)
    first = np.arange(cells, dtype=np.int32)[:, None] * (cells + 1) + np.arange(
        cells, dtype=np.int32
    )
    for half, steps in enumerate(((0, 1, cells + 2), (0, cells + 2, cells + 1))):
        for corner, step in enumerate(steps):
            np.add(first, step, out=faces[half, :, :, corner])
    return Mesh.from_world(vertices.reshape(-1, 3), faces.reshape(-1, 3))


def camera(width: int, height: int) -> Camera:
    """Return a camera that looks down at the whole terrain from its side."""
    position = np.array([0.0, -2.1, 1.6])
    forward = -position / np.linalg.norm(position)
    right = np.array([1.0, 0.0, 0.0])
    R = np.stack([right, np.cross(forward, right), forward])
    focal = 0.95 * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(model="PINHOLE", width=width, height=height, K=K, R=R, t=-R @ position, near=1e-3)


def terrain_frame(width: int, height: int) -> tuple[Surface, torch.Tensor]:
    """Return a terrain of 500,000 triangles on the device, and a packed camera that sees it."""
    mesh = terrain(500)
    packed = torch.from_numpy(camera(width, height).recentred(mesh.origin).packed()).to(device())
    return build_surface(mesh, device()), packed


def city(blocks: int, cells: int) -> Mesh:
    """Return blocks^2 houses on a square, 2 across, of 5 walls, 2 * cells^2 triangles each."""
    heights = np.random.default_rng(0).uniform(0.5, 3.0, (blocks, blocks)) / blocks
    u, v = np.meshgrid(np.linspace(0, 1, cells + 1), np.linspace(0, 1, cells + 1))
    u, v, low, high = u.ravel(), v.ravel(), np.zeros(u.size), np.ones(u.size)
    walls = [(u, v, high), (u, low, v), (u, high, v), (low, u, v), (high, u, v)]
    house = np.stack([np.stack(wall, 1) for wall in walls]).reshape(-1, 3)
    first = np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)
    wall = np.concatenate(
        [np.stack([first + s for s in steps], 2).reshape(-1, 3)
         for steps in ((0, 1, cells + 2), (0, cells + 2, cells + 1))]
    )  # fmt: skip
    faces = np.concatenate([wall + i * len(u) for i in range(len(walls))]).astype(np.int32)
    place = np.stack(np.meshgrid(np.arange(blocks), np.arange(blocks)), 2).reshape(-1, 2)
    vertices = np.empty((blocks * blocks, len(house), 3), np.float32)
    vertices[:, :, :2] = 2 / blocks * (place[:, None] + 0.2 + 0.6 * house[:, :2]) - 1
    vertices[:, :, 2] = heights.reshape(-1, 1) * house[:, 2]
    houses = np.arange(blocks * blocks, dtype=np.int32)[:, None, None] * len(house)
    return Mesh.from_world(vertices.reshape(-1, 3), (faces + houses).reshape(-1, 3))


def street_camera(width: int, height: int) -> Camera:
    """Return a camera that looks across a city from the height of a window at its edge."""
    position = np.array([-0.1, -1.05, 0.04])
    forward = np.array([0.3, 1.0, 0.0]) / np.hypot(0.3, 1.0)
    right = np.array([forward[1], -forward[0], 0.0])
    R = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[0.7 * width, 0, width / 2], [0, 0.7 * width, height / 2], [0, 0, 1]])
    return Camera(model="PINHOLE", width=width, height=height, K=K, R=R, t=-R @ position, near=1e-3)


def terrain_row(cells: int, width: int, height: int) -> dict[str, object]:
    """Time a terrain of 2 * cells^2 triangles, all of it in view."""
    million = 2 * cells * cells / 1e6
    name = f"raster {million:.1f}M" if million < 3 else f"raster {million:.0f}M"
    return _timed(f"{name} 4K" if width == 3840 else name, terrain(cells), camera(width, height))


def _street(blocks: int, cells: int, width: int, height: int) -> dict[str, object]:
    mesh = city(blocks, cells)
    return _timed(f"raster {len(mesh.faces) / 1e6:.0f}M city", mesh, street_camera(width, height))


def _timed(name: str, mesh: Mesh, view: Camera) -> dict[str, object]:
    width, height = view.width, view.height
    view = view.recentred(mesh.origin)
    surface = build_surface(mesh, device())
    packed = torch.from_numpy(view.packed()).to(device())
    works = {
        "ours": lambda: visibility(surface, packed, width, height),
        "reads": lambda: _read(surface),
    }
    # Beyond, the peer's tree takes more memory than the machines of these tables have.
    peer = ray_caster(mesh, view) if len(mesh.faces) < 50_000_000 else None
    if peer is not None:
        works["peer"] = peer
    times = milliseconds(works, seconds=4.0)
    shape = f"{len(mesh.faces):,} triangles, {width} x {height}"
    return row(name, shape, times, peer_name="open3d cast_rays (Embree)", ceiling="reads")


def _read(surface: Surface) -> Surface:
    """Move what must be read of the mesh once: corners, and the points they name."""
    surface.cluster_corners.view(torch.int16).sum(dtype=torch.int64)
    surface.cluster_points.sum()
    return surface


def ray_caster(mesh: Mesh, view: Camera) -> Work | None:
    """Return the peer's work, or None where open3d is not installed."""
    try:
        import open3d as o3d
    except ImportError:
        return None
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    v, u = np.meshgrid(np.arange(view.height), np.arange(view.width), indexing="ij")
    directions = view.rays(np.stack([u.ravel() + 0.5, v.ravel() + 0.5], 1))
    starts = np.broadcast_to(view.position, directions.shape)
    rays = o3d.core.Tensor(np.concatenate([starts, directions], 1).astype(np.float32))
    threads = torch.get_num_threads()
    return lambda: scene.cast_rays(rays, nthreads=threads)["primitive_ids"]

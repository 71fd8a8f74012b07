"""A textured scene with neighbours, and faults planted into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests import builders
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.mesh.ply import encode_ply

WIDTH, HEIGHT = 192, 144


def textured() -> builders.Built:
    """A bumpy plate covered with a pattern at many scales, seen by nine overlapping photos."""
    along = np.linspace(-1.6, 1.6, 25)
    x, y = np.meshgrid(along, along)
    z = 0.25 * np.sin(2.1 * x + 0.4) * np.cos(1.7 * y) + 0.3 * np.exp(-4 * (x**2 + y**2))
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    row = np.arange(24)[:, None] * 25 + np.arange(24)
    a, b, c, d = (row + s for s in (0, 1, 25, 26))
    faces = np.concatenate([np.stack(t, 2).reshape(-1, 3) for t in ((a, b, d), (a, d, c))])
    K = np.array([[170.0, 0, WIDTH / 2], [0, 170.0, HEIGHT / 2], [0, 0, 1]])
    cameras = {}
    for k in range(9):
        position = np.array([0.45 * (k % 3 - 1), 0.4 * (k // 3 - 1), 2.4 + 0.05 * k])
        R, t = builders.look_at(position, 0.4 * position * (1, 1, 0), (0.05, -1.0, 0))
        cameras[f"view_{k}.png"] = Camera("PINHOLE", WIDTH, HEIGHT, K, R, t)
    rng = np.random.default_rng(11)
    waves = rng.normal(size=(40, 2)) * rng.uniform(4, 22, (40, 1))
    phases = rng.uniform(0, 6, 40)

    def colour(points: np.ndarray) -> np.ndarray:
        value = np.sin(points[:, :2] @ waves.T + phases).sum(1) / 6
        return np.clip(127 + 60 * np.stack([value, value, value], 1), 0, 255).astype(np.uint8)

    corners = vertices[faces[rng.integers(0, len(faces), 900)]]
    weights = rng.dirichlet((1, 1, 1), 900)
    points = (corners * weights[..., None]).sum(1)
    return builders.Built(vertices, faces.astype(np.int32), cameras, colour, points)


def statue() -> builders.Built:
    """A bumpy ball with a pattern at many scales, seen all around by 24 photos."""
    rows, columns = 28, 48
    polar = np.linspace(0.05, np.pi - 0.05, rows)[:, None]
    around = np.arange(columns) * 2 * np.pi / columns
    ways = np.stack(
        [
            np.sin(polar) * np.cos(around),
            np.sin(polar) * np.sin(around),
            np.cos(polar) * np.ones(columns),
        ],
        -1,
    )
    bumps = 1 + 0.25 * np.sin(3 * ways[..., 0] + 1) * np.cos(2 * ways[..., 1] - 0.5)
    bumps += 0.15 * np.exp(-6 * ((ways - (0.6, 0.5, 0.62)) ** 2).sum(-1))
    vertices = (ways * bumps[..., None] * (0.8, 0.7, 1.0) + (3.0, -2.0, 1.0)).reshape(-1, 3)
    row, column = np.arange(rows - 1)[:, None] * columns, np.arange(columns)
    beside = (column + 1) % columns
    a, b, c, d = row + column, row + beside, row + columns + column, row + columns + beside
    faces = np.concatenate([np.stack(t, 2).reshape(-1, 3) for t in ((a, c, d), (a, d, b))])
    K = np.array([[240.0, 0, WIDTH / 2], [0, 240.0, HEIGHT / 2], [0, 0, 1]])
    middle, cameras = vertices.mean(axis=0), {}
    for k in range(24):
        angle, height = np.radians(15.0 * k), (0.2, 0.5)[k % 2]
        away = 3.2 * np.array([np.cos(angle), np.sin(angle), height])
        R, t = builders.look_at(middle + away, middle)
        cameras[f"view_{k:02d}.png"] = Camera("PINHOLE", WIDTH, HEIGHT, K, R, t)
    rng = np.random.default_rng(5)
    waves = rng.normal(size=(40, 3)) * rng.uniform(4, 20, (40, 1))
    phases = rng.uniform(0, 6, 40)

    def colour(points: np.ndarray) -> np.ndarray:
        value = np.sin((points - middle) @ waves.T + phases).sum(1) / 6
        return np.clip(127 + 60 * np.stack([value, value, value], 1), 0, 255).astype(np.uint8)

    corners = vertices[faces[rng.integers(0, len(faces), 1800)]]
    weights = rng.dirichlet((1, 1, 1), len(corners))
    points = (corners * weights[..., None]).sum(1)
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return builders.Built(vertices, faces.astype(np.int32), cameras, colour, points, outward)


def write(built: builders.Built, root: Path) -> Path:
    """Write the scene as a COLMAP folder, photographed by one ray a pixel of our rasterizer."""
    builders.write_model(built, root / "sparse/0")
    mesh = Mesh.from_world(built.vertices, built.faces)
    surface = build_surface(mesh)
    for name, camera in built.cameras.items():
        packed = torch.from_numpy(camera.recentred(mesh.origin).packed())
        samples, _ = build_gbuffer(surface, packed, WIDTH, HEIGHT)
        picture = np.full((HEIGHT * WIDTH, 3), 40, np.uint8)
        points = samples.position.numpy().astype(np.float64) + mesh.origin
        picture[samples.pixel_index.numpy()] = built.colour(points)
        builders.save_photo(root / "images" / name, picture.reshape(HEIGHT, WIDTH, 3))
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))
    return root


def turned(camera: Camera, degrees: float, axis: int) -> Camera:
    """The camera turned about one of its own axes, where it stands."""
    angle = np.radians(degrees)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    turn = np.eye(3)
    turn[[i, j], [i, j]] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    R = turn @ camera.R
    return replace(camera, R=R, t=-R @ camera.position)


def shifted(camera: Camera, by: tuple[float, float, float]) -> Camera:
    """The camera somewhere else, by that much in the scene's frame."""
    return replace(camera, t=-camera.R @ (camera.position + np.asarray(by)))

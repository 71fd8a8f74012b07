"""Sparse points: against where photos saw them, and against the mesh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from xscale.gbuffer.build import surface_samples, visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.inspection.looks import Look
from xscale.scene.scene import Scene

_MOST_POINTS = 5000
_ROUNDS = 20
_LEAST_POINTS = 50


class PhotoPoints(NamedTuple):
    """Agreement of one photo with the sparse points."""

    observations: int
    reprojection: float | None
    """Median distance in pixels between a point's projection and where it was seen: what camera
    and photo decide."""
    mesh_offset: float | None
    """Median difference of the mesh's and the point's depth, as a share of it; None where no mesh
    was hit or none was looked for."""
    seen: np.ndarray
    """float64 [N, 2], where points were seen, pixels."""
    projected: np.ndarray
    """float64 [N, 2], where the camera puts them."""


class MeshFit(NamedTuple):
    """The similarity (without turn) that lays the points on the mesh best."""

    points: int
    scale: float
    """How many times larger the mesh is than the points ask for."""
    shift: np.ndarray
    """float64 [3], how far the mesh's centre lies off, world units."""
    before: float
    """Median distance of points from the mesh along its normal, world units."""
    after: float
    """The same once scale and shift are undone."""
    reach: float
    """Median distance of the points from the mesh's centre, world units."""


def reprojections(scene: Scene) -> dict[str, PhotoPoints]:
    """Compare, for every photo, where it saw sparse points with where its camera puts them."""
    found = {}
    for name, (seen, points) in scene.sparse_observations().items():
        projected, depth = scene.photo(name).camera.project(points)
        front = depth > 0
        distance = np.linalg.norm(projected - seen, axis=1)[front]
        median = float(np.median(distance)) if len(distance) else None
        found[name] = PhotoPoints(len(distance), median, None, seen[front], projected[front])
    return found


def against_mesh(
    scene: Scene, surface: Surface, looks: list[Look]
) -> tuple[dict[str, float], MeshFit | None]:
    """Compare sparse points with the mesh along the rays of the photos that saw them.

    Returns:
        The median offset by photo name, as a share of the depth, and what would set it right.
    """
    observed = scene.sparse_observations()
    offsets, normals, points, hits = {}, [], [], []
    for look in looks:
        if look.photo.name not in observed:
            continue
        _, seen = observed[look.photo.name]
        local = seen[:: max(1, len(seen) // _MOST_POINTS)] - scene.origin
        local, position, normal, depth, expected = _hits(surface, look, local)
        if not len(local):
            continue
        offsets[look.photo.name] = float(np.median(np.abs(depth - expected) / expected))
        points.append(local)
        hits.append(position)
        normals.append(normal)
    if sum(map(len, points)) < _LEAST_POINTS:
        return offsets, None
    return offsets, _fit(np.concatenate(points), np.concatenate(hits), np.concatenate(normals))


def _hits(surface: Surface, look: Look, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where rays through points [N, 3] hit the mesh: points, hits, normals, both depths."""
    camera = look.camera
    pixel, depth = camera.project(points)
    inside = (depth > 0) & ((pixel >= 0) & (pixel < (camera.width, camera.height))).all(axis=1)
    points, pixel, depth = points[inside], pixel[inside], depth[inside]
    packed = torch.from_numpy(camera.packed())
    face = visibility(surface, packed, camera.width, camera.height).numpy()
    column, row = np.floor(pixel).astype(np.int64).T
    seen = face[row, column]
    kept = seen >= 0
    # The exact ray against the face's plane: a small pixel is too coarse for depths on slopes.
    samples = surface_samples(
        surface,
        packed[None].contiguous(),
        torch.zeros(int(kept.sum()), dtype=torch.int32),
        torch.from_numpy(pixel[kept].astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(seen[kept])),
        normals=True,
    )
    return (
        points[kept],
        samples.position.numpy().astype(np.float64),
        samples.normal.numpy().astype(np.float64),
        samples.depth.numpy().astype(np.float64),
        depth[kept],
    )


def _fit(points: np.ndarray, hits: np.ndarray, normals: np.ndarray) -> MeshFit:
    """Least absolute distances along the mesh's normals, by reweighted least squares."""
    distance = ((hits - points) * normals).sum(1)
    design = np.column_stack([(points * normals).sum(1), normals])
    answer = np.zeros(4)
    for _ in range(_ROUNDS):
        left = distance - design @ answer
        floor = 0.1 * np.median(np.abs(left)) + 1e-30
        weight = 1 / np.sqrt(np.maximum(np.abs(left), floor))
        answer = np.linalg.lstsq(design * weight[:, None], distance * weight, rcond=1e-6)[0]
    return MeshFit(
        points=len(points),
        scale=1 + float(answer[0]),
        shift=answer[1:],
        before=float(np.median(np.abs(distance))),
        after=float(np.median(np.abs(distance - design @ answer))),
        reach=float(np.median(np.linalg.norm(points, axis=1))),
    )

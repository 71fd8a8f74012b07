"""Surfaces cut open by a plane: what lies on one side of it is left out of every picture.

Only the clusters change, which decide what a pixel sees. Faces that the plane crosses are drawn up
to it under their own numbers: vertices, faces and all that is kept for them stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch

from xscale.gbuffer.clusters import CLUSTER_FACES
from xscale.gbuffer.gbuffer import Surface


@dataclass(frozen=True)
class Plane:
    """A plane in the world's frame; points x with normal . x > offset are cut away."""

    normal: tuple[float, float, float]
    """Unit."""
    offset: float
    """World units."""

    def height(self, points: np.ndarray) -> np.ndarray:
        """Return how far world points [..., 3] lie beyond the plane; positive is cut away."""
        return np.asarray(points, np.float64) @ np.array(self.normal) - self.offset


_kept: WeakKeyDictionary[Surface, tuple[Plane, tuple[float, ...], Surface]] = WeakKeyDictionary()


def cut_surface(surface: Surface, plane: Plane, origin: Sequence[float]) -> Surface:
    """Return a surface without what lies beyond a plane; the last one made is kept.

    Args:
        surface: The mesh.
        plane: World frame.
        origin: World position of the mesh's local origin, [3].
    """
    place = tuple(float(x) for x in origin)
    known = _kept.get(surface)
    if known is None or known[:2] != (plane, place):
        known = (plane, place, _cut(surface, plane, np.array(place)))
        _kept[surface] = known
    return known[2]


def _cut(surface: Surface, plane: Plane, origin: np.ndarray) -> Surface:
    points = surface.cluster_points.cpu().numpy()
    corners = surface.cluster_corners.cpu().numpy()
    face_ids = surface.cluster_face_ids.cpu().numpy()
    start = surface.cluster_start.cpu().numpy()
    point_start = surface.cluster_point_start.cpu().numpy()
    box = surface.cluster_box.cpu().numpy()
    local = Plane(plane.normal, plane.offset - float(np.dot(plane.normal, origin)))
    low, high = _heights_of_boxes(box, local)
    whole = high <= 0
    crossed = np.flatnonzero((low <= 0) & ~whole)

    faces, face_cluster = _rows(start, crossed)
    triangles = corners[faces].astype(np.int64) + point_start[face_cluster][:, None]
    pieces, ids = _clipped(points, triangles, face_ids[faces], local)

    kept_faces, _ = _rows(start, np.flatnonzero(whole))
    kept_points, _ = _rows(point_start, np.flatnonzero(whole))
    groups = -(-len(ids) // CLUSTER_FACES)
    ends = np.minimum(np.arange(1, groups + 1) * CLUSTER_FACES, len(ids))
    counts = np.concatenate([np.diff(start)[whole], np.diff(ends, prepend=0)])
    point_counts = np.concatenate([np.diff(point_start)[whole], 3 * np.diff(ends, prepend=0)])
    own = np.arange(3 * len(ids)).reshape(-1, 3) % (3 * CLUSTER_FACES)
    boxes = np.zeros((groups, 6), np.float32)
    for group in range(groups):
        part = pieces[group * CLUSTER_FACES : ends[group]].reshape(-1, 3)
        boxes[group] = np.concatenate([part.min(0), part.max(0)])
    device = surface.vertices.device

    def tensor(*parts: np.ndarray, dtype: type) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(parts).astype(dtype)).to(device)

    return replace(
        surface,
        cluster_points=tensor(points[kept_points], pieces.reshape(-1, 3), dtype=np.float32),
        cluster_corners=tensor(corners[kept_faces], own, dtype=np.uint16),
        cluster_face_ids=tensor(face_ids[kept_faces], ids, dtype=np.int32),
        cluster_start=tensor([0], np.cumsum(counts), dtype=np.int32),
        cluster_point_start=tensor([0], np.cumsum(point_counts), dtype=np.int32),
        cluster_box=tensor(box[whole], boxes, dtype=np.float32),
    )


def _heights_of_boxes(box: np.ndarray, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest height of each box [C, 6] over a plane."""
    normal = np.array(plane.normal)
    low, high = box[:, :3].astype(np.float64), box[:, 3:].astype(np.float64)
    sides = np.stack([low * normal, high * normal])
    return sides.min(0).sum(1) - plane.offset, sides.max(0).sum(1) - plane.offset


def _rows(start: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of chosen groups, and the group of each: int64 [N] and [N]."""
    first = start[chosen].astype(np.int64)
    counts = start[chosen + 1] - first
    group = np.repeat(chosen, counts)
    before = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(first - before, counts), group


def _clipped(
    points: np.ndarray, triangles: np.ndarray, ids: np.ndarray, plane: Plane
) -> tuple[np.ndarray, np.ndarray]:
    """Return what triangles keep below a plane: float32 [N, 3, 3], and their numbers [N].

    Args:
        points: Float32 [M, 3].
        triangles: Int64 [F, 3], rows of ``points``.
        ids: Int32 [F], numbers of the triangles' faces.
        plane: In the points' frame.
    """
    height = plane.height(points[triangles])
    kept = height <= 0
    count = kept.sum(1)
    pieces, numbers = [points[triangles[count == 3]]], [ids[count == 3]]
    for many in (1, 2):
        some = count == many
        if not some.any():
            continue
        # Turned so that the corner that is alone on its side comes first.
        alone = np.argmax(kept[some] == (many == 1), axis=1)
        order = (alone[:, None] + np.arange(3)) % 3
        rows = np.take_along_axis(triangles[some], order, 1)
        heights = np.take_along_axis(height[some], order, 1)
        a, b, c = points[rows].transpose(1, 0, 2)
        ab, ac = (
            _crossing(points, rows[:, 0], rows[:, k], heights[:, 0], heights[:, k]) for k in (1, 2)
        )
        if many == 1:
            pieces.append(np.stack([a, ab, ac], 1))
            numbers.append(ids[some])
        else:
            pieces += [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)]
            numbers += [ids[some], ids[some]]
    return np.concatenate(pieces).astype(np.float32), np.concatenate(numbers)


def _crossing(
    points: np.ndarray, one: np.ndarray, other: np.ndarray, here: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """Return where edges cross the plane, float32 [N, 3]: equal for both faces of an edge."""
    a, b = points[one].astype(np.float64), points[other].astype(np.float64)
    # From the kept end: two faces of an edge then round alike.
    swap = (here > 0)[:, None]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    low, high = np.minimum(here, there), np.maximum(here, there)
    return (a + (b - a) * (low / (low - high))[:, None]).astype(np.float32)

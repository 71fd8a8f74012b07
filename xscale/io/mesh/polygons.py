"""Corner lists of faces: checked against the vertex count and split into triangles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import LimitError, MeshError
from xscale.io.budget import check_growth

MOST_CORNERS = 64
"""Most corners of one face."""
_MOST_FACES = (1 << 31) - 1
_BYTES_A_FACE = 33
"""Record of a face while faces of unlike sizes are split."""
_BLOCK = 1 << 18
_SPLIT_CORNERS = 1 << 19
"""Corners of polygons that are split in one go."""
_REFLEX = 1e-6


class Triangles(NamedTuple):
    """Faces with three corners each."""

    faces: np.ndarray
    """int32 [T, 3], in the order of the faces they were part of."""
    short: int
    """How many faces had fewer than 3 corners and were left out."""


def check_vertices(
    corners: np.ndarray, counts: np.ndarray | int, vertices: int, where: Path, first: int = 0
) -> None:
    """Refuse indices that name no vertex.

    Args:
        corners: Integers, [F, n] or flat with ``counts`` [F] saying how many each face has.
        counts: Corners of each face, or one number for all.
        vertices: How many vertices there are.
        where: The file.
        first: Number of the first of these faces in the file.

    Raises:
        MeshError: An index is negative or too large.
    """
    for start in range(0, len(corners), _BLOCK):
        block = corners[start : start + _BLOCK]
        if not block.size or (int(block.min()) >= 0 and int(block.max()) < vertices):
            continue
        bad = np.argwhere((block < 0) | (block >= vertices))[0]
        position = start + int(bad[0])
        face = position
        if not np.isscalar(counts):
            face = int(np.searchsorted(np.cumsum(counts, dtype=np.int64), position, side="right"))
        raise MeshError(
            f"face {first + face} names vertex {block[tuple(bad)]} of {vertices}",
            where=where,
            advice="the file is cut or was edited: export it again",
        )


def triangulate(
    vertices: np.ndarray, corners: np.ndarray, counts: np.ndarray | int, where: Path
) -> Triangles:
    """Split polygons into triangles, in the faces' order.

    Convex ones become fans around their first corner. The others, seen along their normal, lose
    one ear after the other, so that no triangle lies outside the polygon or is turned over.

    Args:
        vertices: [V, 3], to see which polygons are convex.
        corners: Checked indices, [F, n] or flat.
        counts: Corners of each face, or one number for all.
        where: The file.

    Raises:
        LimitError: More triangles than 32-bit ids can name, or than the file's size explains.
    """
    if not np.isscalar(counts) and len(counts) and (counts == counts[0]).all():
        counts = int(counts[0])
        corners = corners.reshape(-1, counts) if counts else np.zeros((len(corners), 0), np.int32)
    if np.isscalar(counts):
        short = len(corners) if counts < 3 else 0
        _check_total(len(corners) * max(int(counts) - 2, 0), corners.nbytes, where)
        if counts <= 3:
            kept = corners[:, :3] if counts == 3 else np.zeros((0, 3))
            return Triangles(np.ascontiguousarray(kept, np.int32), short)
        faces = np.empty((len(corners), int(counts) - 2, 3), np.int32)
        step = max(1, _SPLIT_CORNERS // int(counts))
        for start in range(0, len(corners), step):
            rows = slice(start, start + step)
            faces[rows] = _split(vertices, corners[rows])
        return Triangles(faces.reshape(-1, 3), short)
    per_face = np.maximum(counts.astype(np.int64) - 2, 0)
    _check_total(int(per_face.sum()), corners.nbytes + _BYTES_A_FACE * len(counts), where)
    first = np.cumsum(per_face) - per_face
    begin = np.cumsum(counts, dtype=np.int64) - counts
    faces = np.empty((int(per_face.sum()), 3), np.int32)
    for size in np.unique(counts[counts >= 3]):
        alike = np.flatnonzero(counts == size)
        step = max(1, _SPLIT_CORNERS // int(size))
        for start in range(0, len(alike), step):
            rows = alike[start : start + step]
            polygons = corners[begin[rows, None] + np.arange(size)]
            faces[first[rows, None] + np.arange(size - 2)] = _split(vertices, polygons)
    return Triangles(faces, int((counts < 3).sum()))


def _split(vertices: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    """Split polygons [P, n] of one size: [P, n - 2, 3]."""
    size = polygons.shape[1]
    steps = np.arange(1, size - 1)
    fan = np.stack([np.zeros_like(steps), steps, steps + 1], axis=1)
    triangles = polygons[:, fan]
    if size == 3:
        return triangles
    points = vertices[polygons].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        points -= points[:, :1]
        normal = np.cross(points[:, 1:-1], points[:, 2:]).sum(axis=1)
        edges = np.roll(points, -1, axis=1) - points
        turns = np.einsum("pnk,pk->pn", np.cross(np.roll(edges, 1, axis=1), edges), normal)
        area = np.einsum("pk,pk->p", normal, normal)
        bent = np.flatnonzero((turns < -_REFLEX * area[:, None]).any(axis=1))
    for k in bent:
        triangles[k] = polygons[k][_ears(points[k], normal[k])]
    return triangles


def _ears(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Cut a polygon [n, 3] into triangles [n - 2, 3] of its corners, ear by ear."""
    axis = int(np.argmax(np.abs(normal)))
    flat = np.delete(points, axis, axis=1) * (1 if axis != 1 else (-1, 1))
    flat = flat * ((1, 1) if normal[axis] > 0 else (-1, 1))
    left, found = list(range(len(points))), []
    while len(left) > 3:
        best = next((k for k in range(len(left)) if _is_ear(flat, left, k)), 0)
        found.append([left[best - 1], left[best], left[(best + 1) % len(left)]])
        del left[best]
    return np.array([*found, left])


def _is_ear(flat: np.ndarray, left: list[int], k: int) -> bool:
    """Tell whether the corner is convex and its triangle holds no other corner."""
    a, b, c = (flat[left[(k + step) % len(left)]] for step in (-1, 0, 1))
    if _side(a, b, c[None])[0] <= 0:
        return False
    others = flat[[i for i in left if i not in (left[k - 1], left[k], left[(k + 1) % len(left)])]]
    inside = (_side(a, b, others) >= 0) & (_side(b, c, others) >= 0) & (_side(c, a, others) >= 0)
    return not inside.any()


def _side(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return a positive number for points [N, 2] left of the line from a to b."""
    along, beside = b - a, points - a
    return along[0] * beside[:, 1] - along[1] * beside[:, 0]


def _check_total(faces: int, beside: int, where: Path) -> None:
    """Refuse too many triangles before there is an array for them."""
    if faces > _MOST_FACES:
        raise LimitError(
            f"the mesh has {faces} triangles, at most {_MOST_FACES} can be numbered", where=where
        )
    check_growth(12 * faces + beside, where, f"its {faces} triangles")

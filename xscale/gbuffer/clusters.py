"""Clusters: faces sorted along a space-filling curve, in groups with boxes that can be culled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from xscale import threads
from xscale.geometry.mesh import Mesh

CLUSTER_FACES = 128
_BLOCK = CLUSTER_FACES << 11
"""Faces that are worked on at a time: temporaries stay in the tens of megabytes."""
_MOST_THREADS = 16


class Clusters(NamedTuple):
    """A mesh's clusters, as ``Surface`` describes them."""

    face_ids: np.ndarray
    start: np.ndarray
    box: np.ndarray
    points: np.ndarray
    corners: np.ndarray
    point_start: np.ndarray


_ahead: WeakKeyDictionary[Mesh, Clusters] = WeakKeyDictionary()


def cluster_ahead(mesh: Mesh) -> None:
    """Work out a mesh's clusters and normals now; whoever asks for them next is given these."""
    _ahead[mesh] = cluster_mesh(mesh)


def cluster_mesh(mesh: Mesh) -> Clusters:
    """Return the clusters of a mesh; its normals are worked out on the way."""
    if mesh in _ahead:
        return _ahead.pop(mesh)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    with threads.aside("clusters") as aside:
        # With the first look at them.
        normals = aside.submit(lambda: mesh.normals)
        order, start, boxes = cluster_faces(mesh.vertices, faces)
        points, corners, point_start = cluster_points(mesh.vertices, faces, order)
        normals.result()
    return Clusters(order, start, boxes, points, corners, point_start)


def spread_bits(x: np.ndarray) -> np.ndarray:
    """Put two zero bits between the low 21 bits of uint64 ``x``."""
    x = x & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | (x << np.uint64(shift))) & np.uint64(mask)
    return x


def cluster_faces(
    vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort faces along a Morton curve and group them.

    Blocks of faces are worked on by threads; beside the results, memory is bounded by 16 bytes a
    face (keys and the sort).

    Args:
        vertices: Float32 [V, 3].
        faces: Int32 [F, 3].

    Returns:
        Order int32 [F] (file row of each sorted face), start int32 [C + 1] of each cluster, and
        boxes float32 [C, 6].
    """
    count = len(faces)
    if count == 0:
        return np.zeros(0, np.int32), np.zeros(1, np.int32), np.zeros((0, 6), np.float32)
    key = _morton_keys(vertices, faces)
    order = np.argsort(key, kind="stable").astype(np.int32)
    del key
    start = np.append(np.arange(0, count, CLUSTER_FACES), count).astype(np.int32)
    boxes = np.empty((len(start) - 1, 6), np.float32)

    def box(first: int, last: int) -> None:
        corners = vertices[faces[order[first:last]]]  # [B, 3, 3]
        within = np.arange(0, last - first, CLUSTER_FACES)
        rows = slice(first // CLUSTER_FACES, first // CLUSTER_FACES + len(within))
        boxes[rows, :3] = np.minimum.reduceat(corners.min(1), within, axis=0)
        boxes[rows, 3:] = np.maximum.reduceat(corners.max(1), within, axis=0)

    _by_blocks(count, box)
    return order, start, boxes


def cluster_points(
    vertices: np.ndarray, faces: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give every cluster points of its own, so that it is read from one piece of memory.

    Args:
        vertices: Float32 [V, 3].
        faces: Int32 [F, 3].
        order: Int32 [F], see ``cluster_faces``.

    Returns:
        Points float32 [M, 3], cluster by cluster, each of a cluster once; corners uint16 [F, 3] of
        the sorted faces, as rows of their cluster's points; start int32 [C + 1] of each cluster's
        points.
    """
    count = len(faces)
    corners = np.empty((count, 3), np.uint16)
    pieces: list[np.ndarray] = [np.zeros((0, 3), np.float32)] * -(-count // _BLOCK)
    used = np.zeros(-(-count // CLUSTER_FACES) + 1, np.int32)

    def gather(first: int, last: int) -> None:
        clusters = -(-(last - first) // CLUSTER_FACES)
        place = np.arange(3 * CLUSTER_FACES)
        # The last cluster is filled up with its last corner again.
        key = np.empty((clusters, len(place)), np.int64)
        key.reshape(-1)[: 3 * (last - first)] = faces[order[first:last]].reshape(-1)
        key.reshape(-1)[3 * (last - first) :] = faces[order[last - 1], 2]
        # One sort brings equal vertices together and remembers where each came from.
        key = np.sort(key << 9 | place, axis=1)
        place = key & 511
        key >>= 9
        new = np.ones(key.shape, bool)
        np.not_equal(key[:, 1:], key[:, :-1], out=new[:, 1:])
        rank = np.cumsum(new, axis=1, dtype=np.uint16)
        local = np.empty(key.shape, np.uint16)
        np.put_along_axis(local, place, rank - np.uint16(1), axis=1)
        corners[first:last] = local.reshape(-1, 3)[: last - first]
        pieces[first // _BLOCK] = vertices[key[new]]
        row = first // CLUSTER_FACES
        used[row + 1 : row + 1 + clusters] = rank[:, -1]

    if count:
        _by_blocks(count, gather)
    points = np.concatenate(pieces) if pieces else np.zeros((0, 3), np.float32)
    return points, corners, np.cumsum(used, dtype=np.int32)


def _morton_keys(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the place on the curve of each face's first corner, uint64 [F]."""
    low, high = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
    for first in range(0, len(faces), _BLOCK):
        corner = vertices[faces[first : first + _BLOCK, 0]]
        low, high = np.minimum(low, corner.min(0)), np.maximum(high, corner.max(0))
    scale = (2**21 - 1) / np.maximum((high - low).max(), 1e-30)
    key = np.empty(len(faces), np.uint64)

    def place(first: int, last: int) -> None:
        cell = ((vertices[faces[first:last, 0]] - low) * scale).astype(np.uint64)
        block = spread_bits(cell[:, 0])
        block |= spread_bits(cell[:, 1]) << np.uint64(1)
        block |= spread_bits(cell[:, 2]) << np.uint64(2)
        key[first:last] = block

    _by_blocks(len(faces), place)
    return key


def _by_blocks(count: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(first, last)`` for blocks of faces, on all threads."""
    firsts = range(0, count, _BLOCK)
    if len(firsts) == 1:
        work(0, count)
        return
    with threads.pool("clusters", most=_MOST_THREADS) as workers:
        list(workers.map(lambda first: work(first, min(first + _BLOCK, count)), firsts))

"""Clusters: faces sorted along a space-filling curve, in groups with boxes that can be culled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

CLUSTER_FACES = 128
_BLOCK = CLUSTER_FACES << 13
"""Faces that are worked on at a time: temporaries stay in the tens of megabytes."""


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
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(lambda first: work(first, min(first + _BLOCK, count)), firsts))

"""Clusters: faces sorted along a space-filling curve, in groups with boxes that can be culled."""

from __future__ import annotations

import numpy as np

CLUSTER_FACES = 128


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
    first = vertices[faces[:, 0]]
    low, high = first.min(0), first.max(0)
    scale = (2**21 - 1) / np.maximum((high - low).max(), 1e-30)
    cell = ((first - low) * scale).astype(np.uint64)
    key = spread_bits(cell[:, 0])
    key |= spread_bits(cell[:, 1]) << np.uint64(1)
    key |= spread_bits(cell[:, 2]) << np.uint64(2)
    order = np.argsort(key, kind="stable").astype(np.int32)
    start = np.append(np.arange(0, count, CLUSTER_FACES), count).astype(np.int32)
    corners = vertices[faces[order]]  # [F, 3, 3]
    boxes = np.concatenate(
        [
            np.minimum.reduceat(corners.min(1), start[:-1], axis=0),
            np.maximum.reduceat(corners.max(1), start[:-1], axis=0),
        ],
        axis=1,
    )
    return order, start, np.ascontiguousarray(boxes, dtype=np.float32)

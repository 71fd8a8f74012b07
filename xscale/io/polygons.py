"""Corner lists of faces: checked against the vertex count and split into triangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xscale.errors import LimitError, MeshError

MOST_CORNERS = 64
"""Most corners of one face."""
_MOST_FACES = (1 << 31) - 1
_BLOCK = 1 << 20


def check_vertices(
    corners: np.ndarray, counts: np.ndarray | int, vertices: int, where: Path
) -> None:
    """Refuse indices that name no vertex.

    Args:
        corners: Integers, [F, n] or flat with ``counts`` [F] saying how many each face has.
        counts: Corners of each face, or one number for all.
        vertices: How many vertices there are.
        where: The file.

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
            face = int(np.searchsorted(np.cumsum(counts), position, side="right"))
        raise MeshError(
            f"face {face} names vertex {block[tuple(bad)]} of {vertices}",
            where=where,
            advice="the file is cut or was edited: export it again",
        )


def fan(corners: np.ndarray, counts: np.ndarray | int) -> tuple[np.ndarray, int]:
    """Split polygons into triangles that share the first corner, in the faces' order.

    Args:
        corners: Checked indices, [F, n] or flat.
        counts: Corners of each face, or one number for all.

    Returns:
        int32 [T, 3] and how many faces had fewer than 3 corners and were left out.

    Raises:
        LimitError: More triangles than 32-bit ids can name.
    """
    if np.isscalar(counts):
        triangles = max(int(counts) - 2, 0)
        _check_total(len(corners) * triangles)
        faces = np.empty((len(corners), triangles, 3), np.int32)
        for k in range(triangles):
            for start in range(0, len(corners), _BLOCK):
                rows = slice(start, start + _BLOCK)
                faces[rows, k] = corners[rows][:, [0, k + 1, k + 2]]
        return faces.reshape(-1, 3), 0 if triangles else len(corners)
    per_face = np.maximum(counts - 2, 0)
    total = int(per_face.sum())
    _check_total(total)
    begin = np.repeat(np.cumsum(counts) - counts, per_face)
    first = np.repeat(np.cumsum(per_face) - per_face, per_face)
    step = np.arange(total) - first
    faces = np.stack([corners[begin], corners[begin + step + 1], corners[begin + step + 2]], axis=1)
    return faces.astype(np.int32), int((counts < 3).sum())


def _check_total(faces: int) -> None:
    if faces > _MOST_FACES:
        raise LimitError(f"the mesh has {faces} triangles, at most {_MOST_FACES} can be numbered")

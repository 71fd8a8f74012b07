"""How the faces of a mesh hang together: counted for people, never changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_FACES = 50_000_000
"""Larger meshes are not counted: the sort of their edges would take over 1.2 GB."""
_BLOCK = 1 << 20


class Edges(NamedTuple):
    """Counts of a mesh's kinds of edges. All of them are legal."""

    open: int
    """Edges of one face: the mesh's border, or corners that were not joined."""
    crowded: int
    """Edges of more than two faces."""
    turned: int
    """Edges whose two faces are wound in opposite ways."""


def count_edges(faces: np.ndarray) -> Edges | None:
    """Count the edges of faces int [F, 3]; None for more than :data:`MOST_FACES`.

    Faces that name a vertex twice are passed over.
    """
    if len(faces) > MOST_FACES:
        return None
    keys = np.empty(3 * len(faces), np.uint64)
    used = 0
    for start in range(0, len(faces), _BLOCK):
        a, b, c = faces[start : start + _BLOCK].astype(np.uint64).T
        whole = (a != b) & (b != c) & (c != a)
        for first, second in ((a, b), (b, c), (c, a)):
            low, high = np.minimum(first, second), np.maximum(first, second)
            # Ids have 31 bits: both and the direction fit into 63.
            key = (low << np.uint64(32)) | (high << np.uint64(1)) | (first > second)
            keys[used : used + int(whole.sum())] = key[whole]
            used += int(whole.sum())
    keys = keys[:used]
    keys.sort()
    return _counted(keys)


def _counted(keys: np.ndarray) -> Edges:
    """Count runs of one edge among sorted keys."""
    if not len(keys):
        return Edges(0, 0, 0)
    edge = keys >> np.uint64(1)
    first = np.flatnonzero(np.concatenate([[True], edge[1:] != edge[:-1]]))
    del edge
    length = np.diff(first, append=len(keys))
    pairs = first[length == 2]
    return Edges(
        open=int((length == 1).sum()),
        crowded=int((length > 2).sum()),
        turned=int((keys[pairs] == keys[pairs + 1]).sum()),
    )

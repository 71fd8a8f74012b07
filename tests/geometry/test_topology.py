"""Edges are counted as one counts them by hand."""

import numpy as np
import pytest

from xscale.geometry.topology import Edges, count_edges

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        (TETRAHEDRON, Edges(0, 0, 0)),
        (TETRAHEDRON[:3], Edges(3, 0, 0)),
        (np.vstack([TETRAHEDRON[:3], [[0, 2, 3]]]), Edges(0, 0, 3)),
        (np.vstack([TETRAHEDRON, [[0, 1, 4]]]), Edges(2, 1, 0)),
        (np.vstack([TETRAHEDRON, [[0, 1, 1]]]), Edges(0, 0, 0)),
        (np.array([[0, 1, 2], [3, 4, 5]]), Edges(6, 0, 0)),
        (np.array([[1, 1, 2]]), Edges(0, 0, 0)),
        (np.array([[0, 1, 2], [0, 1, 2]]), Edges(0, 0, 3)),
        (TETRAHEDRON + 2**31 - 5, Edges(0, 0, 0)),
    ],
)
def test_edges_are_counted(faces, expected):
    assert count_edges(faces.astype(np.int32)) == expected


def test_blocks_join(monkeypatch, rng):
    faces = rng.integers(0, 40, (300, 3)).astype(np.int32)
    whole = count_edges(faces)
    monkeypatch.setattr("xscale.geometry.topology._BLOCK", 7)
    assert count_edges(faces) == whole
    assert min(whole) > 0

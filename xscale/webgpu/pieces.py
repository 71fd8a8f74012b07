"""A mesh in pieces that fit a binding each, and the boxes of its clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xscale.gbuffer.gbuffer import Surface

_CORNER_BYTES = 12
_GROUP = 64
"""Clusters that share a box of the upper level: as in walk.wgsl."""


@dataclass(frozen=True)
class MeshPiece:
    """Some faces in file order, and the vertices that they count."""

    first: int
    """Face id of the first."""
    vertices: np.ndarray
    """Float32 [v, 3]."""
    faces: np.ndarray
    """Uint32 [f, 3], rows of these vertices."""


def mesh_pieces(vertices: np.ndarray, faces: np.ndarray, most_bytes: int) -> list[MeshPiece]:
    """Cut a mesh into pieces whose vertices and faces take at most ``most_bytes`` each.

    Args:
        vertices: Float32 [V, 3].
        faces: Integers [F, 3].
        most_bytes: Of a binding.
    """
    most = max(most_bytes // _CORNER_BYTES, 3)
    whole = len(vertices) <= most
    # Without shared corners, three times as many vertices as faces.
    step = most if whole else most // 3
    pieces = []
    if not len(faces):
        # A face without an extent, which no ray meets: buffers have at least one element.
        point = np.zeros((1, 3), np.float32)
        return [MeshPiece(0, point, np.zeros((1, 3), np.uint32))]
    for first in range(0, len(faces), step):
        part = np.ascontiguousarray(faces[first : first + step])
        if whole:
            pieces.append(MeshPiece(first, vertices, part.astype(np.uint32)))
            continue
        rows, index = np.unique(part, return_inverse=True)
        corners = index.reshape(-1, 3).astype(np.uint32)
        pieces.append(MeshPiece(first, np.ascontiguousarray(vertices[rows]), corners))
    return pieces


@dataclass(frozen=True)
class Clusters:
    """Boxes around neighbouring faces, and around groups of them, for rays that walk the mesh."""

    clusters: int
    groups: int
    boxes: np.ndarray
    """Float32 [clusters + groups, 6], low and high corners."""
    members: np.ndarray
    """Uint32: the first face of each cluster, the end, then the face ids in cluster order."""


def cluster_boxes(surface: Surface) -> Clusters:
    """Return the boxes of a surface's clusters; neighbours in their order are close in space."""
    boxes = surface.cluster_box.numpy()
    starts = np.arange(0, len(boxes), _GROUP)
    low = np.minimum.reduceat(boxes[:, :3], starts)
    high = np.maximum.reduceat(boxes[:, 3:], starts)
    groups = np.concatenate([low, high], 1)
    members = np.concatenate([surface.cluster_start.numpy(), surface.cluster_face_ids.numpy()])
    return Clusters(
        len(boxes), len(groups), np.concatenate([boxes, groups]), members.astype(np.uint32)
    )

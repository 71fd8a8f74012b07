"""A surface whose vertices are moved along its normals."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from xscale.gbuffer.gbuffer import Surface

_MOVING = ("vertices", "normals", "cluster_points", "cluster_box")


def displaceable(surface: Surface) -> Surface:
    """Return a copy that may be displaced in place; what does not move is shared."""
    return replace(surface, **{name: getattr(surface, name).clone() for name in _MOVING})


def displaced(surface: Surface, heights: Tensor) -> Surface:
    """Return a surface with its vertices moved by heights [V] along their normals."""
    moved = displaceable(surface)
    displace(moved, surface, heights)
    return moved


def displace(moved: Surface, base: Surface, heights: Tensor) -> None:
    """Let a surface made by ``displaceable`` be ``base`` moved by heights float32 [V].

    Clusters keep their faces; points, boxes and normals follow the vertices. World units, along the
    normals of ``base``; which normals are area-weighted means of their faces'.
    """
    heights = heights.to(base.vertices)
    if not heights.any():
        for name in _MOVING:
            getattr(moved, name).copy_(getattr(base, name))
        return
    moved.vertices.copy_(base.vertices + heights[:, None] * base.normals)
    faces = base.faces.long()
    a, b, c = moved.vertices[faces].unbind(1)
    across = torch.linalg.cross((b - a).double(), (c - a).double())
    total = across.new_zeros(base.vertices.shape)
    for corner in faces.unbind(1):
        total.index_add_(0, corner, across)
    length = total.norm(dim=1, keepdim=True)
    unit = (total / length.clamp(min=1e-300)).float()
    moved.normals.copy_(torch.where(length > 0, unit, base.normals))
    clusters = len(base.cluster_start) - 1
    cluster = _owners(base.cluster_start, len(faces))
    row = base.cluster_point_start.long()[cluster, None] + base.cluster_corners.long()
    ordered = faces[base.cluster_face_ids.long()]
    moved.cluster_points[row.reshape(-1)] = moved.vertices[ordered.reshape(-1)]
    points = moved.cluster_points
    inside = _owners(base.cluster_point_start, len(points))[:, None].expand(-1, 3)
    low = points.new_full((clusters, 3), torch.inf).scatter_reduce_(0, inside, points, "amin")
    high = points.new_full((clusters, 3), -torch.inf).scatter_reduce_(0, inside, points, "amax")
    moved.cluster_box.copy_(torch.cat([low, high], 1))


def _owners(start: Tensor, count: int) -> Tensor:
    """Return the cluster of each of ``count`` items, of clusters' first items [C + 1]."""
    clusters = torch.arange(len(start) - 1, device=start.device)
    return torch.repeat_interleave(clusters, start.long().diff(), output_size=count)

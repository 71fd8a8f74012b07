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

    Clusters keep their faces; points, boxes and normals (means of the faces', weighted by area)
    follow the vertices. Heights are in world units, along the normals of ``base``. Worked out on
    the CPU: sums in a fixed order give the same bits wherever the surface lies.
    """
    if not heights.any():
        for name in _MOVING:
            getattr(moved, name).copy_(getattr(base, name))
        return
    vertices, normals = base.vertices.cpu(), base.normals.cpu()
    vertices = vertices + heights.cpu()[:, None] * normals
    moved.vertices.copy_(vertices)
    faces = base.faces.cpu().long()
    a, b, c = vertices[faces].unbind(1)
    across = torch.linalg.cross((b - a).double(), (c - a).double())
    total = across.new_zeros(vertices.shape)
    for corner in faces.unbind(1):
        total.index_add_(0, corner, across)
    length = total.norm(dim=1, keepdim=True)
    unit = (total / length.clamp(min=1e-300)).float()
    moved.normals.copy_(torch.where(length > 0, unit, normals))
    clusters = len(base.cluster_start) - 1
    cluster = _owners(base.cluster_start, len(faces))
    row = base.cluster_point_start.cpu().long()[cluster, None] + base.cluster_corners.cpu().long()
    ordered = faces[base.cluster_face_ids.cpu().long()]
    points = torch.empty(base.cluster_points.shape)
    points[row.reshape(-1)] = vertices[ordered.reshape(-1)]
    moved.cluster_points.copy_(points)
    inside = _owners(base.cluster_point_start, len(points))[:, None].expand(-1, 3)
    low = points.new_full((clusters, 3), torch.inf).scatter_reduce_(0, inside, points, "amin")
    high = points.new_full((clusters, 3), -torch.inf).scatter_reduce_(0, inside, points, "amax")
    moved.cluster_box.copy_(torch.cat([low, high], 1))


def _owners(start: Tensor, count: int) -> Tensor:
    """Return the cluster of each of ``count`` items, of clusters' first items [C + 1]."""
    clusters = torch.arange(len(start) - 1)
    return torch.repeat_interleave(clusters, start.cpu().long().diff(), output_size=count)

"""Values at the mesh's vertices, and between them: what is too slow to compute for every pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale.gbuffer.gbuffer import Surface
from xscale.render.sight import View

_CHUNK = 1 << 18
_LEAST_PHOTOS = 0.5
"""As in ``expected_error``."""


def interpolated(surface: Surface, values: Tensor, face_id: Tensor, position: Tensor) -> Tensor:
    """Return vertex values between the corners of faces, float32 [N].

    Args:
        surface: The mesh.
        values: Float32 [V].
        face_id: Int32 [N], the faces that the points lie on.
        position: Float32 [N, 3], local frame.
    """
    # Rows of one array: three look-ups a point instead of twelve.
    rows = torch.cat([surface.vertices, values[:, None]], 1)
    corner = surface.faces.index_select(0, face_id.long()).long()
    first, second, third = (rows.index_select(0, corner[:, k]) for k in range(3))
    one, other = second[:, :3] - first[:, :3], third[:, :3] - first[:, :3]
    away = position - first[:, :3]
    a, b, c = ((x * y).sum(1) for x, y in ((one, one), (one, other), (other, other)))
    d, e = ((away * side).sum(1) for side in (one, other))
    area = (a * c - b * b).clamp_(min=1e-30)
    u, v = ((c * d - b * e) / area).clamp_(0, 1), ((a * e - b * d) / area).clamp_(0, 1)
    v = torch.minimum(v, 1 - u)
    return first[:, 3] + u * (second[:, 3] - first[:, 3]) + v * (third[:, 3] - first[:, 3])


def photo_counts(
    surface: Surface, views: list[View], check: Callable[[], None] = lambda: None
) -> Tensor:
    """Return in how many photos each vertex is seen, float32 [V].

    Args:
        surface: The mesh.
        views: What the training cameras see.
        check: Called between parts of the work; may raise to give it up.
    """
    vertices = surface.vertices.cpu().numpy()
    total = torch.zeros(len(vertices))
    for first in range(0, len(vertices), _CHUNK):
        part = vertices[first : first + _CHUNK]
        for view in views:
            check()
            total[first : first + _CHUNK] += torch.from_numpy(view.sees(part)).float()
    return total.to(surface.vertices.device)


def expected_errors(residuals: Tensor, counts: Tensor) -> Tensor:
    """Return how far colours at vertices are likely to be off, float32 [V].

    Args:
        residuals: Float32 [V], see ``xscale.render.uncertainty``.
        counts: Float32 [V], photos that see each vertex.
    """
    return residuals * (1 + 1 / counts.clamp(min=_LEAST_PHOTOS))

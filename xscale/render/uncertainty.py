"""How far off colours are likely to be: what the training photos themselves left unexplained there.

The residual of a place is the mean difference between its training photos and the model, kept at
the mesh's vertices. Few photos are fitted better than many, whatever the truth: ``expected_error``
takes that back.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.errors import IntegrityError
from xscale.gbuffer.gbuffer import Surface
from xscale.run.folder import RESIDUALS, RunFolder


def read_residuals(run: RunFolder, vertices: int, device: torch.device) -> Tensor:
    """Return a run's residuals, float32 [V].

    Args:
        run: The run's folder.
        vertices: Of its mesh.
        device: Where they are wanted.

    Raises:
        InputError: The run has none: it is older, or its training did not end.
        IntegrityError: They are damaged.
    """
    found = run.read(
        RESIDUALS,
        what="has no residuals, which uncertainty is made of",
        advice="let xscale train end (--resume), or train again",
    ).get("residual")
    if found is None or found.dtype != np.float32 or found.shape != (vertices,):
        raise IntegrityError("does not fit the mesh", where=run.path / RESIDUALS)
    return torch.from_numpy(found).to(device)


def corner_weights(surface: Surface, face_id: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Return a point's vertices, int64 [N, 3], and their shares of it, float32 [N, 3].

    Args:
        surface: The mesh.
        face_id: Int32 [N], the faces that the points lie on.
        position: Float32 [N, 3], local frame.
    """
    vertex = surface.faces[face_id.long()].long()
    a, b, c = surface.vertices[vertex].double().unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    area = normal.square().sum(1).clamp(min=1e-300)
    second = (torch.linalg.cross(a - c, position - c) * normal).sum(1) / area
    third = (torch.linalg.cross(b - a, position - a) * normal).sum(1) / area
    weight = torch.stack([1 - second - third, second, third], 1).clamp_(0, 1)
    return vertex, (weight / weight.sum(1, keepdim=True)).float()


def expected_error(
    surface: Surface, residual: Tensor, face_id: Tensor, position: Tensor, photos: Tensor
) -> Tensor:
    """Return how far a colour is likely to be off, float32 [N]: mean of the channels, sRGB 0 to 1.

    Args:
        surface: The mesh.
        residual: Float32 [V], at its vertices.
        face_id: Int32 [N].
        position: Float32 [N, 3], local frame.
        photos: Float32 [N], how many training photos see the points.
    """
    vertex, weight = corner_weights(surface, face_id, position)
    return (residual[vertex] * weight).sum(1) * (1 + 1 / photos.clamp(min=0.5))

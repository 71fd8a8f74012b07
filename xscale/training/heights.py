"""Vertices that move along their normals while a scene is learned, a little.

Where the mesh lies beside the true surface, photos from different sides put the same detail at
different places of it. The model's picture of a photo is what all agree on; by how much the photo
lies beside it, and how far a vertex's move would shift the photo there, gives each vertex a height
by one Gauss-Newton step a round, smoothed over the mesh and bounded. This is a manifold deformation
that the vertices carry, so that rasterizing and every fused pass see it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xscale.errors import IntegrityError
from xscale.gbuffer.displace import displace, displaceable
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.adjust import adjusted
from xscale.training.align import (
    CORRELATED,
    Template,
    blurred,
    gradient,
    inside_surfaces,
    looked_up,
    unexplained,
)
from xscale.training.settings import RefineSettings

_BLUR = 3
_LEAST = 500
_STEP = 1e-3
"""Step of the numeric derivative, in units of the mean edge."""
_SOLVE = 100
_ENOUGH = 1e-4


class Heights:
    """Displacements of the mesh's vertices.

    Args:
        settings: How far they may move, and how unlike their neighbours.
        surface: The mesh as it came. ``surface`` of this object is a copy that moves.
    """

    def __init__(self, settings: RefineSettings, surface: Surface) -> None:
        self.settings = settings
        self.surface = displaceable(surface)
        self._base = surface
        self.heights = torch.zeros(len(surface.vertices))
        """Float32 [V], world units along the mesh's own normals."""
        faces = surface.faces.cpu().long()
        ends = torch.stack([faces, faces.roll(-1, 1)], 2).reshape(-1, 2)
        self._from, self._to = ends.unbind(1)
        vertices = surface.vertices.cpu()
        self._length = (vertices[self._from] - vertices[self._to]).norm(dim=1).double()
        self._edge = self._at_ends(self._length) / self._at_ends(torch.ones_like(self._length))
        self._edge = self._edge.nan_to_num(0.0)
        self._clear()

    def _at_ends(self, values: Tensor) -> Tensor:
        """Sum values of edges at both of their ends."""
        total = torch.zeros(len(self.heights), dtype=torch.float64)
        return total.index_add_(0, self._from, values).index_add_(0, self._to, values)

    def _clear(self) -> None:
        self._information = torch.zeros(len(self.heights), dtype=torch.float64)
        self._slope = torch.zeros(len(self.heights), dtype=torch.float64)

    def add(self, template: Template, numbers: np.ndarray) -> None:
        """Take in what a photo says.

        Args:
            template: Rendered from the surface as it is now, with ``face``.
            numbers: The camera's adjustment.
        """
        usable = inside_surfaces(template)
        if int(usable.sum()) < _LEAST:
            return
        rows, columns = usable.nonzero(as_tuple=True)
        face, points = template.face[rows, columns].long(), template.position[rows, columns]
        corners, weights = self._weights(face, points)
        normal = (self._base.normals.cpu()[corners] * weights[:, :, None]).sum(1).double().numpy()
        points = points.double().numpy()
        camera = adjusted(template.camera, numbers)
        step = _STEP * float(self._edge[corners[:, 0]].median())
        (ahead, _), (behind, _) = (camera.project(points + s * step * normal) for s in (1, -1))
        pixel, _ = camera.project(points)
        filled = torch.where(template.usable, template.model, template.photo)
        model = blurred(filled, _BLUR)
        slope = gradient(model)[rows, columns].double().numpy()
        across = (slope * (ahead - behind)).sum(1) / (2 * step)
        there = model[rows, columns].double().numpy()
        error = looked_up(blurred(template.photo, _BLUR), pixel) - there
        kept = np.isfinite(error) & np.isfinite(across)
        if kept.sum() < _LEAST:
            return
        left, fair, scatter, _ = unexplained(there[kept], error[kept])
        scale = fair / (scatter**2 * CORRELATED)
        kept = torch.from_numpy(kept)
        corners, weights = corners[kept].reshape(-1), weights[kept].double()
        for total, values in (
            (self._information, scale * across[kept.numpy()] ** 2),
            (self._slope, scale * across[kept.numpy()] * left),
        ):
            shared = weights * torch.from_numpy(values)[:, None]
            total.index_add_(0, corners, shared.reshape(-1))

    def _weights(self, face: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [N, 3] of faces [N] and their weights [N, 3] in points [N, 3]."""
        corners = self.surface.faces.cpu()[face].long()
        a, b, c = self.surface.vertices.cpu()[corners].unbind(1)
        areas = torch.stack(
            [
                torch.linalg.cross(one - points, two - points).norm(dim=1)
                for one, two in ((b, c), (c, a), (a, b))
            ],
            1,
        )
        return corners, areas / areas.sum(1, keepdim=True).clamp(min=1e-30)

    def solve(self) -> None:
        """End a round: move the heights by what the photos said; the surface stays for now."""
        heights = self.heights.double()
        stiff = 1 / (self.settings.slope * self._length.clamp(min=1e-30)) ** 2
        reach = self.settings.reach * self._edge
        pull = 1 / reach.clamp(min=1e-30) ** 2

        def smooth(x: Tensor) -> Tensor:
            pulled = stiff * (x[self._from] - x[self._to])
            out = pull * x
            return out.index_add_(0, self._from, pulled).index_add_(0, self._to, -pulled)

        wanted = self._information * heights - self._slope
        diagonal = self._information + pull + self._at_ends(stiff)
        found = _conjugate_gradients(
            lambda x: self._information * x + smooth(x), wanted, diagonal, heights
        )
        self.heights = torch.maximum(torch.minimum(found, reach), -reach).float()
        self._clear()

    def apply(self) -> None:
        """Move the surface to where the heights are."""
        displace(self.surface, self._base, self.heights)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps; ``Run`` reads the heights."""
        return {"mesh.heights": self.heights.clone()}

    def load(self, tensors: dict[str, np.ndarray]) -> None:
        """Take up what ``tensors`` gave, and move the surface.

        Raises:
            IntegrityError: The tensor is missing or does not fit.
        """
        found = tensors.get("mesh.heights")
        if found is None or found.shape != tuple(self.heights.shape):
            raise IntegrityError("the mesh's heights are missing or do not fit")
        self.heights = torch.from_numpy(found).clone()
        self.apply()

    def report(self) -> str:
        """Return as a line how far vertices moved."""
        share = (self.heights.double().abs() / self._edge.clamp(min=1e-30)).nan_to_num(0.0)
        return (
            f"vertices moved by {float(share.median()):.3f} of an edge in the median, "
            f"{float(share.max()):.2f} at most"
        )


def _conjugate_gradients(
    matrix: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, start: Tensor
) -> Tensor:
    """Solve a symmetric positive definite system, preconditioned by its diagonal."""
    x = start.clone()
    left = right - matrix(x)
    ahead = left / diagonal
    along, size = ahead.clone(), float(left @ ahead)
    enough = _ENOUGH**2 * max(float(right @ (right / diagonal)), 1e-300)
    for _ in range(_SOLVE):
        if size <= enough:
            break
        step = matrix(along)
        share = size / float(along @ step)
        x += share * along
        left -= share * step
        ahead = left / diagonal
        before, size = size, float(left @ ahead)
        along = ahead + size / before * along
    return x

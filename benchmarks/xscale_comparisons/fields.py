"""Encodings that the surface's hash grid is compared with: other places for features, one shader.

The published comparison (XScale-NVS, CVPR 2024): features at the mesh's vertices, in a texture, and
in the volume around the surface. Each has as many numbers as the hash grid of the same settings.
For comparisons only: plain PyTorch, slow steps, and none of them is tuned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xscale.errors import SetupError
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.model.box import Box
from xscale.model.field import Field, grid_layout_of
from xscale.model.settings import GridSettings
from xscale.render.uncertainty import corner_weights

_MOST_CHANNELS = 64
_TEXTURE_LEVELS = 4
_TEXTURE_CHANNELS = 16
_PAGE = 4096
"""Edge of the page on which charts are laid out; the texture's own size follows the budget."""
_GROUP = 4000
"""Faces that are cut into charts together; xatlas takes more than proportionally long for more."""
_RAY_SAMPLES = 4
_RAY_REACH = 0.005
"""Half the length of ray that a pixel's samples cover, in sides of the grid's box."""


class VertexField:
    """Features at the mesh's vertices, interpolated inside faces.

    Args:
        settings: Grid settings whose table's size is the budget.
        surface: The mesh.
        generator: Source of the initial values.
        **_: What other encodings take: box, device, frozen.
    """

    def __init__(
        self,
        settings: GridSettings,
        *,
        surface: Surface,
        generator: torch.Generator | None,
        **_: object,
    ) -> None:
        self._surface = surface
        vertices = len(surface.vertices)
        # The shader takes multiples of 4.
        channels = min(4 * max(round(budget(settings) / vertices / 4), 1), _MOST_CHANNELS)
        self.table = _started(settings, (vertices, channels), surface, generator)

    @property
    def channels(self) -> int:
        """Features a point has."""
        return self.table.shape[1]

    def fixed(self) -> dict[str, Tensor]:
        """Name the tensors that are kept with the table and never change: none."""
        return {}

    def begin(self, say: Callable[[str], None]) -> None:
        """Prepare for the first step: nothing."""

    def features(self, samples: GBuffer) -> Tensor:
        """Return features [N, channels] of surface points."""
        rows, weights = self._corners(samples)
        return sum(w[:, None] * self.table[r].float() for r, w in zip(rows, weights, strict=True))

    def backward(
        self, grad_features: Tensor, samples: GBuffer, grad_table: Tensor, touched: Tensor
    ) -> None:
        """Add the table's gradient to ``grad_table`` and mark the rows hit in ``touched``."""
        rows, weights = self._corners(samples)
        for row, weight in zip(rows, weights, strict=True):
            grad_table.index_add_(0, row, weight[:, None] * grad_features)
        _mark(touched, torch.cat(rows), len(self.table))

    def _corners(self, samples: GBuffer) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the three vertices [N] of each point's face, and their weights [N]."""
        rows, weights = corner_weights(self._surface, samples.face_id, samples.position)
        return rows.unbind(1), weights.unbind(1)


class TextureField:
    """Features in a texture over charts of the mesh, at four sizes, each half the one before.

    Args:
        settings: Grid settings whose table's size is the budget.
        surface: The mesh.
        generator: Source of the initial values.
        **_: What other encodings take: box, device, frozen.
    """

    def __init__(
        self,
        settings: GridSettings,
        *,
        surface: Surface,
        generator: torch.Generator | None,
        **_: object,
    ) -> None:
        self._surface = surface
        shares = sum(0.25**level for level in range(_TEXTURE_LEVELS))
        edge = math.sqrt(budget(settings) / _TEXTURE_CHANNELS / shares)
        self._edges = [max(2, round(edge / 2**level)) for level in range(_TEXTURE_LEVELS)]
        rows = sum(edge**2 for edge in self._edges)
        self.table = _started(settings, (rows, _TEXTURE_CHANNELS), surface, generator)
        self._corner_uv = torch.zeros(len(surface.faces), 3, 2, device=surface.faces.device)

    @property
    def channels(self) -> int:
        """Features a point has."""
        return _TEXTURE_LEVELS * _TEXTURE_CHANNELS

    def fixed(self) -> dict[str, Tensor]:
        """Name the tensors that are kept with the table and never change: the charts."""
        return {"field.corner_uv": self._corner_uv}

    def begin(self, say: Callable[[str], None]) -> None:
        """Lay the mesh's charts out, before the first step; a checkpoint brings them along.

        Raises:
            SetupError: xatlas is not installed.
        """
        say("laying out charts")
        self._corner_uv.copy_(torch.from_numpy(chart(self._surface)))

    def features(self, samples: GBuffer) -> Tensor:
        """Return features [N, channels] of surface points."""
        found = []
        for rows, weights in self._texels(samples):
            parts = zip(rows, weights, strict=True)
            found.append(sum(w[:, None] * self.table[r].float() for r, w in parts))
        return torch.cat(found, 1)

    def backward(
        self, grad_features: Tensor, samples: GBuffer, grad_table: Tensor, touched: Tensor
    ) -> None:
        """Add the table's gradient to ``grad_table`` and mark the rows hit in ``touched``."""
        parts = grad_features.split(_TEXTURE_CHANNELS, 1)
        for (rows, weights), grad in zip(self._texels(samples), parts, strict=True):
            for row, weight in zip(rows, weights, strict=True):
                grad_table.index_add_(0, row, weight[:, None] * grad)
            _mark(touched, torch.cat(rows), len(self.table))

    def _texels(self, samples: GBuffer) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Return for each size the four texels [N] around each point, and their weights [N]."""
        corners = self._corner_uv[samples.face_id.long()]
        _, weights = corner_weights(self._surface, samples.face_id, samples.position)
        uv = (weights[:, :, None] * corners).sum(1)
        levels, first = [], 0
        for edge in self._edges:
            at = (uv * edge - 0.5).clamp(0, edge - 1)
            low = at.floor().clamp(max=edge - 2)
            (u, v), (left, top) = (at - low).unbind(1), low.long().unbind(1)
            row = first + top * edge + left
            rows = [row, row + 1, row + edge, row + edge + 1]
            levels.append((rows, [(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v]))
            first += edge**2
        return levels


class VolumeField(Field):
    """The hash grid looked up at several points of the ray around the surface, composited.

    A point's first feature gives its density; the features are summed by the light that reaches
    them, as volume rendering sums colours, and normalised: nothing lies behind the surface.

    Args:
        settings: As for ``Field``.
        box: As for ``Field``.
        device: As for ``Field``.
        generator: As for ``Field``.
        frozen: As for ``Field``.
        **_: What other encodings take: the mesh.
    """

    def __init__(
        self,
        settings: GridSettings,
        *,
        box: Box,
        device: torch.device,
        generator: torch.Generator | None,
        frozen: bool,
        **_: object,
    ) -> None:
        super().__init__(settings, box, device, generator, frozen)

    def features(self, samples: GBuffer) -> Tensor:
        """Return features [N, channels] of surface points."""
        return _composited(self._looked_up(samples))

    def backward(
        self, grad_features: Tensor, samples: GBuffer, grad_table: Tensor, touched: Tensor
    ) -> None:
        """Add the table's gradient to ``grad_table`` and mark the rows hit in ``touched``."""
        with torch.enable_grad():
            features = self._looked_up(samples).requires_grad_()
            (grad,) = torch.autograd.grad(_composited(features), features, grad_features)
        points = self._points(samples)
        super().backward(grad.reshape(-1, self.channels), points, grad_table, touched)

    def _looked_up(self, samples: GBuffer) -> Tensor:
        """Return features [N, samples, channels], near to far."""
        found = super().features(self._points(samples))
        return found.reshape(-1, _RAY_SAMPLES, self.channels)

    def _points(self, samples: GBuffer) -> GBuffer:
        middle = (torch.arange(_RAY_SAMPLES) + 0.5) / _RAY_SAMPLES * 2 - 1
        along = middle.to(samples.position) * _RAY_REACH * max(self.box.extent)
        position = samples.position[:, None] + along[:, None] * samples.direction[:, None]
        return dataclasses.replace(
            samples,
            position=position.reshape(-1, 3).contiguous(),
            footprint=samples.footprint.repeat_interleave(_RAY_SAMPLES),
        )


def budget(settings: GridSettings) -> int:
    """Return the numbers that the hash grid of these settings has."""
    return grid_layout_of(settings).rows * settings.features_per_level


def chart(surface: Surface) -> np.ndarray:
    """Lay the faces out on one page; return their corners' places, float32 [F, 3, 2] in [0, 1].

    Raises:
        SetupError: xatlas is not installed.
    """
    try:
        import xatlas
    except ImportError as error:
        raise SetupError(
            "model.encoding=texture needs xatlas", advice="pip install xscale[export]"
        ) from error
    vertices, faces = surface.vertices.cpu().numpy(), surface.faces.cpu().numpy()
    order = surface.cluster_face_ids.cpu().numpy()
    atlas = xatlas.Atlas()
    groups = [order[first : first + _GROUP] for first in range(0, len(order), _GROUP)]
    for group in groups:
        rows, inverse = np.unique(faces[group], return_inverse=True)
        atlas.add_mesh(vertices[rows], inverse.reshape(-1, 3).astype(np.uint32))
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    pack.resolution = _PAGE
    atlas.generate(charts, pack)
    placed = np.zeros((len(faces), 3, 2), np.float32)
    for number, group in enumerate(groups):
        _, triangles, uv = atlas.get_mesh(number)
        placed[group] = uv[triangles]
    return placed


def _started(
    settings: GridSettings,
    shape: tuple[int, int],
    surface: Surface,
    generator: torch.Generator | None,
) -> Tensor:
    table = torch.zeros(shape)
    table.uniform_(-settings.initial_range, settings.initial_range, generator=generator)
    return table.to(surface.vertices.device)


def _composited(features: Tensor) -> Tensor:
    """Return features [N, channels] of [N, samples, channels], near to far."""
    passed = torch.exp(-torch.nn.functional.softplus(features[:, :, :1]))
    before = torch.cumprod(torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], 1), 1)
    weight = before * (1 - passed)
    return (weight / weight.sum(1, keepdim=True) * features).sum(1)


def _mark(touched: Tensor, rows: Tensor, count: int) -> None:
    """Set the bits of rows; bit r lies in byte r / 8."""
    hit = torch.zeros(-(-count // 8) * 8, dtype=torch.uint8, device=touched.device)
    hit[rows] = 1
    powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=hit.device)
    touched |= (hit.reshape(-1, 8) * powers).sum(1).to(torch.uint8)

"""The hash grid of ``encode``: its layout, and what the op computes in plain PyTorch."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale.errors import ShapeError

MAX_LEVELS = 32
WIDTHS = (1, 2, 4, 8)
FADED = 1 / 256
"""Below this weight a level counts as faded out: exactly zero, not looked up."""

_PRIMES = (1, 2654435761, 805459861)
_ERF = (0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638)


@dataclass(frozen=True)
class GridLayout:
    """Where the rows of each level lie in the table, and how fine the level is."""

    features_per_level: int
    """Numbers a row holds: 1, 2, 4 or 8."""
    offsets: tuple[int, ...]
    """First row of each level and the number of all rows; multiples of 8, so that no byte of a bit
    set over rows belongs to two levels."""
    resolutions: tuple[int, ...]
    """Vertices per axis."""
    scales: tuple[float, ...]
    """Cells per unit length; a cell of level l is 1 / scales[l] long."""

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.scales)

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return self.offsets[-1]

    @property
    def dense(self) -> tuple[bool, ...]:
        """Whether a level has a row for every vertex; the others share rows by hash."""
        return tuple(
            resolution**3 <= end - begin
            for resolution, begin, end in zip(
                self.resolutions, self.offsets[:-1], self.offsets[1:], strict=True
            )
        )


def grid_layout(
    levels: int,
    features_per_level: int,
    log2_table_size: int,
    base_resolution: int,
    per_level_scale: float,
) -> GridLayout:
    """Return the layout that tiny-cuda-nn gives a "HashGrid" with these settings.

    Level l has scale exp2(l * log2(per_level_scale)) * base_resolution - 1 cells per unit length,
    every step rounded to float32 as there; ceil(scale) + 1 vertices per axis; and as many rows as
    it has vertices, rounded up to a multiple of 8, at most 2^log2_table_size.

    Args:
        levels: Number of levels, 1 to 32.
        features_per_level: Numbers a row holds: 1, 2, 4 or 8.
        log2_table_size: Largest number of rows a level may have, as a power of two: 3 to 30.
        base_resolution: Vertices per axis of the coarsest level.
        per_level_scale: How much finer each level is than the one before.

    Raises:
        ShapeError: A setting is outside its range, or a level would need more than 2^24 vertices
            per axis (float32 positions could not tell its cells apart).
    """
    for name, value, low, high in (
        ("levels", levels, 1, MAX_LEVELS),
        ("log2_table_size", log2_table_size, 3, 30),
        ("base_resolution", base_resolution, 1, 2**20),
        ("per_level_scale", per_level_scale, 1.0, 1024.0),
    ):
        if not low <= value <= high:
            raise ShapeError(f"grid_layout: {name} must be {low} to {high}, got {value}")
    if features_per_level not in WIDTHS:
        raise ShapeError(
            f"grid_layout: features_per_level must be one of {WIDTHS}, got {features_per_level}"
        )
    log2_scale = _float32(math.log2(_float32(per_level_scale)))
    offsets, resolutions, scales = [0], [], []
    for level in range(levels):
        growth = _float32(2.0 ** _float32(level * log2_scale))
        scale = _float32(_float32(growth * base_resolution) - 1.0)
        resolution = math.ceil(scale) + 1
        if resolution > 2**24:
            raise ShapeError(
                f"grid_layout: level {level} has {resolution} vertices per axis, at most 2^24 fit",
                advice="lower levels or per_level_scale",
            )
        rows = min((resolution**3 + 7) // 8 * 8, 2**log2_table_size)
        offsets.append(offsets[-1] + rows)
        resolutions.append(resolution)
        scales.append(scale)
    return GridLayout(features_per_level, tuple(offsets), tuple(resolutions), tuple(scales))


def fade_weights(footprint: Tensor, layout: GridLayout, footprint_scale: float) -> Tensor:
    """Return the weight of every level [N, levels] for points with these footprints [N]."""
    scales = torch.tensor(layout.scales, dtype=footprint.dtype, device=footprint.device)
    cells = (footprint.nan_to_num(0).clamp(min=0) * footprint_scale)[:, None] * scales
    a = math.sqrt(1 / 8) / cells
    series = torch.ones_like(a)
    for power, coefficient in enumerate(_ERF, 1):
        series = series + coefficient * a**power
    weight = 1 - 1 / series**16
    return torch.where(weight < FADED, torch.zeros_like(weight), weight)


def encode_reference(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str,
    footprint: Tensor | None,
    footprint_scale: float,
) -> Tensor:
    """Reference of ``encode`` in plain PyTorch; works in float64 and under autograd."""
    fade = None if footprint is None else fade_weights(footprint, layout, footprint_scale)
    features = []
    for level in range(layout.levels):
        rows, weights = _corners(position, layout, level, interpolation)
        if fade is not None:
            weights = weights * fade[:, level, None]
        features.append((table[rows] * weights[..., None]).sum(dim=1))
    return torch.cat(features, dim=1)


@torch.no_grad()
def encode_backward_reference(
    grad_features: Tensor,
    position: Tensor,
    layout: GridLayout,
    *,
    interpolation: str,
    footprint: Tensor | None,
    footprint_scale: float,
    grad_table: Tensor,
    touched: Tensor | None,
) -> None:
    """Reference of ``encode_backward`` in plain PyTorch; works in float64 too."""
    width = layout.features_per_level
    fade = None if footprint is None else fade_weights(footprint, layout, footprint_scale)
    hit = torch.zeros(layout.rows, dtype=torch.bool, device=position.device)
    for level in range(layout.levels):
        rows, weights = _corners(position, layout, level, interpolation)
        if fade is not None:
            seen = fade[:, level] != 0
            weights = weights * fade[:, level, None]
        else:
            seen = torch.ones(len(position), dtype=torch.bool, device=position.device)
        grad = grad_features[:, None, level * width : (level + 1) * width] * weights[..., None]
        grad_table.index_add_(0, rows[seen].flatten(), grad[seen].flatten(0, 1))
        hit[rows[seen].flatten()] = True
    if touched is not None:
        bits = hit.reshape(-1, 8).to(torch.uint8) << torch.arange(8, device=position.device)
        touched |= bits.sum(dim=1).to(torch.uint8)


def _corners(
    position: Tensor, layout: GridLayout, level: int, interpolation: str
) -> tuple[Tensor, Tensor]:
    """Return the table rows of a cell's corners [N, 8] int64 and their weights [N, 8]."""
    first, end = layout.offsets[level : level + 2]
    resolution = layout.resolutions[level]
    at = position.nan_to_num(0).clamp(0, 1) * layout.scales[level] + 0.5
    cell = at.detach().floor()
    upper = at - cell
    if interpolation == "smoothstep":
        upper = upper * upper * (3 - 2 * upper)
    rows, weights = [], []
    for corner in range(8):
        bits = [corner >> axis & 1 for axis in range(3)]
        vertex = cell.long() + torch.tensor(bits, device=position.device)
        if layout.dense[level]:
            row = vertex[:, 0] + resolution * (vertex[:, 1] + resolution * vertex[:, 2])
        else:
            row = torch.zeros_like(vertex[:, 0])
            for axis, prime in enumerate(_PRIMES):
                row = row ^ (vertex[:, axis] * prime & 0xFFFFFFFF)
        rows.append(first + row % (end - first))
        sides = [upper[:, axis] if bit else 1 - upper[:, axis] for axis, bit in enumerate(bits)]
        weights.append(sides[0] * sides[1] * sides[2])
    return torch.stack(rows, dim=1), torch.stack(weights, dim=1)


def _float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]

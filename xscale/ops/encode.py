"""encode: features of surface points from a multi-resolution hash grid, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference

_PRIMES = (1, 2654435761, 805459861)
_F32 = (torch.float32,)


@dataclass(frozen=True)
class GridLayout:
    """Where each level's rows lie in the table."""

    features_per_level: int
    """Numbers a row (F)."""
    offsets: tuple[int, ...]
    """First row of each level, and the number of rows at the end; multiples of 8."""
    resolutions: tuple[int, ...]
    """Vertices along an axis."""
    scales: tuple[float, ...]
    """Grid position is x * scale + 0.5."""

    @property
    def levels(self) -> int:
        """Number of grids (L)."""
        return len(self.scales)

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return self.offsets[-1]


def grid_layout(
    levels: int,
    features_per_level: int,
    log2_table_size: int,
    base_resolution: int,
    per_level_scale: float,
) -> GridLayout:
    """Lay out a grid by tiny-cuda-nn's rules (method section 2).

    Level l has scale 2^(l log2 s) base - 1, in float32, and ceil(scale) + 1 vertices an axis; it
    has as many rows as vertices, rounded up to a multiple of 8, but at most 2^log2_table_size.
    """
    offsets, resolutions, scales = [0], [], []
    log2_scale = torch.tensor(per_level_scale, dtype=torch.float32).log2()
    for level in range(levels):
        scale = float(torch.exp2(level * log2_scale) * base_resolution - 1)
        resolution = math.ceil(scale) + 1
        rows = min((resolution**3 + 7) // 8 * 8, 1 << log2_table_size)
        scales.append(scale)
        resolutions.append(resolution)
        offsets.append(offsets[-1] + rows)
    return GridLayout(features_per_level, tuple(offsets), tuple(resolutions), tuple(scales))


def _fields(layout: GridLayout) -> dict[str, Tensor]:
    return {
        "offsets": torch.tensor(layout.offsets, dtype=torch.int64),
        "resolution": torch.tensor(layout.resolutions, dtype=torch.int32),
        "scale": torch.tensor(layout.scales, dtype=torch.float32),
    }


def encode(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str = "smoothstep",
    footprint: Tensor | None = None,
    footprint_scale: float = 0.5,
) -> Tensor:
    """Look points up in the grid.

    Args:
        position: Float32 [N, 3] in the unit box. Points outside fall into cells outside, whose
            rows wrap around.
        table: Float32 [rows, F].
        layout: Where each level's rows lie.
        interpolation: "linear", or "smoothstep" (3t^2 - 2t^3 along each axis).
        footprint: Float32 [N], size of the pixel on the surface in box lengths; levels whose cells
            are finer fade by erf(1 / sqrt(8 (footprint k scale)^2)) and are exactly zero below
            1/256. None: no fading.
        footprint_scale: The k of that weight.

    Returns:
        Float32 [N, levels * F].

    Raises:
        ShapeError: An argument has another shape, dtype or device.

    Source: Müller et al. 2022; tiny-cuda-nn's definition.
    """
    check_tensor("encode", "position", position, ("points", 3), _F32)
    shape = (layout.rows, layout.features_per_level)
    check_tensor("encode", "table", table, shape, _F32, position.device)
    n = len(position)
    if footprint is not None:
        check_tensor("encode", "footprint", footprint, (n,), _F32, position.device)
    if use_reference("encode", position.device):
        return encode_reference(position, table, layout, interpolation, footprint, footprint_scale)
    out = torch.empty(n, layout.levels * layout.features_per_level, dtype=torch.float32)
    _ext.call(
        "encode", position.device, position=position, table=table, footprint=footprint,
        footprint_scale=footprint_scale, levels=layout.levels,
        features=layout.features_per_level, smoothstep=interpolation == "smoothstep", n=n,
        out=out, grad_out=None, grad_table=None, touched=None, **_fields(layout),
    )  # fmt: skip
    return out


def encode_backward(
    grad_features: Tensor,
    position: Tensor,
    layout: GridLayout,
    *,
    interpolation: str = "smoothstep",
    footprint: Tensor | None = None,
    footprint_scale: float = 0.5,
    grad_table: Tensor,
    touched: Tensor | None = None,
) -> None:
    """Add the table's gradient to ``grad_table`` [rows, F]; set the bits of the rows hit.

    ``grad_features`` is float32 [N, levels * F]; the other arguments are those of ``encode``.
    """
    n, width = len(position), layout.levels * layout.features_per_level
    check_tensor("encode_backward", "position", position, ("points", 3), _F32)
    device = position.device
    check_tensor("encode_backward", "grad_features", grad_features, (n, width), _F32, device)
    shape = (layout.rows, layout.features_per_level)
    check_tensor("encode_backward", "grad_table", grad_table, shape, _F32, device)
    if touched is not None:
        bits = (layout.rows + 7) // 8
        check_tensor("encode_backward", "touched", touched, (bits,), (torch.uint8,), device)
    if use_reference("encode", device):
        table = torch.zeros_like(grad_table).requires_grad_()
        with torch.enable_grad():
            features = encode_reference(
                position, table, layout, interpolation, footprint, footprint_scale
            )
            (grad,) = torch.autograd.grad(features, table, grad_features)
        grad_table += grad
        if touched is not None:
            touched.fill_(255)
        return
    _ext.call(
        "encode_backward", device, position=position, table=None, footprint=footprint,
        footprint_scale=footprint_scale, levels=layout.levels,
        features=layout.features_per_level, smoothstep=interpolation == "smoothstep", n=n,
        out=None, grad_out=grad_features, grad_table=grad_table, touched=touched,
        **_fields(layout),
    )  # fmt: skip


def encode_reference(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    interpolation: str,
    footprint: Tensor | None,
    footprint_scale: float,
) -> Tensor:
    """What ``encode`` computes, in plain PyTorch; differentiable in position and table."""
    levels = []
    for level in range(layout.levels):
        scale, resolution = layout.scales[level], layout.resolutions[level]
        first, rows = layout.offsets[level], layout.offsets[level + 1] - layout.offsets[level]
        x = position * scale + 0.5
        low = x.detach().floor()
        w = x - low
        if interpolation == "smoothstep":
            w = w * w * (3 - 2 * w)
        dense = resolution**3 <= rows
        strides = (1, resolution, resolution**2) if dense else _PRIMES
        total = 0.0
        for corner in range(8):
            bits = [corner >> axis & 1 for axis in range(3)]
            parts = [
                ((low[:, axis].long() + bits[axis]) * strides[axis]) & 0xFFFFFFFF
                for axis in range(3)
            ]
            index = (
                (parts[0] + parts[1] + parts[2]) & 0xFFFFFFFF
                if dense
                else parts[0] ^ parts[1] ^ parts[2]
            )
            weight = 1.0
            for axis in range(3):
                weight = weight * (w[:, axis] if bits[axis] else 1 - w[:, axis])
            total = total + weight[:, None] * table[first + index % rows]
        if footprint is not None:
            ratio = (footprint * footprint_scale * scale).clamp(min=1e-6)
            fade = torch.special.erf(0.5 / (math.sqrt(2) * ratio))
            total = total * torch.where(fade < 1 / 256, 0, fade)[:, None]
        levels.append(total)
    return torch.cat(levels, 1)

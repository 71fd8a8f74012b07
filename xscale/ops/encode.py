"""encode: features of points from a multiresolution hash grid, and its gradients.

The grid is tiny-cuda-nn's (Müller et al., "Instant neural graphics primitives with a
multiresolution hash encoding", 2022): same cells, rows, offsets and hash, so tables can be
exchanged. On top of it, levels finer than a point's footprint fade out (as in Zip-NeRF, Barron et
al. 2023) and are not looked up at all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from xscale.errors import ShapeError
from xscale.ops import _ext, _peers
from xscale.ops._check import check_rows, check_tensor, whole_rows
from xscale.ops._dispatch import call, registered, use_reference
from xscale.ops._grid import (
    GridLayout,
    encode_backward_reference,
    encode_reference,
    grid_layout,
)
from xscale.ops._memory import whole_words

__all__ = ["GridLayout", "encode", "encode_backward", "encode_backward_position", "grid_layout"]

INTERPOLATIONS = ("smoothstep", "linear")


def encode(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str = "smoothstep",
    footprint: Tensor | None = None,
    footprint_scale: float = 0.5,
) -> Tensor:
    """Return the features of points: at every level, the interpolated rows of the point's cell.

    A point at x lies at x * scale + 0.5 in a level's grid. Positions outside the unit cube count
    as the nearest point of it (a vertex of a mesh may round to just above 1), NaN as 0.

    With ``footprint``, level l is multiplied by erf(1 / sqrt(8 (s * footprint_scale * scale_l)^2))
    for a footprint s; below 1/256 it is exactly zero and costs nothing. The error function is
    Abramowitz and Stegun's formula 7.1.28, within 1e-6 in float32.

    Differentiable once by ``table`` (float32) and ``position``, not by ``footprint``.

    Args:
        position: Float32 [N, 3] in the unit cube.
        table: Float32 or float16 [layout.rows, F], the rows of all levels; sums are float32.
        layout: See ``grid_layout``.
        interpolation: "smoothstep" (a cell's weights are t^2 (3 - 2 t) per axis) or "linear".
        footprint: Float32 [N], length of what a point stands for, in unit-cube lengths.
        footprint_scale: Factor of the footprint.

    Returns:
        Float32 [N, levels * F], coarsest level first.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    _check_points("encode", position, layout, interpolation, footprint)
    check_tensor(
        "encode", "table", table, (layout.rows, layout.features_per_level),
        (torch.float32, torch.float16), position.device,
    )  # fmt: skip
    check_rows("encode", "table", table)
    theirs = _peers.plugin("encoding")
    if theirs is not None:
        return theirs.encode(
            position, table, layout, interpolation=interpolation, footprint=footprint,
            footprint_scale=footprint_scale,
        )  # fmt: skip
    if use_reference("encode", position.device):
        return encode_reference(
            position, table.float(), layout, interpolation=interpolation, footprint=footprint,
            footprint_scale=footprint_scale,
        )  # fmt: skip
    return call(
        _encode, position, table, footprint,
        lookup_name(Lookup(layout, interpolation, footprint_scale)),
    )  # fmt: skip


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
    """Add the gradient of ``encode`` by its table to ``grad_table``, outside autograd.

    On the CPU the sums are in the order of the points, whatever the number of threads.

    Args:
        grad_features: Float32 [N, levels * F].
        position: Float32 [N, 3], as given to ``encode``.
        layout: As given to ``encode``.
        interpolation: As given to ``encode``.
        footprint: As given to ``encode``.
        footprint_scale: As given to ``encode``.
        grad_table: Float32 [layout.rows, F], added to; may be columns of a wider array.
        touched: Uint8 [layout.rows / 8]; bit r is set where row r was added to, other bits stay.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    op = "encode_backward"
    _check_points(op, position, layout, interpolation, footprint)
    _check_gradient(op, grad_features, position, layout)
    check_rows(op, "grad_features", grad_features)
    shape = (layout.rows, layout.features_per_level)
    check_tensor(
        op, "grad_table", grad_table, shape, (torch.float32,), position.device, rows_apart=True
    )
    if touched is not None:
        size = (layout.rows // 8,)
        check_tensor(op, "touched", touched, size, (torch.uint8,), position.device)
    theirs = _peers.plugin("encoding")
    if theirs is not None:
        theirs.encode_backward(
            grad_features, position, layout, interpolation=interpolation, footprint=footprint,
            footprint_scale=footprint_scale, grad_table=grad_table, touched=touched,
        )  # fmt: skip
        return
    if use_reference("encode", position.device):
        encode_backward_reference(
            grad_features, position, layout, interpolation=interpolation, footprint=footprint,
            footprint_scale=footprint_scale, grad_table=grad_table, touched=touched,
        )  # fmt: skip
        return
    with whole_words(touched) as words:
        _call(
            op, position, footprint, Lookup(layout, interpolation, footprint_scale),
            grad_features=grad_features, grad_table=grad_table, touched=words,
        )  # fmt: skip


def encode_backward_position(
    grad_features: Tensor,
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str = "smoothstep",
    footprint: Tensor | None = None,
    footprint_scale: float = 0.5,
) -> Tensor:
    """Return the gradient of ``encode`` by its position, float32 [N, 3], outside autograd.

    It is zero along the axes where a position is outside the unit cube. Arguments and errors are
    those of ``encode`` and ``encode_backward``.
    """
    op = "encode_backward_position"
    _check_points(op, position, layout, interpolation, footprint)
    _check_gradient(op, grad_features, position, layout)
    shape = (layout.rows, layout.features_per_level)
    check_tensor(op, "table", table, shape, (torch.float32, torch.float16), position.device)
    if use_reference("encode", position.device):
        with torch.enable_grad():
            at = position.detach().requires_grad_()
            features = encode_reference(
                at, table.detach().float(), layout, interpolation=interpolation,
                footprint=footprint, footprint_scale=footprint_scale,
            )  # fmt: skip
            return torch.autograd.grad(features, at, grad_features)[0]
    return call(
        _encode_position_gradient, grad_features, position, table, footprint,
        lookup_name(Lookup(layout, interpolation, footprint_scale)),
    )  # fmt: skip


class Lookup(NamedTuple):
    """How a hash grid is looked up."""

    layout: GridLayout
    interpolation: str
    footprint_scale: float


_LOOKUPS: dict[str, Lookup] = {}


@lru_cache(maxsize=256)
def lookup_name(lookup: Lookup) -> str:
    """Return a name for a look-up: PyTorch's registered ops take no objects, but text."""
    name = repr(lookup)
    _LOOKUPS[name] = lookup
    return name


@registered("xscale::encode")
def _encode(position: Tensor, table: Tensor, footprint: Tensor | None, lookup: str) -> Tensor:
    layout = _LOOKUPS[lookup].layout
    features = position.new_empty(len(position), layout.levels * layout.features_per_level)
    _call("encode", position, footprint, _LOOKUPS[lookup], table=table, features=features)
    return features


@_encode.register_fake
def _(position: Tensor, table: Tensor, footprint: Tensor | None, lookup: str) -> Tensor:
    layout = _LOOKUPS[lookup].layout
    return position.new_empty(position.shape[0], layout.levels * layout.features_per_level)


@registered("xscale::encode_table_gradient")
def _encode_table_gradient(
    grad_features: Tensor, position: Tensor, footprint: Tensor | None, lookup: str
) -> Tensor:
    layout = _LOOKUPS[lookup].layout
    grad_table = position.new_zeros(layout.rows, layout.features_per_level)
    _call(
        "encode_backward", position, footprint, _LOOKUPS[lookup], grad_features=grad_features,
        grad_table=grad_table,
    )  # fmt: skip
    return grad_table


@_encode_table_gradient.register_fake
def _(grad_features: Tensor, position: Tensor, footprint: Tensor | None, lookup: str) -> Tensor:
    layout = _LOOKUPS[lookup].layout
    return position.new_empty(layout.rows, layout.features_per_level)


@registered("xscale::encode_position_gradient")
def _encode_position_gradient(
    grad_features: Tensor, position: Tensor, table: Tensor, footprint: Tensor | None, lookup: str
) -> Tensor:
    grad_position = torch.empty_like(position)
    _call(
        "encode_backward_position", position, footprint, _LOOKUPS[lookup], table=table,
        grad_features=grad_features, grad_position=grad_position,
    )  # fmt: skip
    return grad_position


@_encode_position_gradient.register_fake
def _(
    grad_features: Tensor, position: Tensor, table: Tensor, footprint: Tensor | None, lookup: str
) -> Tensor:
    return torch.empty_like(position)


def _save_inputs(ctx: object, inputs: tuple, output: Tensor) -> None:
    position, table, footprint, ctx.lookup = inputs
    ctx.save_for_backward(position, table, footprint)


def _gradients(ctx: object, grad_features: Tensor) -> tuple[Tensor | None, ...]:
    position, table, footprint = ctx.saved_tensors
    grad_features = whole_rows("encode_backward", grad_features)
    by_position = by_table = None
    if ctx.needs_input_grad[0]:
        by_position = _encode_position_gradient(
            grad_features, position, table, footprint, ctx.lookup
        )
    if ctx.needs_input_grad[1]:
        by_table = _encode_table_gradient(grad_features, position, footprint, ctx.lookup)
        by_table = by_table.to(table.dtype)
    return by_position, by_table, None, None


_encode.register_autograd(_gradients, setup_context=_save_inputs)


def _call(
    kernel: str, position: Tensor, footprint: Tensor | None, lookup: Lookup, **fields: object
) -> None:
    _ext.call(
        kernel, position.device, **encode_fields(position, footprint, lookup, **fields)
    )  # fmt: skip


def encode_fields(
    position: Tensor,
    footprint: Tensor | None,
    lookup: Lookup,
    *,
    table: Tensor | None = None,
    features: Tensor | None = None,
    grad_features: Tensor | None = None,
    grad_table: Tensor | None = None,
    touched: Tensor | None = None,
    grad_position: Tensor | None = None,
) -> dict[str, object]:
    """Return the fields of EncodeArgs."""
    return {
        "grid": grid_fields(lookup, table), "position": position, "footprint": footprint,
        "features": features, "grad_features": grad_features, "grad_table": grad_table,
        "grad_stride": 0 if grad_table is None else grad_table.stride(0), "touched": touched,
        "grad_position": grad_position, "points": len(position),
    }  # fmt: skip


def grid_fields(lookup: Lookup, table: Tensor | None) -> dict[str, object]:
    """Return the fields of GridArgs, for ``encode`` and for ops that look a grid up themselves."""
    half = table is not None and table.dtype == torch.float16
    layout = lookup.layout
    offsets, resolutions, scales = _level_tensors(layout)
    return {
        "table": None if half else table, "table_half": table if half else None,
        "offsets": offsets, "resolutions": resolutions, "scales": scales,
        "levels": layout.levels, "width": layout.features_per_level,
        "smoothstep": lookup.interpolation == "smoothstep",
        "footprint_scale": lookup.footprint_scale,
    }  # fmt: skip


@lru_cache(maxsize=64)
def _level_tensors(layout: GridLayout) -> tuple[Tensor, Tensor, Tensor]:
    """Return the levels' numbers in host memory, as the bodies read them."""
    return (
        torch.tensor(layout.offsets, dtype=torch.int64),
        torch.tensor(layout.resolutions, dtype=torch.int64),
        torch.tensor(layout.scales, dtype=torch.float32),
    )


def _check_points(
    op: str, position: Tensor, layout: GridLayout, interpolation: str, footprint: Tensor | None
) -> None:
    check_tensor(op, "position", position, ("points", 3), (torch.float32,))
    if footprint is not None:
        size = (len(position),)
        check_tensor(op, "footprint", footprint, size, (torch.float32,), position.device)
    if interpolation not in INTERPOLATIONS:
        names = " or ".join(repr(name) for name in INTERPOLATIONS)
        raise ShapeError(f"{op}: interpolation must be {names}, got {interpolation!r}")


def _check_gradient(op: str, grad_features: Tensor, position: Tensor, layout: GridLayout) -> None:
    shape = (len(position), layout.levels * layout.features_per_level)
    check_tensor(op, "grad_features", grad_features, shape, (torch.float32,), position.device)

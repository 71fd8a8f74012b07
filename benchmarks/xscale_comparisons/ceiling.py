"""Ceilings for the benchmarks: the same bytes or the same arithmetic as an op, and nothing else.

They are kernels built like the ops (benchmarks/ceiling, a compiled module of their own) with the
same threads, so that a row of the bench can say which share of what this machine gives its op
takes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xscale.ops import FrameGrid, FrameShader, _ext
from xscale.ops.encode import Lookup, encode_fields
from xscale_comparisons import _ceiling


def gather(position: Tensor, grid: FrameGrid) -> None:
    """Read every row that ``encode`` reads at ``position`` [N, 3], by the same indices.

    Rows are fetched ahead as there; nothing is summed and nothing written.
    """
    lookup = Lookup(grid.layout, grid.interpolation, grid.footprint_scale)
    fields = encode_fields(position, None, lookup, table=grid.table, features=torch.empty(1))
    _run("ceiling_gather", position.device, **fields)


KINDS = ("read", "add", "add scalar", "add half", "least", "least tested")


def rows(
    table: Tensor,
    visits: int,
    kind: str = "read",
    *,
    together: int = 8,
    collisions: int = 1,
    in_order: bool = False,
) -> None:
    """Read rows of ``table`` [N, 1, 2, 4 or 8], float32 on a GPU, at random, or add zeros to them.

    Args:
        table: The rows.
        visits: Rows visited, rounded down to a multiple of 8.
        kind: "read"; "add" in the widest atomics that the device has, "add scalar" in single
            floats, "add half" with every word a pair of half floats; "least", the minimum of
            64-bit words, or "least tested" after a plain read (rows of two words).
        together: Reads that a thread has under way at once: 1, 2, 4 or 8.
        collisions: Neighbouring threads that visit the same row.
        in_order: Whether rows are visited one after the other instead.
    """
    _run(
        "ceiling_rows", table.device, table=table, rows=len(table), words=table.shape[1],
        visits=visits, kind=KINDS.index(kind), together=together, collisions=collisions,
        in_order=in_order, sink=torch.empty(1, device=table.device),
    )  # fmt: skip


def stream(data: Tensor) -> None:
    """Read and write every number of ``data``, float32, once."""
    _run(
        "ceiling_stream", data.device, data=data, floats=data.numel(), products=0, bfloat16=False,
        sink=torch.empty(1, dtype=torch.float64),
    )  # fmt: skip


def multiply(products: int, *, bfloat16: bool = True) -> None:
    """Make that many multiply-adds on registers, of bfloat16 pairs where allowed and known."""
    sink = torch.empty(1, dtype=torch.float64)
    _run(
        "ceiling_multiply", sink.device, data=None, floats=0, products=products, bfloat16=bfloat16,
        sink=sink,
    )  # fmt: skip


def products(shader: FrameShader) -> int:
    """Return the multiply-adds of a shader for one ray."""
    return sum(math.prod(shape) for shape in shader.layout.shapes.values() if len(shape) == 2)


def frame(position: Tensor, grid: FrameGrid, shader: FrameShader) -> None:
    """Read the rows and make the products that ``fused_frame`` needs for these points."""
    gather(position, grid)
    multiply(len(position) * products(shader))


def _run(row: str, device: torch.device, **fields: object) -> None:
    _ext.call_in(_ceiling, row, device.type, device, **fields)

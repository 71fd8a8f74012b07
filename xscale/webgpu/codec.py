"""Compact forms of a run for pages: the table in fewer bits, the mesh in small differences."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xscale.ops import FrameGrid, GridLayout
from xscale.webgpu.layout import Table, plain_table

TableKind = Literal["8bit", "6bit", "f16"]
TABLE_KINDS: tuple[TableKind, ...] = ("8bit", "6bit", "f16")
_RANGE = {"8bit": 127, "6bit": 31}
"""Largest whole number that stands for a value."""
_COARSEST = {"8bit": 6.5, "6bit": 4.0}
"""Standard deviation of a level's channel in steps, at most: finer steps cost bytes and change no
byte of a picture."""
_CLIPPED = {"8bit": 1.0, "6bit": 0.9999}
"""Share of the values that lie within the range; the others are held at its end."""
_SPREAD = 1 << 20
"""Values that a quantile is taken of."""
_CELLS = 16
"""Steps of a vertex's position in a cell of the finest level."""
_FEWEST_BITS, _MOST_BITS = 16, 24
_ILLEGAL = (0, 13, 60)
"""Characters that HTML would change or end a script at: NUL, carriage return, "<"."""


def quantised(grid: FrameGrid, kind: TableKind) -> Table:
    """Return a grid's table in bytes, with a step a level and channel, or as float16.

    Raises:
        NumericsError: A number is NaN or infinite.
    """
    plain = plain_table(grid)
    if kind == "f16":
        largest = float(np.finfo(np.float16).max)
        return Table("float16", plain.data.clip(-largest, largest).astype(np.float16), plain.steps)
    layout = grid.layout
    data = np.empty(plain.data.shape, np.int8)
    steps = np.empty((layout.levels, data.shape[1]), np.float32)
    for level in range(layout.levels):
        rows = slice(*layout.offsets[level : level + 2])
        values = plain.data[rows].astype(np.float32)
        step = _step(values, kind)
        whole = np.rint(values / step)
        data[rows] = whole.clip(-_RANGE[kind], _RANGE[kind])
        steps[level] = step * 127  # WGSL's unpack4x8snorm divides by it
    return Table("snorm8", data, steps)


def _step(values: np.ndarray, kind: TableKind) -> np.ndarray:
    size = np.abs(values)
    if _CLIPPED[kind] < 1:
        some = size[:: max(1, len(size) // _SPREAD)]
        largest = np.quantile(some, _CLIPPED[kind], axis=0)
    else:
        largest = size.max(0)
    return np.maximum(np.maximum(largest / _RANGE[kind], values.std(0) / _COARSEST[kind]), 1e-12)


@dataclass(frozen=True)
class PackedMesh:
    """A mesh in whole steps, faces in an order that keeps neighbours together."""

    vertices: np.ndarray
    """Float32 [v, 3] as the page will have them."""
    faces: np.ndarray
    """Int32 [f, 3]."""
    low: np.ndarray
    """Float64 [3], position of step 0."""
    step: float
    data: bytes
    """Differences, as ``page/data.js`` reads them: vertices, then corners."""
    hidden: np.ndarray | None = None
    """Uint8 [f], sides that are not surface: 1 the front, 2 the back; None: both of all are."""


def packed_mesh(
    vertices: np.ndarray,
    faces: np.ndarray,
    order: np.ndarray,
    finest: float,
    hidden: np.ndarray | None = None,
) -> PackedMesh:
    """Return a mesh in steps of a sixteenth of the finest cell, or the best that 24 bits allow.

    A coarser step would move points between cells, whose colours have nothing in common.

    Args:
        vertices: Float32 [V, 3].
        faces: Int32 [F, 3].
        order: Int32 [F], faces in the order to keep.
        finest: Cells of the finest level along the mesh's longest side.
        hidden: See ``PackedMesh``, in the order of ``faces``.
    """
    hidden = None if hidden is None or not hidden.any() else hidden[order]
    faces = faces[order]
    used, first = np.unique(faces, return_index=True)
    used = used[np.argsort(first, kind="stable")]  # as the faces meet them
    place = np.empty(len(vertices), np.int64)
    place[used] = np.arange(len(used))
    faces = place[faces]
    points = vertices[used].astype(np.float64)
    low = points.min(0)
    extent = max(float(np.ptp(points, axis=0).max()), 1e-12)
    bits = int(np.clip(np.ceil(np.log2(max(finest, 1) * _CELLS)), _FEWEST_BITS, _MOST_BITS))
    step = extent / (2**bits - 1)
    whole = np.rint((points - low) / step).astype(np.int64)
    moves = np.diff(whole, axis=0, prepend=0)
    zigzag = np.where(moves < 0, -2 * moves - 1, 2 * moves).astype(np.uint32)
    flat = faces.reshape(-1)
    # A corner is told by how far behind the newest vertex it lies; 0 makes the next one.
    newest = np.maximum.accumulate(flat)
    before = np.concatenate([[-1], newest[:-1]])
    behind = (before + 1 - flat).astype(np.uint32)
    data = _planes(zigzag.T.reshape(-1)) + _planes(behind)
    return PackedMesh(
        (whole * step + low).astype(np.float32), faces.astype(np.int32), low, step, data, hidden
    )


def _planes(words: np.ndarray) -> bytes:
    """Return all lowest bytes, then all second ones, and so on: they compress better."""
    return words.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def level_parts(table: Table, layout: GridLayout) -> list[bytes]:
    """Return the table's bytes level by level, coarse ones first."""
    parts = []
    for level in range(layout.levels):
        rows = table.data[slice(*layout.offsets[level : level + 2])]
        parts.append(np.ascontiguousarray(rows).tobytes())
    return parts


def packed(data: bytes) -> bytes:
    """Return data compressed as every browser unpacks it; the same bytes give the same bytes."""
    return gzip.compress(data, 9, mtime=0)


def as_text(data: bytes) -> str:
    """Return bytes as text for a script element: seven bits a character, 17 % more bytes.

    (Base64 takes 33 % more.) ``page/data.js`` undoes it.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % 7)).reshape(-1, 7)
    symbols = np.packbits(bits, axis=1)[:, 0] >> 1
    table = np.arange(128, dtype=np.uint32)
    for number, symbol in enumerate(_ILLEGAL):
        table[symbol] = 256 + number
    return table[symbols].astype("<u4").tobytes().decode("utf-32-le")

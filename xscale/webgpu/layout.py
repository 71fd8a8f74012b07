"""Bytes of a run as the shaders read them: table, network, frame. Pages hold the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xscale.errors import NumericsError, ResourceError
from xscale.ops import FilmShaderLayout, FrameGrid, FrameShader, GridLayout
from xscale.webgpu.source import Number

_FREQUENCY, _OFFSET = 15.0, 30.0
"""A mapped frequency f of the FiLM shader counts as 15 f + 30."""
LEVEL_BYTES = 32
_BYTES = {"float32": 4, "float16": 2, "snorm8": 1}
UNIFORM_LIMIT = 1 << 16
"""Bytes of a uniform buffer that every adapter grants."""


@dataclass(frozen=True)
class Table:
    """A hash grid's numbers, ready for its bindings."""

    number: Number
    data: np.ndarray
    """[rows, width], float32, float16 or int8."""
    steps: np.ndarray
    """Float32 [levels, width]: what 1 (of int8: 127) stands for. It becomes part of the network's
    first matrix."""


def plain_table(grid: FrameGrid) -> Table:
    """Return a grid's own numbers.

    Raises:
        NumericsError: One is NaN or infinite: WGSL does not define what follows from it.
    """
    data = grid.table.detach().cpu().numpy()
    # A sum is finite only where all are; far cheaper than a test of each.
    if not np.isfinite(data.sum(dtype=np.float64)):
        raise NumericsError(
            "the run's table holds NaN or infinite numbers", advice="use --device cpu"
        )
    number: Number = "float16" if data.dtype == np.float16 else "float32"
    return Table(number, data, np.ones((grid.layout.levels, data.shape[1]), np.float32))


def table_groups(layout: GridLayout, number: Number, most_bytes: int, most: int) -> tuple[int, ...]:
    """Return one past the last level of each binding of a table, whole levels in each.

    Args:
        layout: The grid's.
        number: How its numbers are stored.
        most_bytes: Of a binding.
        most: Number of bindings.

    Raises:
        ResourceError: They do not suffice.
    """
    row = layout.features_per_level * _BYTES[number]
    ends: list[int] = []
    begin = 0
    for level in range(layout.levels):
        if (layout.offsets[level + 1] - layout.offsets[begin]) * row > most_bytes and level > begin:
            ends.append(level)
            begin = level
    ends.append(layout.levels)
    starts = (0, *ends[:-1])
    largest = max(layout.offsets[e] - layout.offsets[s] for s, e in zip(starts, ends, strict=True))
    if largest * row > most_bytes or len(ends) > most:
        raise ResourceError(
            f"the run's table of {layout.rows * row / 2**20:.0f} MiB does not fit the adapter's "
            f"{most} bindings of {most_bytes / 2**20:.0f} MiB",
            advice="use --device cpu",
        )
    return tuple(ends)


def group_bytes(table: Table, layout: GridLayout, groups: Sequence[int]) -> list[memoryview]:
    """Return the bytes of each binding."""
    parts = []
    for begin, end in zip((0, *groups[:-1]), groups, strict=True):
        rows = table.data[layout.offsets[begin] : layout.offsets[end]]
        parts.append(memoryview(np.ascontiguousarray(rows)).cast("B"))
    return parts


def level_bytes(layout: GridLayout, groups: Sequence[int]) -> bytes:
    """Return the levels' records; their rows count from the beginning of their binding."""
    records = np.zeros((layout.levels, LEVEL_BYTES // 4), np.uint32)
    begin = 0
    for end in groups:
        for level in range(begin, end):
            first, after = layout.offsets[level : level + 2]
            records[level, :4] = (
                first - layout.offsets[begin],
                after - first,
                layout.resolutions[level],
                layout.dense[level],
            )
        begin = end
    records[:, 4] = np.array(layout.scales, np.float32).view(np.uint32)
    return records.tobytes()


def net_bytes(shader: FrameShader, steps: np.ndarray, half: bool = False) -> bytes:
    """Return the network of a shader, without the levels before it.

    Args:
        shader: Weights, light and one exposure.
        steps: See ``Table``.
        half: Whether matrices are float16.
    """
    parts = {
        name: part.detach().cpu().double().numpy()
        for name, part in shader.layout.unpack(shader.weights).items()
    }
    film = isinstance(shader.layout, FilmShaderLayout)
    vectors, matrices = _film(shader, parts) if film else _relu(shader, parts)
    matrices[0] = _by_inputs(matrices[0] * steps.reshape(-1))
    dtype = "<f2" if half else "<f4"
    return b"".join(
        [np.asarray(v, "<f4").tobytes() for v in vectors]
        + [matrices[0].astype(dtype).tobytes()]
        + [_blocks(m).astype(dtype).tobytes() for m in matrices[1:]]
    )


def _relu(shader: FrameShader, w: dict[str, np.ndarray]) -> tuple[list, list]:
    hidden = shader.layout.hidden
    harmonics = -(-(shader.layout.sh_degree**2) // 4) * 4
    second = np.zeros((hidden, hidden + harmonics))
    second[:, : w["W2"].shape[1]] = w["W2"]
    exposure = np.eye(3, 4) if shader.exposure is None else _numpy(shader.exposure).reshape(3, 4)
    return [w["b1"], w["b2"], _four(w["b3"]), exposure], [w["W1"], second, _four(w["W3"])]


def _film(shader: FrameShader, w: dict[str, np.ndarray]) -> tuple[list, list]:
    hidden = shader.layout.hidden
    frequency1, frequency2, phase1, phase2 = _numpy(shader.light)
    shift, log_scale = np.zeros(hidden), np.zeros(hidden)
    if shader.exposure is not None:
        shift, log_scale = np.split(_numpy(shader.exposure), 2)
    factor = np.repeat([_FREQUENCY, 1.0], 2 * hidden)
    offset = np.repeat([_OFFSET, 0.0], 2 * hidden)
    direction = np.zeros((hidden, 4))
    direction[:, :3] = w["D1"]
    vectors = [
        w["b1"] * frequency1 + phase1, np.exp(log_scale), shift, w["b2"] * frequency2 + phase2,
        w["c1"], w["c2"] * factor + offset, w["e1"], w["e2"], _four(w["b3"]),
    ]  # fmt: skip
    return vectors, [
        w["W1"] * frequency1[:, None], w["W2"] * frequency2[:, None], w["M1"],
        w["M2"] * factor[:, None], direction, w["D2"], _four(w["W3"]),
    ]  # fmt: skip


def _numpy(tensor: object) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _four(rows: np.ndarray) -> np.ndarray:
    """Return three rows with a fourth of zeros."""
    return np.concatenate([rows, np.zeros_like(rows[:1])])


def _blocks(matrix: np.ndarray) -> np.ndarray:
    """Return [outputs, inputs] as 4 x 4 blocks by outputs, then inputs, columns first."""
    outputs, inputs = matrix.shape
    blocks = matrix.reshape(outputs // 4, 4, inputs // 4, 4)
    return np.ascontiguousarray(blocks.transpose(0, 2, 3, 1))


def _by_inputs(matrix: np.ndarray) -> np.ndarray:
    """Return the first matrix as blocks by inputs, then outputs, inputs filled up to fours."""
    fill = -matrix.shape[1] % 4
    return np.ascontiguousarray(_blocks(np.pad(matrix, ((0, 0), (0, fill)))).swapaxes(0, 1))

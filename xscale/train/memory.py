"""Whether a training fits into memory: asked before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from xscale.errors import ResourceError
from xscale.model.field import grid_layout_of
from xscale.model.settings import GridSettings


def available_bytes() -> int | None:
    """Return the memory that programs may still take, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def row_numbers(width: int, fused: bool) -> int:
    """Return the numbers that training keeps beside a row of ``width``.

    The chain of single ops keeps a gradient and two moments; ``fused_step`` has no gradient table.
    """
    return 2 * width if fused else 3 * width


def check_memory(grid: GridSettings, fused: bool) -> None:
    """Refuse a table that cannot be trained in the memory that is free.

    Args:
        grid: The grid's settings, finest_resolution set.
        fused: Whether ``fused_step`` trains it.

    Raises:
        ResourceError: Table and what training keeps of its rows need more.
    """
    width = grid.features_per_level
    counts = 2 if fused else 0  # bytes for a row's own count of steps
    need = grid_layout_of(grid).rows * (4 * (width + row_numbers(width, fused)) + counts)
    free = available_bytes()
    if free is not None and need > free:
        raise ResourceError(
            f"the hash grid needs {need / 1e9:.1f} GB to train, {free / 1e9:.1f} GB are free",
            advice=f"--set model.grid.log2_table_size={grid.log2_table_size - 1} needs about half",
        )

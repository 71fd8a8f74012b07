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


def row_numbers(width: int, dense: bool) -> int:
    """Return the numbers that training keeps beside a row of ``width``: gradient and two moments.

    Under the lazy rule its count of steps comes on top, all padded to a power of two.
    """
    return 3 * width if dense else 1 << (3 * width).bit_length()


def check_memory(grid: GridSettings, dense: bool) -> None:
    """Refuse a table that cannot be trained in the memory that is free.

    Args:
        grid: The grid's settings, finest_resolution set.
        dense: Whether the optimizer's rule is the dense one, whose state is not padded.

    Raises:
        ResourceError: Table, gradient and moments together need more.
    """
    width = grid.features_per_level
    need = 4 * grid_layout_of(grid).rows * (width + row_numbers(width, dense))
    free = available_bytes()
    if free is not None and need > free:
        raise ResourceError(
            f"the hash grid needs {need / 1e9:.1f} GB to train, {free / 1e9:.1f} GB are free",
            advice=f"--set model.grid.log2_table_size={grid.log2_table_size - 1} needs about half",
        )

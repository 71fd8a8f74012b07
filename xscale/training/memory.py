"""Whether a training fits into memory: asked before anything is allocated."""

from __future__ import annotations

import torch

from xscale import memory
from xscale.errors import ResourceError
from xscale.model.field import grid_layout_of
from xscale.model.settings import GridSettings
from xscale.training.settings import PoolSettings


def available_bytes(device: torch.device | None = None) -> int | None:
    """Return the memory that programs may still take, or None where the system does not say.

    Args:
        device: A GPU's own memory is asked for; anything else means the machine's.
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return memory.available_bytes()


def row_numbers(width: int, fused: bool) -> int:
    """Return the numbers that training keeps beside a row of ``width``.

    The chain of single ops keeps a gradient and two moments; the CPU's ``fused_step`` has no
    gradient table.
    """
    return 2 * width if fused else 3 * width


def training_bytes(grid: GridSettings, fused: bool, device: torch.device | None = None) -> int:
    """Return what the table and what training keeps of its rows take on a device (the CPU)."""
    fused = fused and (device is None or device.type == "cpu")
    width = grid.features_per_level
    counts = 2 if fused else 0  # bytes for a row's own count of steps
    return grid_layout_of(grid).rows * (4 * (width + row_numbers(width, fused)) + counts)


def check_memory(grid: GridSettings, fused: bool, device: torch.device | None = None) -> None:
    """Refuse a table that cannot be trained in the memory that is free.

    Args:
        grid: The grid's settings, finest_resolution set.
        fused: Whether ``fused_step`` trains it.
        device: Where; the CPU by default.

    Raises:
        ResourceError: Table and what training keeps of its rows need more.
    """
    need = training_bytes(grid, fused, device)
    free = available_bytes(device)
    if free is not None and need > free:
        raise ResourceError(
            f"the hash grid needs {need / 1e9:.1f} GB to train, {free / 1e9:.1f} GB are free",
            advice=f"--set model.grid.log2_table_size={grid.log2_table_size - 1} needs about half",
        )


def pool_device(device: torch.device, settings: PoolSettings) -> torch.device:
    """Return where a pool's tiles lie best: on the GPU where they take half of its free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if settings.budget_mb * 2**20 <= free // 2:
            return device
    return torch.device("cpu")

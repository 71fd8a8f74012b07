"""Memory for tables that are read at random: on huge pages where the system gives them."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

_HUGE_PAGE = 1 << 21


def empty_table(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Tensor:
    """Return an uninitialised tensor; one of many megabytes on the CPU lies on huge pages.

    A row of a large table read at random costs a walk through the page tables beside the row
    itself; pages of 2 MB make that rare. Systems that do not know of them give ordinary memory.

    Args:
        shape: Sizes.
        dtype: Kind of number.
        device: Where it lives.
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if torch.device(device).type != "cpu" or advice is None or size < 2 * _HUGE_PAGE:
        return torch.empty(*shape, dtype=dtype, device=device)
    # Room for the table to begin where a huge page does.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, size + _HUGE_PAGE, flags=private)
    memory.madvise(advice)
    bytes_ = torch.frombuffer(memory, dtype=torch.uint8)
    first = -bytes_.data_ptr() % _HUGE_PAGE
    return bytes_[first : first + size].view(dtype).view(*shape)

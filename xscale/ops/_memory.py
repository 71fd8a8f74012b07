"""Memory for large tables that are read at random: in huge pages where the system gives them."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_HUGE_PAGE = 2 << 20


def table_zeros(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return zeros for rows that are visited at random.

    On the CPU, tables of some megabytes lie in huge pages where the system has them on offer
    (Linux's transparent huge pages, "madvise" or "always"): a row then costs no walk through the
    page tables. Elsewhere these are plain zeros.

    Args:
        shape: Sizes of the tensor.
        dtype: Type of its numbers.
        device: Where it lives.
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    if torch.device(device).type != "cpu" or size < 2 * _HUGE_PAGE or not _on_offer():
        return torch.zeros(*shape, dtype=dtype, device=device)
    area = mmap.mmap(-1, size + _HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE)
    begin = torch.frombuffer(area, dtype=torch.uint8, count=1).data_ptr()
    return torch.frombuffer(area, dtype=dtype, count=count, offset=-begin % _HUGE_PAGE).view(*shape)


def touched_bits(rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Return zero bits for rows, uint8 [ceil(rows / 8)], in memory that is whole words of 32 bits.

    Kernels of a device change words: other bits are copied for them, there and back.
    """
    return table_zeros((-(-rows // 32) * 4,), torch.uint8, device)[: -(-rows // 8)]


@contextlib.contextmanager
def whole_words(touched: Tensor | None) -> Iterator[Tensor | None]:
    """Give touched bits as whole words: the same memory where that holds them, or a copy."""
    if touched is None:
        yield None
        return
    size = -(-len(touched) // 4) * 4
    room = touched.untyped_storage().nbytes() - touched.storage_offset()
    if room >= size and touched.data_ptr() % 4 == 0:
        yield touched.as_strided((size,), (1,))
        return
    copy = touched.new_zeros(size)
    copy[: len(touched)] = touched
    yield copy
    touched.copy_(copy[: len(touched)])


def _on_offer() -> bool:
    return hasattr(mmap, "MADV_HUGEPAGE")

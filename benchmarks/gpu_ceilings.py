"""Ceilings of this GPU: rows read and changed at random, copies, products, sines."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks._timing import Work, device, milliseconds
from xscale_comparisons import ceiling

Row = dict[str, object]
_READ_MB = (8, 24, 48, 96, 134, 700, 1409)
_CHANGED_MB = (8, 134, 1409)
_VISITS = 1 << 25
_SECONDS = 0.1
# Words of a row, and kind; half floats are two to a word.
_CHANGES = {
    "add 4 bytes, scalar": (1, "add"),
    "add 8 bytes, v2": (2, "add"),
    "add 16 bytes, v4": (4, "add"),
    "add 32 bytes, 2 x v4": (8, "add"),
    "add 32 bytes, 8 x scalar": (8, "add scalar"),
    "add 4 bytes, f16x2": (1, "add half"),
    "add 16 bytes, v4.f16x2": (4, "add half"),
    "least of 64 bits": (2, "least"),
    "least of 64 bits, tested": (2, "least tested"),
}


def ceilings() -> Iterator[Row]:
    """Rates of rows read and changed at random, in millions a second."""
    for megabytes in _READ_MB:
        for words in (1, 2, 4, 8):
            table = _table(megabytes, words)
            for together in (8,) if words < 8 else (1, 2, 4, 8):
                name = f"read {4 * words} bytes, {together} under way"
                yield _rows(name, megabytes, lambda t=table, n=together: _read(t, n))
    for megabytes in _CHANGED_MB:
        for name, (words, kind) in _CHANGES.items():
            table = _table(megabytes, words)
            for collisions in (1, 4, 16):
                work = _changing(table, kind, collisions)
                yield _rows(f"{name}, {collisions} to a row", megabytes, work)
    words = torch.zeros(1920 * 1080, 2, device=device())
    for kind in ("least", "least tested"):
        name = f"{kind.replace('least', 'least of 64 bits')}, in order".replace(
            " tested", ", tested"
        )
        work = _changing(words, kind, 1, in_order=True)
        yield _rows(name, words.numel() * 4 >> 20, work)


def _table(megabytes: int, words: int) -> torch.Tensor:
    return torch.zeros(megabytes * 2**20 // (4 * words), words, device=device())


def _read(table: torch.Tensor, together: int) -> None:
    ceiling.rows(table, _VISITS, together=together)


def _changing(table: torch.Tensor, kind: str, collisions: int, *, in_order: bool = False) -> Work:
    return lambda: ceiling.rows(table, _VISITS, kind, collisions=collisions, in_order=in_order)


def _rows(name: str, megabytes: int, work: Work) -> Row:
    times = milliseconds({"ours": work}, seconds=_SECONDS, least=3)
    rate = _VISITS / times["ours"]["median"] / 1e3
    return {**_rate(name, f"{megabytes} MB", rate, "M/s"), "megabytes": megabytes}


def copies() -> Iterator[Row]:
    """Rates of copies, products and sines, in gigabytes, thousands and thousands of millions."""
    data = torch.zeros(1 << 28, device=device())
    sink = torch.empty_like(data)
    times = milliseconds({"ours": lambda: sink.copy_(data)}, seconds=0.5)
    yield _rate("copy", "1 GB, both ways", 8 * len(data) / times["ours"]["median"] / 1e6, "GB/s")
    side = 8192
    a, b = (torch.randn(side, side, device=device(), dtype=torch.float16) for _ in range(2))
    times = milliseconds({"ours": lambda: a @ b}, seconds=0.5)
    yield _rate("products", "float16, a library", side**3 / times["ours"]["median"] / 1e9, "T/s")
    times = milliseconds({"ours": lambda: torch.sin(data, out=sink)}, seconds=0.5)
    yield _rate("sines", "PyTorch", len(data) / times["ours"]["median"] / 1e6, "G/s")


def _rate(name: str, shape: str, rate: float, unit: str) -> Row:
    return {"name": name, "shape": shape, "rate": rate, "unit": unit}

"""Photo decoding on a GPU's machine: all its cores, against Pillow in as many processes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from benchmarks import op_decode
from benchmarks._timing import Work, milliseconds, row
from xscale.io.photo.images import read_rgb

_PROCESSES = 16


def rows() -> Iterator[dict[str, object]]:
    """Time 16 files in threads as the pool decodes them, in Pillow's processes, and on the GPU."""
    cores = len(os.sched_getaffinity(0))
    # Processes that share nothing with this one: it has a CUDA context.
    start = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(cores) as threads,
        ProcessPoolExecutor(_PROCESSES, start) as processes,
    ):
        paths = op_decode.photos(Path(folder), threads)
        works: dict[str, Work] = {
            "ours": lambda: sum(threads.map(_size, paths)),
            "peer": lambda: sum(processes.map(op_decode.pillow, paths)),
            "Pillow, one thread": lambda: sum(map(op_decode.pillow, paths)),
            **_on_the_gpu(paths),
        }
        times = milliseconds(works, seconds=6, least=2, most=5)
    shape = f"{len(paths)} JPEGs of 24 MP, 4:2:0, quality 92; {cores} threads"
    made = row("photo decode", shape, times, peer_name=f"Pillow, {_PROCESSES} processes")
    others = {name: t["median"] for name, t in times.items() if name not in ("ours", "peer")}
    alone = others["Pillow, one thread"] / made["ours"]
    yield {**made, "peers_ms": others, "cores_worth": alone / cores}


def _size(path: Path) -> int:
    return read_rgb(path)[0].size


def _on_the_gpu(paths: list[Path]) -> dict[str, Work]:
    """The GPU's JPEG decoder through torchvision, where that was built with it."""
    try:
        from torchvision.io import decode_jpeg, read_file

        data = [read_file(str(path)) for path in paths]
        decode_jpeg(data[:1], device="cuda")
    except (ImportError, RuntimeError) as error:
        print(f"no JPEG decoder of the GPU: {str(error)[:100]}")
        return {}
    return {"nvJPEG by torchvision": lambda: decode_jpeg(data, device="cuda")}

"""The process in which photos are decoded for the first time (:mod:`xscale.io.photo.decode_apart`).

Requests are lines of JSON on standard input, answers lines of JSON on standard output; pixels go
into the memory whose descriptor is the one argument. It ends when its input ends or nothing comes.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from xscale.errors import DamagedPhotoError, XscaleError
from xscale.io.photo.images import OutOfRange, read_pixels

IDLE_SECONDS = 20
_ROOM = 1 << 30
"""Address space for libraries that are loaded when they are first needed."""
_BYTES_A_PIXEL = 128
"""Floating-point pictures pass through float64 several times."""
_SPARE_SECONDS = 70


def main() -> None:
    """Answer requests until there are no more."""
    # Ctrl-C is for the run, which ends this process when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory, pending = int(sys.argv[1]), b""
    requests = select.poll()
    requests.register(0, select.POLLIN)
    while requests.poll(IDLE_SECONDS * 1000):
        part = os.read(0, 1 << 16)
        if not part:
            break
        pending += part
        if pending.endswith(b"\n"):
            answer = json.dumps(_answer(json.loads(pending), memory)) + "\n"
            os.write(1, answer.encode())
            pending = b""


def _answer(request: dict, memory: int) -> dict:
    path, pixels = Path(request["path"]), request["pixels"]
    out_of_range = OutOfRange(0, 0)

    def take(found: OutOfRange) -> None:
        nonlocal out_of_range
        out_of_range = found

    # Where the run is gone, nobody else ends a decoder that spins. Processor time: a machine that
    # was asleep meanwhile does not count.
    signal.setitimer(signal.ITIMER_PROF, _SPARE_SECONDS + pixels / 1e6)
    try:
        if "folder" in request:
            os.chdir(request["folder"])
        size = path.stat().st_size if path.is_file() else 0
        _limit_memory(2 * size + _BYTES_A_PIXEL * pixels)
        rgb, kept = read_pixels(path, on_out_of_range=take, **request["options"])
        rgb = np.ascontiguousarray(rgb)
        _store(memory, rgb, 0)
        if kept is not None:
            _store(memory, np.ascontiguousarray(kept), rgb.nbytes)
    except MemoryError:
        error = DamagedPhotoError(
            "takes far more memory to decode than its size explains",
            where=path,
            advice="save it again with another program or take it out of the scene",
        )
        return _said(error)
    except XscaleError as error:
        return _said(error)
    except Exception:
        return {"error": "bug", "what": traceback.format_exc()}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {
        "shape": rgb.shape,
        "dtype": rgb.dtype.name,
        "kept": kept is not None,
        "out_of_range": out_of_range,
    }


def _said(error: XscaleError) -> dict:
    name = type(error).__name__
    return {"error": name, "what": error.what, "where": error.where, "advice": error.advice}


def _limit_memory(more: int) -> None:
    """Let this process's memory grow by ``more`` bytes and some room, and no further."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * resource.getpagesize() + more + _ROOM
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _store(memory: int, array: np.ndarray, start: int) -> None:
    view, done = memoryview(array.reshape(-1).view(np.uint8)), 0
    while done < len(view):
        done += os.pwrite(memory, view[done : done + (1 << 30)], start + done)


if __name__ == "__main__":
    main()

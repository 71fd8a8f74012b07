"""Decoding a photo in another process, with limits: what a decoder does wrong ends there.

Photos are decoded by C libraries. One that crashes on a damaged file would end the run, one that
spins would stall it. A file's first decoding therefore happens in a process of its own, with limits
of time and memory; a file that passed is decoded in this process from then on.

The other end is :mod:`xscale.io.photo.decoder_process`. Pixels come through memory that both share.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import mmap
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

import xscale
from xscale import errors, threads
from xscale.errors import DamagedPhotoError, PhotoError, ResourceError, XscaleError
from xscale.io.photo.file import Mark
from xscale.io.photo.images import OutOfRange, Pixels, read_pixels

SECONDS = 60.0
"""A decoding may take this and a second for every megapixel."""
_COMMAND = (sys.executable, "-P", "-m", "xscale.io.photo.decoder_process")
_SLICE = 0.5
_MOST_CRASHES = 3
_TRIES = 3
"""Tries of a photo whose process was ended from outside; one that took too long gets two."""
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT}
"""Exit codes of processes that somebody else ended: the system for memory, or a person."""
_MOST_PROCESSES = 8
_AHEAD = 2
_ADVICE = "copy it again from the camera or take it out of the scene"

_idle: queue.LifoQueue[_Process] = queue.LifoQueue()
_places = threading.BoundedSemaphore(min(_MOST_PROCESSES, threads.count()))
_crashed: set[str] = set()
_passed: set[tuple[str, Mark | None]] = set()
_running: set[_Process] = set()


class _GoneError(Exception):
    """The process ended without an answer."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code
        """As of ``Popen.returncode``; None where it was ended for taking too long."""


class _Process:
    """One decoding process, which ends itself when nothing is asked for a while."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("xscale-photo")
        paths = [str(Path(xscale.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, paths))
        try:
            self._popen = subprocess.Popen(
                [*_COMMAND, str(self.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self.memory,),
                env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            os.close(self.memory)
            raise ResourceError(
                f"a process to decode photos could not be started: {error.strerror}",
                advice="raise the limits of processes and open files (ulimit -u, ulimit -n)",
            ) from error
        self.rested = False
        """Whether it has waited for a request and may have gone home meanwhile."""
        _running.add(self)

    def ask(self, request: dict, seconds: float) -> dict:
        """Send a request and wait for its answer; raises _GoneError."""
        try:
            self._popen.stdin.write(json.dumps(request).encode() + b"\n")
            self._popen.stdin.flush()
        except OSError:
            raise _GoneError(self.end()) from None
        answer, out, answers = b"", self._popen.stdout.fileno(), select.poll()
        answers.register(out, select.POLLIN)
        # Counted in slices: while both processes are stopped or asleep, no time goes by.
        for _ in range(max(1, round(seconds / _SLICE))):
            if not answers.poll(_SLICE * 1000):
                continue
            part = os.read(out, 1 << 16)
            if not part:
                raise _GoneError(self.end(wait=True))
            answer += part
            if answer.endswith(b"\n"):
                self.rested = True
                return json.loads(answer)
        self.end()
        raise _GoneError(None)

    def end(self, *, wait: bool = False) -> int | None:
        """End the process; return its exit code where it had ended by itself."""
        if wait:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(5)
        code = self._popen.poll()
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
        _running.discard(self)
        return code


@atexit.register
def _end_all() -> None:
    for process in list(_running):
        process.end()


def start_ahead() -> None:
    """Start the processes that will be needed first, on other cores while this process loads.

    Where one cannot be started, whoever needs it says so.
    """
    with contextlib.suppress(ResourceError):
        for _ in range(min(_AHEAD, threads.count())):
            process = _Process()
            # The work before the first photo may take longer than it waits.
            process.rested = True
            _idle.put(process)


def read_pixels_safely(
    path: Path,
    size: tuple[int, int],
    mark: Mark | None = None,
    on_out_of_range: Callable[[OutOfRange], None] | None = None,
    **options: object,
) -> Pixels:
    """Decode a photo, the first time in another process; arguments of ``images.read_pixels``.

    Args:
        path: The file.
        size: (width, height) that it should have, which its limits follow.
        mark: What the file is known by: another mark is another file.
        on_out_of_range: As for ``images.read_pixels``.
        options: The others.

    Raises:
        DamagedPhotoError: Its decoder crashed, took too long or took too much memory; otherwise
            errors as for ``images.read_pixels``.
        PhotoError: Decoders crashed on too many photos.
        ResourceError: No process can be started, or others ended them again and again.
    """
    if (str(path), mark) in _passed:
        return read_pixels(path, on_out_of_range=on_out_of_range, **options)
    pixels, out_of_range = _read_apart(path, size, options)
    _passed.add((str(path), mark))
    if on_out_of_range is not None and any(out_of_range):
        on_out_of_range(out_of_range)
    return pixels


def _read_apart(
    path: Path, size: tuple[int, int], options: dict[str, object]
) -> tuple[Pixels, OutOfRange]:
    pixels = size[0] * size[1]
    request = {"path": str(path), "pixels": pixels, "options": options}
    if not path.is_absolute():
        # The process may have been started elsewhere.
        request["folder"] = str(Path.cwd())
    seconds = SECONDS + pixels / 1e6
    with _places:
        answer = _tried(path, request, seconds)
    if "error" in answer:
        raise _error_of(answer)
    return answer["pixels"], OutOfRange(*answer["out_of_range"])


def _tried(path: Path, request: dict, seconds: float) -> dict:
    """Ask again where a process ended or stopped for reasons that need not be the photo's."""
    for tries in range(1, _TRIES + 1):
        try:
            return _asked(request, seconds)
        except _GoneError as gone:
            if gone.code in _FROM_OUTSIDE and tries < _TRIES:
                continue
            if gone.code is None and tries < 2:
                continue
            raise _crash(path, gone.code, seconds) from gone
    raise AssertionError


def _asked(request: dict, seconds: float) -> dict:
    """Let an idle process answer, or a new one where none is idle or it went home meanwhile."""
    while True:
        try:
            process = _idle.get_nowait()
        except queue.Empty:
            process = _Process()
        try:
            answer = process.ask(request, seconds)
        except _GoneError as gone:
            if gone.code == 0 and process.rested:
                continue
            raise
        if "error" not in answer:
            answer["pixels"] = _taken(process.memory, answer)
        _idle.put(process)
        return answer


def _taken(memory: int, answer: dict) -> Pixels:
    """Copy the pixels out of the shared memory, which is then given back."""
    rgb = np.empty(answer["shape"], np.dtype(answer["dtype"]))
    _fill(memory, rgb, 0)
    kept = np.empty(rgb.shape[:2], bool) if answer["kept"] else None
    if kept is not None:
        _fill(memory, kept, rgb.nbytes)
    with mmap.mmap(memory, os.fstat(memory).st_size) as shared:
        shared.madvise(mmap.MADV_REMOVE)
    return Pixels(rgb, kept)


def _fill(memory: int, array: np.ndarray, start: int) -> None:
    view, done = memoryview(array.reshape(-1).view(np.uint8)), 0
    while done < len(view):
        done += os.preadv(memory, [view[done : done + (1 << 30)]], start + done)


def _crash(path: Path, code: int | None, seconds: float) -> PhotoError | ResourceError:
    """Make the error of a decoding that did not come back."""
    if code is None:
        return DamagedPhotoError(
            f"its decoder did not end within {seconds:.0f} s", where=path, advice=_ADVICE
        )
    if code in _FROM_OUTSIDE:
        return ResourceError(
            f"processes that decoded it were ended {_TRIES} times by {signal.Signals(-code).name}",
            where=path,
            advice="memory may be short: end other programs, or use --threads 1",
        )
    _crashed.add(str(path))
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    what = f"its decoder ended {how}"
    if len(_crashed) < _MOST_CRASHES:
        return DamagedPhotoError(what, where=path, advice=_ADVICE)
    return PhotoError(
        f"{what}, as on {len(_crashed) - 1} other photos",
        where=path,
        advice="run xscale doctor; if these photos open elsewhere, reinstall xscale's packages",
    )


def _error_of(answer: dict) -> Exception:
    """Make an error again from what the other process said of it."""
    kind = getattr(errors, answer["error"], None)
    if isinstance(kind, type) and issubclass(kind, XscaleError):
        return kind(answer["what"], where=answer["where"], advice=answer["advice"])
    return RuntimeError(answer["what"])

"""Ctrl-C, SIGTERM and SIGHUP: they end a command within two seconds, once, with exit code 130.

Python raises ``KeyboardInterrupt`` wherever the main thread is at that moment. Inside an import the
exception is lost, or ends native code that imports by ``abort``; so it waits for the import's end.
Inside a finalizer or a callback it is lost; inside native code it waits. Therefore the signal also
wakes a thread, which ends the process if the exception has not ended it within ``GRACE`` seconds. A
training asks for time to write a checkpoint first (:func:`saving`), and SIGUSR1 makes it write one
and go on, as schedulers ask for before a job's time is over.

Only the program installs this; a Python session keeps its own handlers.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
GRACE = 0.7
"""Seconds from a signal until the process is ended without further clean-up."""
_AGAIN = 0.02
"""Seconds after which an interrupt that waits for the end of an import is tried again."""
LINE = "xscale: error: interrupted\n"

_IMPORTS = "<frozen importlib._bootstrap>"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(threading.Event):
    """Set when a training shall stop; ``save`` is set when it shall only write a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.save = threading.Event()


class _State:
    """State of the interrupts, written by the main thread and by the watching thread."""

    def __init__(self) -> None:
        self.installed = False
        self.ending = False
        """Whether an interrupt has come that nobody saves for."""
        self.raised = False
        """Whether the main thread has been interrupted, or will be after an import."""
        self.waits = False
        """Whether an interrupt waits for the end of an import."""
        self.answered = False
        """Whether the line about the outcome has been printed."""
        self.saving: Stop | None = None
        self.saving_known: Stop | None = None
        """The training that the watching thread has already given time to."""


_state = _State()


def install() -> None:
    """Let this process end on Ctrl-C and SIGTERM; called once, by the program's first lines."""
    if _state.installed or threading.current_thread() is not threading.main_thread():
        return
    _state.installed = True
    # SIGINT is ignored where a shell has put the command into the background, SIGHUP by nohup: they
    # stay so.
    caught = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sys.excepthook = _excepthook
    sys.unraisablehook = _unraisablehook
    threading.Thread(target=_watch, args=(reader,), name="xscale-interrupts", daemon=True).start()
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in caught:
        signal.signal(number, _handle)
    signal.signal(signal.SIGALRM, _try_again)
    signal.signal(signal.SIGUSR1, _ask_to_save)


def ending() -> bool:
    """Whether an interrupt is ending this process."""
    return _state.ending


def answered() -> None:
    """Note that the outcome is being printed: no further line is, and nothing more is raised."""
    _state.answered = _state.installed


def leave(code: int) -> None:
    """End the process at once where this module is installed: threads may still be at work."""
    if not _state.installed:
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


@contextmanager
def saving() -> Iterator[Stop]:
    """Set the event at the first Ctrl-C, SIGTERM or SIGHUP of the body; the second interrupts it.

    Where the program has not installed its handlers, the body has some of its own; on another
    thread than the main one the event is never set.
    """
    stopped = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {}
    if not _state.installed:
        before = {
            number: signal.signal(number, _handle)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    _state.saving = stopped
    try:
        yield stopped
    finally:
        _state.saving = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _ask_to_save(number: int, frame: object) -> None:
    """Let a training write a checkpoint; nothing else has anything to save."""
    if _state.saving is not None:
        _state.saving.save.set()


def _handle(number: int, frame: FrameType | None) -> None:
    """Stop a training softly, anything else by an exception of the main thread."""
    saving = _state.saving
    if saving is not None and not saving.is_set():
        saving.set()
        return
    # The watching thread may have seen the signal before, so that ``ending`` does not tell.
    first, _state.raised = not _state.raised, _state.installed
    _state.ending = _state.installed
    # Clean-up is not interrupted again: the watching thread ends it in time.
    if not _state.answered and (first or not _state.installed):
        _interrupt(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise the exception, or let it wait where the main thread imports."""
    _state.waits = _state.installed and _imports(frame)
    if not _state.waits:
        raise KeyboardInterrupt


def _try_again(number: int, frame: FrameType | None) -> None:
    """Interrupt what met an import before, unless the command came to its end meanwhile."""
    if _state.waits and not _state.answered:
        _interrupt(number, frame)


def _imports(frame: FrameType | None) -> bool:
    """Tell whether an import is under way in a frame or in those that called it."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def _watch(reader: int) -> None:
    """End the process where the main thread does not; runs on a thread of its own."""
    while not _interrupted(os.read(reader, 64)):
        pass
    _state.ending = True
    last = time.monotonic() + GRACE
    while time.monotonic() < last:
        if select.select([reader], [], [], _AGAIN)[0] and _interrupted(os.read(reader, 64)):
            break
        if _state.waits:
            # To the main thread, whose waiting it ends: a timer's signal may go to any thread.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
    _end()


def _interrupted(numbers: bytes) -> bool:
    """Whether signals ask for the end: all but the first of a training that saves."""
    found = False
    for number in numbers:
        if number not in _SIGNALS:
            continue
        saving = _state.saving
        if saving is not None and _state.saving_known is not saving:
            _state.saving_known = saving
            continue
        found = True
    return found


def _end() -> None:
    """End the process; the terminal gets its cursor back, which a progress bar hides."""
    line = "" if _state.answered else LINE
    try:
        if os.isatty(2):
            line = "\x1b[?25h\n" + line
        os.write(2, line.encode())
    finally:
        os._exit(EXIT_CODE)


def _excepthook(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Replace the traceback of an interrupt by the one line."""
    if issubclass(kind, KeyboardInterrupt):
        _end()
    sys.__excepthook__(kind, error, trace)


def _unraisablehook(found: object) -> None:
    """Say nothing about an interrupt that Python could not raise; the process ends anyway."""
    if not isinstance(getattr(found, "exc_value", None), KeyboardInterrupt):
        sys.__unraisablehook__(found)

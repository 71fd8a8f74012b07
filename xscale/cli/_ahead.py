"""Imports ahead of need: a command's slow modules load while it checks its options."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

_unfinished: set[str] = set()


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import a module on a thread of its own while the body runs; an error of the body goes first.

    Most of what PyTorch's import waits for is the interpreter, most of what opening a scene or a
    run waits for is not. An error of the body does not wait for the import.
    """
    found: Future[None] = Future()

    def load() -> None:
        try:
            importlib.import_module(module)
        except BaseException as error:
            found.set_exception(error)
        else:
            found.set_result(None)
        _unfinished.discard(module)

    _unfinished.add(module)
    threading.Thread(target=load, name="xscale-import", daemon=True).start()
    yield
    found.result()


def unfinished() -> bool:
    """Whether an import goes on that nobody waits for: Python must not be taken down beside it."""
    return bool(_unfinished)

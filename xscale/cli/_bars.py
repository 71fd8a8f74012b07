"""Progress of counted work: a line for each kind, with the rate and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

from xscale.cli._console import progress_bar

Show = Callable[..., None]
"""Called with (done, of how many) and, where it has one, the name of what is done."""


@contextmanager
def bars(*kinds: str) -> Iterator[list[Show]]:
    """Show kinds of work, each in a line that appears when it begins; gives a function for each.

    Args:
        kinds: For example "rendering", "scoring".
    """
    with progress_bar() as bar:
        yield [_shower(bar, kind) for kind in kinds]


def _shower(bar: Progress, kind: str) -> Show:
    state: list[float] = []

    def show(done: int, total: int, name: str = "") -> None:
        now = time.monotonic()
        if not state:
            state.extend((bar.add_task(kind, total=total), now, done))
        task, start, first = state
        rate = (done - first) / (now - start) if now > start else 0.0
        text = f"{kind} {name}".rstrip() + (f"  {rate:.2f}/s" if rate else "")
        bar.update(task, completed=done, total=total, description=text)

    return show

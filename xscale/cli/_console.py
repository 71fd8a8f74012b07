"""Options, tables, progress bars and remarks, the same for every command.

Standard output carries only what was asked for (tables, JSON, the path of what was made);
everything for the person who watches goes to standard error.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from xscale import threads
from xscale.cli._help import help_of
from xscale.cli._mistakes import check_names, explained, with_new_names
from xscale.cli._options import check_ranges, options_of
from xscale.errors import printable

Options = TypeVar("Options")

EVERY = 10.0
"""Seconds between lines of progress where no bar can be drawn."""

# Redirected output has no width: a table is then as wide as it needs to be.
_WIDTH = None if sys.stdout.isatty() else 200

console = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(width=_WIDTH, highlight=False, soft_wrap=True)


def parse(options: type[Options], argv: Sequence[str], command: str) -> Options:
    """Read a command's options; its help is the dataclass's docstrings.

    Args:
        options: A dataclass. Its docstring says what the command does, the one below each field
            what the option gives the user. Groups, metavars and ranges: ``cli/_options.py``.
        argv: What follows the command's name.
        command: For example ``inspect``.

    Raises:
        UsageError: An option is unknown, missing or has an impossible value.
        SystemExit: With 0, after ``--help``.
    """
    known = options_of(options, command)
    if "-h" in argv or "--help" in argv:
        sys.stdout.write(help_of(options, known, command))
        raise SystemExit(0)
    argv = with_new_names(argv)
    check_names(known, argv, command)
    import tyro

    markers = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            values = tyro.cli(options, args=list(argv), prog=f"xscale {command}", config=markers)
    except SystemExit:
        raise explained(_one_line(complaint.getvalue()), known, argv, command) from None
    check_ranges(known, values)
    threads.use(getattr(values, "threads", None))
    return values


def _one_line(framed: str) -> str:
    """Return the first paragraph of the parser's message, without its frame and its title."""
    words: list[str] = []
    lines = [re.sub(r"^[│|]\s?|\s*[│|]$", "", line.strip()).strip() for line in framed.splitlines()]
    for number, line in enumerate(lines):
        if re.fullmatch(r"[─\-\s]+", line):
            if number > 1:
                break
            words = []  # what stood above is the title
        elif line and not re.match(r"[╭╰+]", line):
            words.append(line)
    return " ".join(words) or "the options could not be read"


def say(text: str) -> None:
    """Tell the person at the terminal one line."""
    console.print(printable(text, 2000), markup=False)


def warn(text: str) -> None:
    """Tell the person at the terminal a coded remark (``W-...``)."""
    console.print(f"warning: {printable(text, 2000)}", markup=False, style="yellow")


def result(text: object) -> None:
    """Print what was asked for."""
    output.print(str(text), markup=False)


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output; a column whose cells are all numbers is set right."""
    table = Table(box=box.SIMPLE_HEAD, expand=False)
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) or row[index] is None for row in rows)
        table.add_column(column, justify="right" if numbers and rows else "left")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    output.print(f"\n{title}", markup=False, end="")
    output.print(table, soft_wrap=False)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(value)


def progress_bar() -> Progress:
    """Return a progress bar with time spent and time left, on standard error.

    Where standard error is not a terminal, a line appears every ``EVERY`` seconds instead.
    """
    return _Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


class _Bars(Progress):
    """Bars that become lines where no bar can be drawn."""

    _told = 0.0

    def start(self) -> None:
        """Begin; the first line comes after ``EVERY`` seconds."""
        self._told = time.monotonic()
        super().start()

    def update(self, task_id: TaskID, **values: object) -> None:
        """Show a task's state; ``values`` are those of ``rich.progress.Progress.update``."""
        super().update(task_id, **values)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Show that a task has come on by so much."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        now = time.monotonic()
        if self.console.is_terminal or now - self._told < EVERY:
            return
        task = self.tasks[self.task_ids.index(task_id)]
        if task.total:
            self._told = now
            count = "" if task.total == 1 else f"{task.completed:g} of {task.total:g}, "
            left = task.time_remaining
            rest = "" if left is None else f", about {left:.0f} s left"
            say(f"{task.description}: {count}{task.percentage:.0f} %{rest}")

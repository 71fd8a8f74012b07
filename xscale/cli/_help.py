"""The help of a command: its usage, what it does, and its options in groups."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from xscale.cli._options import Option

_ORDER = ("input", "training", "options", "output", "performance", "comparison")
_INDENT = 24


def help_of(kind: type, options: Sequence[Option], command: str) -> str:
    """Return a command's help.

    Args:
        kind: The dataclass; its docstring says what the command does.
        options: Its options.
        command: For example ``inspect``.
    """
    width = min(100, max(60, shutil.get_terminal_size((88, 24)).columns))
    first = [o.shown for o in options if o.required or not o.flags]
    first += ["[options]"] if any(o.flags for o in options) else []
    usage = " ".join(["usage: xscale", command, *first])
    lines = [usage, "", *_paragraphs(kind.__doc__ or "", width)]
    placed = [option for option in options if not option.flags]
    if placed:
        lines += ["", *(line for option in placed for line in _entry(option, width))]
    for group in _ORDER:
        members = [option for option in options if option.flags and option.group == group]
        # Required options come first.
        members.sort(key=lambda option: not option.required)
        if members:
            lines += ["", f"{group}:"]
            lines += [line for option in members for line in _entry(option, width)]
    return "\n".join([*lines, "", "  -h, --help            Print this help and end.", ""])


def _paragraphs(text: str, width: int) -> list[str]:
    """Return a docstring's paragraphs, filled."""
    filled = [textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n")]
    return "\n\n".join(part for part in filled if part).splitlines()


def _entry(option: Option, width: int) -> list[str]:
    """Return an option's lines: its name, its meaning, its default."""
    meaning = option.meaning
    plain = option.default in (None, False, "", ()) or option.default == []
    if option.required:
        meaning += " (required)" if option.flags else ""
    elif not plain:
        value = option.default
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        meaning += f" (default: {shown})"
    body = textwrap.wrap(meaning, width - _INDENT) or [""]
    # Choices too long for a line are broken between them.
    wide = option.shown.replace("|", "| ")
    name = [
        line.replace("| ", "|") for line in textwrap.wrap(wide, width - 6, break_on_hyphens=False)
    ] or [""]
    name = [f"  {name[0]}", *(f"      {line}" for line in name[1:])]
    if len(name) == 1 and len(name[0]) < _INDENT:
        body[0] = name[0].ljust(_INDENT) + body[0]
        return [body[0], *(" " * _INDENT + line for line in body[1:])]
    return name + [" " * _INDENT + line for line in body]

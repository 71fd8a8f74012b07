"""Mistakes in a command line, each in one line: unknown, missing and impossible options."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from xscale.cli._options import Option
from xscale.errors import UsageError

OLD_NAMES: dict[str, str] = {
    "--requarantine": "--use-repaired",
    "--photos-at-render": "--source-photos",
}
"""Options that have another name now; the old one still works."""


def with_new_names(argv: Sequence[str]) -> list[str]:
    """Return the arguments with old names of options replaced by those of today."""
    found = []
    for word in argv:
        name, equals, value = word.partition("=")
        new = OLD_NAMES.get(name.replace("_", "-"))
        found.append(word if new is None else new + equals + value)
    return found


def check_names(options: Sequence[Option], argv: Sequence[str], command: str) -> None:
    """Refuse unknown options, with the nearest one.

    Raises:
        UsageError: One is unknown.
    """
    known = [flag for option in options for flag in option.flags if flag.startswith("--")]
    for word in argv:
        if word == "--":
            return
        name = word.partition("=")[0].replace("_", "-")
        if not re.fullmatch(r"--[a-zA-Z][\w-]*", name) or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"xscale {command} has no option {name}",
            advice=f"did you mean {near[0]}?" if near else f"see xscale {command} --help",
        )


def explained(
    complaint: str, options: Sequence[Option], argv: Sequence[str], command: str
) -> UsageError:
    """Return the error for what the parser complains about.

    Args:
        complaint: The parser's message, in one line.
        options: The command's options.
        argv: What follows the command's name.
        command: For example ``inspect``.
    """
    advice = f"see xscale {command} --help"
    given = {word.partition("=")[0].replace("_", "-") for word in argv}
    placed = [option for option in options if not option.flags]
    named = re.search(r"argument '([\w-]+)'", complaint) or re.search(r"parsing (\S+?):", complaint)
    option = _named(options, named[1] if named else "")
    if complaint.startswith("Missing from"):
        missing = [o.label for o in placed if _mentions(complaint, o)]
        missing += [o.shown for o in options if o.flags and o.required and not given & {*o.flags}]
        if missing:
            *most, last = missing
            listed = f"{', '.join(most)} and {last} are" if most else f"{last} is"
            return UsageError(f"{listed} missing", advice=advice)
    if option is not None and complaint.startswith("Missing value"):
        if not option.flags:
            return UsageError(f"{option.label} is missing", advice=advice)
        return UsageError(f"{option.label} needs a value: {option.metavar}", advice=advice)
    if option is not None:
        value = _value(option, argv, complaint)
        return UsageError(f"{option.label} takes {_taken(option)}, got {value!r}", advice=advice)
    unknown = re.match(r"Unrecognized options: (.*?)(?:$| Perhaps)", complaint)
    if unknown:
        return UsageError(f"there is no place for {unknown[1].strip()!r}", advice=advice)
    return UsageError(complaint, advice=advice)


def _mentions(complaint: str, option: Option) -> bool:
    """Whether the parser lists what stands at its place, by its metavar or its choices."""
    names = (option.label, option.name, "{" + option.metavar.replace("|", ","))
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", complaint) for name in names)


def _named(options: Sequence[Option], name: str) -> Option | None:
    """Return the option that the parser names, by its flag, field or metavar."""
    for option in options:
        if name and name in (*option.flags, option.name, option.metavar):
            return option
    return None


def _value(option: Option, argv: Sequence[str], complaint: str) -> str:
    """Return the value that was given to an option."""
    quoted = re.search(r"\['?(.*?)'?\]|invalid choice '(.*?)'", complaint)
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") in option.flags:
            return value if equals else following
    return (quoted[1] or quoted[2] or "") if quoted else ""


def _taken(option: Option) -> str:
    """Return what an option takes, in words."""
    words = {"N": "a whole number", "X": "a number"}
    return words.get(option.metavar, option.metavar.replace("|", ", "))

"""Options of all commands: read from a dataclass, with help in groups, nearest names and ranges.

The dataclass names the options, its docstrings describe them, and tyro turns arguments into values.
What options of all commands share is in the tables below, by the option's name; a key like
``render.background`` belongs to one command.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xscale.config import field_docs
from xscale.errors import UsageError
from xscale.training.settings import PRESETS

GROUPS: dict[str, str] = {
    name: group
    for group, names in {
        "input": "scene run mesh transform mesh_repair cameras images colmap_model pixel_origin "
        "pose_convention on_bad_photo alpha convert_cmyk color no_outside drop_outliers downscale "
        "test_every test_list allow_leak views keys lpips_weights unit data_root layout_scale "
        "pred scenes splits split",
        "training": "preset minutes steps seed seeds background set settings resume use_repaired",
        "output": "out overwrite format data outputs side_by_side report json plot video fps join "
        "size samples projection fov baseline source_photos tensorboard render.background text "
        "photos quick strict check verify to two_sided edges results page pictures metrics",
        "performance": "device threads engine address workers render.split shard deterministic",
        "comparison": "rasterizer encoding",
    }.items()
    for name in names.split()
}
"""The help's group of each option; others stand under "options"."""

METAVARS: dict[str, str] = {
    "scene": "SCENE",
    "run": "RUN",
    "train.out": "RUN",
    "render.out": "DIR",
    "convert.out": "DIR",
    "export.out": "PATH",
    "demo.out": "DIR",
    "size": "WxH",
    "views": "test|train|all|PHOTO ...",
    "path.views": "PHOTO ...",
    "outputs": "NAME ...",
    "metrics": "NAME ...",
    "colmap_model": "NAME",
    "scenes": "NAME ...",
    "splits": "NAME ...",
    "method": "NAME",
    "set": "KEY=VALUE ...",
    "device": "auto|cpu|cuda|cuda:N",
    "rasterizer": "auto|xscale|nvdiffrast",
    "encoding": "auto|xscale|tcnn",
    "shard": "I/N",
    "address": "auto|HOST:PORT",
    "lpips_weights": "DIR",
    "render.cameras": "PATH",
    "images": "DIR",
    "keys": "PATH",
    "inspect.report": "[FILE.html]",
    "target": "X Y Z",
    "pixel": "U V",
}
"""Value of an option in the help, where its type does not say it."""


@dataclass(frozen=True)
class Range:
    """The values that a numeric option may have; infinity and NaN never are."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    """Whether ``low`` itself is refused."""

    def __contains__(self, value: float) -> bool:
        inside = value > self.low if self.above else value >= self.low
        return math.isfinite(value) and inside and value <= self.high

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "a finite number"
        if self.high < math.inf:
            return f"{'above ' if self.above else ''}{self.low:,} to {self.high:,}"
        return f"above {self.low:,}" if self.above else f"{self.low:,} or more"


_POSITIVE, _COUNT, _ANY = Range(0, above=True), Range(1), Range()
RANGES: dict[str, Range] = {
    "steps": _COUNT,
    "minutes": _POSITIVE,
    "downscale": Range(1, 1000),
    "test_every": Range(0),
    "layout_scale": Range(1, 1000),
    "size_limit": _POSITIVE,
    "seed": Range(0, 2**32 - 1),
    "threads": Range(1, 1024),
    "samples": Range(1, 16),
    "fps": Range(0, 1000, above=True),
    "fov": Range(0, 360, above=True),
    "baseline": _POSITIVE,
    "workers": _COUNT,
    "frames": Range(1, 1_000_000),
    "degrees": _ANY,
    "radius": _POSITIVE,
    "height": _ANY,
    "turns": _ANY,
    "view.scale": Range(0.5, 4),
    "seconds": Range(0, 3600, above=True),
    "target": _ANY,
    "pixel": _ANY,
    "closest": _POSITIVE,
    "texel": _POSITIVE,
    "page": Range(64, 8192),
    "points": Range(1, 1_000_000_000),
}
"""The range of every numeric option; a test refuses options without one."""


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    name: str
    """The dataclass's field."""
    flags: tuple[str, ...]
    """For example ("--test-every",); empty for what stands at its place."""
    metavar: str
    """Its value in the help; empty for a switch."""
    required: bool
    default: object
    meaning: str
    group: str
    limits: Range | None
    """For numbers."""
    whole: bool
    """Whether numbers are whole."""
    numeric: bool

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.flags[0] if self.flags else self.name.upper()

    @property
    def shown(self) -> str:
        """How the help shows it."""
        if not self.flags:
            return self.metavar
        return f"{', '.join(self.flags)} {self.metavar}".strip()


def options_of(kind: type, command: str) -> list[Option]:
    """Return a command's options in the order of its dataclass."""
    hints, docs = typing.get_type_hints(kind, include_extras=True), field_docs(kind)

    def of_command(table: dict, name: str, other: object) -> object:
        return table.get(f"{command}.{name}", table.get(name, other))

    found = []
    for field in dataclasses.fields(kind):
        hint, marks = hints[field.name], []
        while typing.get_origin(hint) is typing.Annotated:
            hint, *more = typing.get_args(hint)
            marks += more
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        given = [mark for mark in marks if getattr(mark, "metavar", None)]
        helps = [mark.help for mark in marks if getattr(mark, "help", None)]
        placed = any("Positional" in str(mark) for mark in marks)
        aliases = [alias for mark in marks for alias in getattr(mark, "aliases", None) or ()]
        numbers = {kind for kind in _leaves(hint) if kind in (int, float)}
        metavar = given[0].metavar if given else of_command(METAVARS, field.name, None)
        if field.name == "preset":
            metavar = "|".join(PRESETS)
        found.append(
            Option(
                name=field.name,
                flags=() if placed else ("--" + field.name.replace("_", "-"), *aliases),
                metavar=_metavar(hint) if metavar is None else metavar,
                required=default is dataclasses.MISSING,
                default=default,
                meaning=helps[0] if helps else docs.get(field.name, ""),
                group="" if placed else of_command(GROUPS, field.name, "options"),
                limits=of_command(RANGES, field.name, None) if numbers else None,
                whole=float not in numbers,
                numeric=bool(numbers),
            )
        )
    return found


def _leaves(hint: object) -> set[object]:
    """Return the plain types and literal values inside a type."""
    if typing.get_origin(hint) is typing.Literal:
        return {type(value) for value in typing.get_args(hint)} - {int, float}
    inner = typing.get_args(hint)
    return {hint} if not inner else set().union(*map(_leaves, inner))


def _metavar(hint: object) -> str:
    """Return what a type's values look like: choices, N, X, FILE, TEXT; nothing for a switch."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "|".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return "|".join(_metavar(part) for part in inner if part is not type(None))
    if origin in (list, tuple):
        parts = [part for part in inner if part is not Ellipsis]
        many = origin is list or Ellipsis in inner
        return " ".join(map(_metavar, parts)) + (" ..." if many else "")
    return {bool: "", int: "N", float: "X", Path: "FILE"}.get(hint, "TEXT")


def check_ranges(options: Sequence[Option], values: object) -> None:
    """Refuse numbers outside of their option's range.

    Raises:
        UsageError: One is.
    """
    for option in options:
        value = getattr(values, option.name)
        for number in value if isinstance(value, tuple | list) else (value,):
            numeric = isinstance(number, int | float) and not isinstance(number, bool)
            if option.limits is not None and numeric and number not in option.limits:
                raise UsageError(f"{option.label} must be {option.limits}, got {number:g}")

"""Frozen dataclasses to JSON and back, and ``key=value`` overrides. Knows no stage."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import json
import math
import re
import textwrap
import types
import typing
from typing import TypeVar

from xscale.errors import ConfigError, UsageError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting, for people to read."""

    key: str
    """As ``override`` takes it, for example ``optim.batch``."""
    kind: str
    """Its type, or its choices."""
    value: object
    meaning: str


def to_dict(settings: object) -> dict:
    """Return a settings dataclass as plain JSON values."""
    return dataclasses.asdict(settings)


def field_docs(kind: type) -> dict[str, str]:
    """Return the docstrings below a dataclass's fields, those of its base classes included."""
    docs = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for field, text in itertools.pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def list_settings(settings: object, prefix: str = "") -> list[Setting]:
    """Return every setting of a settings dataclass, with its value and meaning."""
    hints, docs = typing.get_type_hints(type(settings)), field_docs(type(settings))
    found = []
    for field in dataclasses.fields(settings):
        value, key = getattr(settings, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            found += list_settings(value, f"{key}.")
        else:
            kind = _in_words(hints[field.name])
            found.append(Setting(key, kind, value, docs.get(field.name, "")))
    return found


def _in_words(hint: object) -> str:
    """Return a type as people write it."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, parts))
    if parts:
        return "|".join("none" if part is type(None) else _in_words(part) for part in parts)
    return getattr(hint, "__name__", str(hint))


def from_dict(kind: type[T], values: dict) -> T:
    """Build a settings dataclass from plain values; missing fields take their defaults.

    Raises:
        ConfigError: A key is not a setting, or a value has the wrong type.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}
    built = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{key} is not a setting{_nearest(key, fields)}")
        hint = hints[key]
        built[key] = (
            from_dict(hint, value) if dataclasses.is_dataclass(hint) else _checked(key, hint, value)
        )
    return kind(**built)


def override(settings: T, assignments: list[str]) -> T:
    """Apply ``grid.levels=12``-style assignments; values are JSON, bare words are text.

    Raises:
        ConfigError: An assignment has no "=", names no setting, or has the wrong type.
    """
    values = to_dict(settings)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {assignment!r}")
        inner = values
        *path, last = key.strip().split(".")
        for part in [*path, last]:
            if not isinstance(inner, dict) or part not in inner:
                names = _leaves(values)
                raise ConfigError(f"{key} is not a setting{_nearest(key, names)}")
            if part is not last:
                inner = inner[part]
        try:
            inner[last] = json.loads(text)
        except ValueError:
            inner[last] = text
    return from_dict(type(settings), values)


def _leaves(values: dict, prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return names


def _nearest(key: str, names: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _checked(key: str, hint: object, value: object) -> object:
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ConfigError(f"{key} must be one of {', '.join(map(str, allowed))}, got {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, bool, str) and type(value) is not hint:
        raise ConfigError(f"{key} must be {hint.__name__}, got {value!r}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{key} must be finite, got {value!r}")
    return value


def check_device_name(name: str) -> None:
    """Refuse what cannot be a device, before PyTorch is asked for it.

    Raises:
        UsageError: It is neither "auto", "cpu", "cuda", "cuda:N", "webgpu" nor "webgpu:N".
    """
    if not re.fullmatch(r"auto|cpu|(cuda|webgpu)(:\d{1,4})?", name, re.ASCII):
        raise UsageError(
            f"no device {name!r:.40}; there are auto, cpu, cuda, cuda:0, ..., webgpu, webgpu:0, ..."
        )

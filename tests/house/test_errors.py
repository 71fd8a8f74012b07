"""Errors, their exit codes, and the page that documents them."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT
from xscale import errors
from xscale.errors import XscaleError


def _classes() -> list[type[XscaleError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, XscaleError) and value is not XscaleError
    ]


def _documented() -> dict[str, int]:
    """Class name to exit code, from the table in docs/exit-codes.md."""
    table = {}
    for line in (ROOT / "docs/exit-codes.md").read_text().splitlines():
        row = re.match(r"\| (\d+) \|", line)
        if row:
            table |= {name: int(row.group(1)) for name in re.findall(r"`(\w+Error)`", line)}
    return table


def test_page_lists_exactly_the_classes_with_their_codes():
    assert _documented() == {cls.__name__: cls.exit_code for cls in _classes()}


def test_kinds_of_failure_have_codes_of_their_own():
    direct = [cls for cls in _classes() if cls.__bases__ == (XscaleError,)]
    codes = [cls.exit_code for cls in direct]
    assert len(set(codes)) == len(codes)


def test_a_special_case_keeps_the_code_of_its_kind():
    for cls in _classes():
        base = next(b for b in cls.__mro__[1:] if issubclass(b, XscaleError))
        if base is not XscaleError:
            assert cls.exit_code == base.exit_code, cls.__name__


@pytest.mark.parametrize("cls", _classes(), ids=lambda cls: cls.__name__)
def test_message_is_one_line_with_place_fault_and_advice(cls):
    error = cls("is\nbad", where="folder/a\x1b[31m.jpg", advice="do this")
    assert str(error) == "folder/a\\x1b[31m.jpg: is\\nbad; do this"

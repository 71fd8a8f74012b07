"""Picture sizes as options give them."""

from __future__ import annotations

import re

from xscale.errors import UsageError

LARGEST = 1 << 20
"""Pixels along an edge; float32 pixel positions stay exact to a sixteenth up to here."""


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of ``WxH``.

    Raises:
        UsageError: It is not a size, or too large.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if not match or not int(match[1]) or not int(match[2]):
        raise UsageError(f"--size is WxH in pixels, for example 960x540, got {text!r}")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > LARGEST:
        raise UsageError(f"--size is {text}, at most {LARGEST} pixels along an edge")
    return width, height


def parse_pair(text: str, option: str, form: str, separator: str) -> tuple[int, int]:
    """Return two whole numbers around a separator.

    Raises:
        UsageError: They are not.
    """
    match = re.fullmatch(rf"(\d+){re.escape(separator)}(\d+)", text.strip())
    if not match:
        raise UsageError(f"{option} is {form}, got {text!r}")
    return int(match[1]), int(match[2])

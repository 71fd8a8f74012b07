"""Numbers in lines of text, millions at a time: what ascii meshes are made of.

Text stays an array of bytes; lines and tokens are found by whole-array operations, and numbers are
converted by NumPy's own locale-free parser. Python looks at single lines only to name a bad one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError

BLOCK = 1 << 21
"""Bytes of text looked at in one go."""
_LONGEST_LINE = 1 << 20
_CONTINUED = (b"\\\n", b"\\\r\n")
_NEWLINE, _SPACE, _SLASH = 10, 32, 47
_PLUS, _MINUS, _POINT, _ZERO = 43, 45, 46, 48
_LONGEST_PLAIN = 18
_POWERS = 10.0 ** np.arange(_LONGEST_PLAIN + 1)
_LARGEST_WHOLE = 2.0**53
_AGAIN = "the file is cut or was edited: export it again"


def bad_line(what: str, path: Path, line: int) -> MeshError:
    """Make the error that names a line."""
    return MeshError(what, where=f"{path}:{line}", advice=_AGAIN)


class LineReader:
    """Whole lines of a file, in blocks."""

    def __init__(
        self,
        file: BinaryIO,
        path: Path,
        line: int = 0,
        *,
        open_end: bool = False,
        block: int | None = None,
    ) -> None:
        """Read on from where ``file`` stands.

        Args:
            file: Open in binary mode.
            path: Its name, for errors.
            line: How many lines came before.
            open_end: Whether the last line may lack its line end.
            block: Bytes to look at in one go; by default :data:`BLOCK`.
        """
        self._block = block or BLOCK
        self._file, self._path, self._open_end = file, path, open_end
        self._rest = b""
        self._ended = False
        self.line = line

    def blocks(self, count: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first line, from 1; uint8 array of whole lines).

        Args:
            count: How many lines in all; None for all that are left.

        Raises:
            MeshError: The file ends before, or has a line of more than 1 MiB.
        """
        left = count
        while left is None or left > 0:
            text = self._whole_lines()
            if not len(text):
                if left:
                    raise bad_line("the line is cut or missing", self._path, self.line + 1)
                return
            ends = np.flatnonzero(text == _NEWLINE)
            if np.diff(ends, prepend=-1).max() > _LONGEST_LINE:
                raise bad_line("a line is longer than 1 MiB", self._path, self.line + 1)
            if left is not None and len(ends) > left:
                stop = int(ends[left - 1]) + 1
                self._rest = text[stop:].tobytes() + self._rest
                text, ends = text[:stop], ends[:left]
            first = self.line + 1
            self.line += len(ends)
            left = None if left is None else left - len(ends)
            yield first, text

    def rest(self) -> int:
        """Count the bytes that are left and are not white space."""
        spare = len(self._rest.strip())
        while block := self._file.read(self._block):
            spare += len(block.strip())
        return spare

    def _whole_lines(self) -> np.ndarray:
        """Take what is known up to its last line end, reading on until there is one."""
        data = self._rest
        while not (stop := self._last_end(data)) and not self._ended:
            if len(data) > _LONGEST_LINE:
                raise bad_line("a line is longer than 1 MiB", self._path, self.line + 1)
            more = self._file.read(self._block)
            self._ended = not more
            data += more
            if self._ended and self._open_end and data and not data.endswith(b"\n"):
                data += b"\n"
        self._rest = data[stop:]
        return np.frombuffer(data[:stop], np.uint8)

    def _last_end(self, data: bytes) -> int:
        """Return the place after the last line end that continues no line, 0 without one."""
        stop = data.rfind(b"\n") + 1
        while not self._ended and data[:stop].endswith(_CONTINUED):
            stop = data.rfind(b"\n", 0, stop - 1) + 1
        return stop


def numbers(text: np.ndarray, path: Path, first_line: int) -> tuple[np.ndarray, np.ndarray]:
    """Convert all numbers of some lines.

    Args:
        text: uint8, whole lines.
        path: The file, for errors.
        first_line: Number of the first of these lines in it.

    Returns:
        Values, float64 [N], and where each line's values begin, int64 [lines + 1].

    Raises:
        MeshError: Something is not a number.
    """
    starts, lengths, begins = _tokens(text)
    values = _plain_decimals(text, starts, lengths)
    if values is None:
        values = _converted(text) if len(starts) else np.zeros(0)
    if len(values) != len(starts):
        raise _not_a_number(text, path, first_line)
    return values, begins


def chosen_lines(text: np.ndarray, wanted: np.ndarray, blank: int) -> np.ndarray:
    """Copy some lines of a text, the first ``blank`` characters of each overwritten by spaces.

    Args:
        text: uint8, whole lines.
        wanted: bool [lines].
        blank: How many characters the keyword has that is to go; lines must be longer.
    """
    ends = np.flatnonzero(text == _NEWLINE) + 1
    lengths = np.diff(ends, prepend=0)
    picked = text if wanted.all() else text[np.repeat(wanted, lengths)]
    picked = picked.copy() if picked is text else picked
    starts = np.cumsum(lengths[wanted]) - lengths[wanted]
    for k in range(blank):
        picked[starts + k] = _SPACE
    return picked


def without_references(text: np.ndarray) -> np.ndarray:
    """Overwrite what follows a slash in every token: ``7/2/9`` becomes ``7``."""
    slash = text == _SLASH
    if not slash.any():
        return text
    place = np.arange(1, len(text) + 1, dtype=np.int32)
    last_slash = np.maximum.accumulate(np.where(slash, place, 0))
    last_space = np.maximum.accumulate(np.where(text <= _SPACE, place, 0))
    return np.where(last_slash > last_space, np.uint8(_SPACE), text)


def whole(values: np.ndarray) -> np.ndarray | None:
    """Return values as int64, or None where one is not a whole number."""
    with np.errstate(invalid="ignore"):
        fine = (np.abs(values) < _LARGEST_WHOLE) & (np.floor(values) == values)
    return values.astype(np.int64) if fine.all() else None


def _tokens(text: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tokens' starts and lengths and, by line, which token is its first."""
    inside = text > _SPACE
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    ends = np.flatnonzero(text == _NEWLINE)
    begins = np.zeros(len(ends) + 1, np.int64)
    begins[1:] = np.searchsorted(starts, ends)
    return starts, lengths, begins


def _plain_decimals(text: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """Convert numbers like ``-12.75`` exactly, or return None where one is written otherwise.

    Digits without the point are a whole number below 2^53, and powers of ten up to 22 are exact:
    one division rounds once, so the result is the one a correct parser gives.
    """
    longest = int(lengths.max(initial=0))
    if longest > _LONGEST_PLAIN:
        return None
    padded = np.concatenate([text, np.full(longest, _SPACE, np.uint8)])
    whole_part = np.zeros(len(starts), np.int64)
    places = np.zeros(len(starts), np.uint8)
    after_point = np.zeros(len(starts), bool)
    digits = np.zeros(len(starts), np.uint8)
    negative = padded[starts] == _MINUS
    signed = negative | (padded[starts] == _PLUS)
    for k in range(longest):
        character = padded[starts + k]
        live = lengths > k
        digit = character - _ZERO
        is_digit = (digit < 10) & live
        is_point = (character == _POINT) & live
        fine = is_digit | (is_point & ~after_point) | ~live
        if not (fine.all() or (k == 0 and (fine | signed).all())):
            return None
        whole_part = np.where(is_digit, whole_part * 10 + digit, whole_part)
        places += is_digit & after_point
        digits += is_digit
        after_point |= is_point
    if not digits.all() or (whole_part >= _LARGEST_WHOLE).any():
        return None
    values = whole_part / _POWERS[places]
    return np.where(negative, -values, values)


def _converted(text: np.ndarray) -> np.ndarray:
    """Convert up to the first thing that is not a number."""
    with warnings.catch_warnings():
        # Text that stops being numbers is a warning or an error by version; the count tells.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text.tobytes(), np.float64, sep=" ")
        except ValueError:
            return np.zeros(0)


def _not_a_number(text: np.ndarray, path: Path, first_line: int) -> MeshError:
    for k, line in enumerate(text.tobytes().split(b"\n")):
        for token in line.split():
            if not _is_number(token):
                shown = token[:20].decode("ascii", "backslashreplace")
                return bad_line(f"{shown!r} is not a number", path, first_line + k)
    return bad_line("has something that is not a number", path, first_line)


def _is_number(token: bytes) -> bool:
    plain = rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)"
    return re.fullmatch(plain, token, re.IGNORECASE) is not None

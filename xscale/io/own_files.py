"""Files that xscale wrote, read back as carefully as a stranger's: a run may come from anybody.

Only regular files are read, never through a symbolic link, and never more than a stated size.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from xscale.errors import IntegrityError
from xscale.io.strict_json import parse_object

MOST_JSON = 256 << 20
"""Bytes; 200,000 cameras take a tenth of it."""
_CHECKSUM = "crc"


@contextmanager
def open_own(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises:
        FileNotFoundError: It does not exist.
        IntegrityError: It is a link, a pipe, a device or a folder, or it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.EMLINK)
        what = "is a symbolic link" if link else f"cannot be read: {error.strerror}"
        raise IntegrityError(what, where=path, advice=_ADVICE) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise IntegrityError("is not a regular file", where=path, advice=_ADVICE)
    with os.fdopen(handle, "rb") as file:
        try:
            yield file
        except OSError as error:
            raise IntegrityError(
                f"cannot be read: {error.strerror or error}", where=path, advice=_ADVICE
            ) from error


_ADVICE = "restore the folder from a copy"


def read_own(path: Path, most: int = MOST_JSON) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        FileNotFoundError: It does not exist.
        IntegrityError: It is too large, or as ``open_own``.
    """
    with open_own(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise IntegrityError(f"is larger than {most >> 20} MiB", where=path, advice=_ADVICE)
        return file.read(most + 1)


def read_own_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of ours.

    Raises:
        FileNotFoundError: It does not exist.
        IntegrityError: It is not JSON, not an object, nested too deeply, or as ``read_own``.
    """
    return parse_object(read_own(path), path, IntegrityError, _ADVICE)


def read_own_lines(path: Path, most: int = MOST_JSON) -> list[dict[str, Any]]:
    """Return the JSON objects of a log, one a line; empty where the log does not exist.

    A line that is not an object is left out: a killed writer leaves the last one torn.

    Raises:
        IntegrityError: As ``read_own``.
    """
    return [line for line in _lines(path, most) if line is not None]


def checked_line(values: Mapping[str, Any]) -> str:
    """Return the line of a log that says ``values``, with a checksum as its last key ``crc``."""
    return json.dumps({**values, _CHECKSUM: _checksum(values)})


def read_checked_lines(
    path: Path, most: int = MOST_JSON
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Return the good lines of a log whose lines were made by ``checked_line``.

    Lines without a checksum, as older versions wrote them, count as good.

    Args:
        path: The log; it need not exist.
        most: Bytes that it may have.

    Returns:
        The lines, without their checksums, and the numbers of those that are torn or damaged,
        counted from 1.

    Raises:
        IntegrityError: As ``read_own``.
    """
    good, damaged = [], []
    for number, line in enumerate(_lines(path, most), 1):
        if line is None or line.pop(_CHECKSUM, _checksum(line)) != _checksum(line):
            damaged.append(number)
        else:
            good.append(line)
    return good, tuple(damaged)


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps({k: v for k, v in values.items() if k != _CHECKSUM}).encode())


def _lines(path: Path, most: int) -> Iterator[dict[str, Any] | None]:
    """Yield the object of each line of a log; None for a line that is not one."""
    try:
        data = read_own(path, most)
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else None

"""Files that xscale wrote, read back as carefully as a stranger's: a run may come from anybody.

Only regular files are read, never through a symbolic link, and never more than a stated size.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from xscale.errors import IntegrityError
from xscale.io.strict_json import parse_object

MOST_JSON = 256 << 20
"""Bytes; 200,000 cameras take a tenth of it."""


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
    try:
        data = read_own(path, most)
    except FileNotFoundError:
        return []
    found = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found

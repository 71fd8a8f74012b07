"""A photo's file on its drive: read with retries, and checked for changes.

Network drives fail for a moment and recover: what they raise is tried again before the photo is
given up. A file that changes during a run would train two scenes at once: a mark of it is taken
when the scene is opened and compared at every reading.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from xscale.errors import StorageError, UnreadablePhotoError

PAUSES = (0.2, 1.0, 5.0)
"""Seconds before each new try."""
EDGE = 1 << 16
"""Bytes at a file's beginning and end that its mark holds."""
_PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.EAGAIN,
    errno.ETIMEDOUT,
    errno.EREMOTEIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENETRESET,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}
_MOST_LOST = 3
_WINDOW = 60.0
_lost: deque[float] = deque(maxlen=_MOST_LOST + 1)

Result = TypeVar("Result")


class Mark(NamedTuple):
    """Fingerprint that tells a file from a later one of the same name."""

    size: int
    modified: int
    """Nanoseconds."""
    digest: bytes
    """Hash of the first and the last 64 KiB."""


def mark_from(status: os.stat_result, head: bytes, tail: bytes) -> Mark:
    """Return the mark of a file, given its first and last ``EDGE`` bytes."""
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(tail)
    return Mark(status.st_size, status.st_mtime_ns, digest.digest())


def mark_of(path: Path) -> Mark:
    """Read a file's mark; OSError where it cannot be read."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        head = file.read(EDGE)
        file.seek(max(0, status.st_size - EDGE))
        return mark_from(status, head, file.read(EDGE))


def is_passing(error: BaseException) -> bool:
    """Tell whether an error is of the drive or the network and may be gone at the next try."""
    return isinstance(error, OSError) and error.errno in _PASSING


def with_retries(read: Callable[[], Result], path: Path) -> Result:
    """Read something of a photo, several times where the drive fails.

    Raises:
        UnreadablePhotoError: It failed at every try.
        StorageError: So did other photos just now: it is not the photo.
    """
    for pause in (*PAUSES, None):
        try:
            return read()
        except OSError as error:
            if not is_passing(error):
                raise
            if pause is None:
                raise lost(path, os.strerror(error.errno or 0)) from error
        time.sleep(pause)
    raise lost(path, "no try was made")


def lost(path: Path, reason: str) -> UnreadablePhotoError:
    """Make the error of a photo that its drive does not give, or raise that of the drive."""
    _lost.append(time.monotonic())
    if len(_lost) > _MOST_LOST and _lost[-1] - _lost[0] < _WINDOW:
        raise StorageError(
            f"could not be read ({reason}), nor could {_MOST_LOST} other photos in the last minute",
            where=path,
            advice="check the drive or the network, then start again",
        )
    return UnreadablePhotoError(
        f"could not be read, at {len(PAUSES) + 1} tries in {sum(PAUSES):.0f} s: {reason}",
        where=path,
        advice="check the drive or copy the photo to another",
    )

"""How much memory this process may still take: every plan and every refusal asks here."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from pathlib import Path

from xscale import cgroups

_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")


def available_bytes() -> int | None:
    """Return the least of what the machine has, its control groups allow and ``ulimit -v`` leaves.

    None where the system says nothing.
    """
    known = [_machine(), cgroups.memory_left(), _address_space()]
    return min((bytes_ for bytes_ in known if bytes_ is not None), default=None)


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library can.

    It keeps freed blocks of up to 32 MB for later: after the preparation of a training these are
    hundreds of megabytes.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _machine() -> int | None:
    """Return what the machine can give without pushing other programs out."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _address_space() -> int | None:
    """Return what a limit of the address space leaves."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        pages = 0
    return max(soft - pages * resource.getpagesize(), 0)

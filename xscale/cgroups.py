"""Control groups of this process: the limits that containers, schedulers and services set.

Both versions are read, and every group above this process's own: each of them limits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60
"""Version 1 writes a number near the largest page count where there is no limit."""


def memory_left() -> int | None:
    """Return how many bytes this process's groups still let it take; None without a limit."""
    left = []
    for folder in _folders("memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.high", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None and most < _NO_LIMIT:
                # Pages of files that nobody has open lately are given back when memory is short.
                left.append(max(most - max(now - _inactive(folder), 0), 0))
    return min(left, default=None)


def cores() -> float | None:
    """Return how many cores' time this process's groups let it take; None without a limit."""
    found = []
    for folder in _folders("cpu"):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            found.append(int(words[0]) / int(words[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and period:
            found.append(quota / period)
    return min(found, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the groups that limit this process, its own first, of both versions."""
    for line in _text(_OWN).splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not names:
            mounts = [_MOUNT, _MOUNT / "unified"]
        elif controller in names.split(","):
            mounts = [_MOUNT / controller, _MOUNT / names]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..", ".")]
        for mount in mounts:
            # A container may show its own group as the mount itself, under the name it has outside.
            for count in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:count])


def _inactive(folder: Path) -> int:
    words = [line.split() for line in _text(folder / "memory.stat").splitlines()]
    found = {word[0]: int(word[1]) for word in words if len(word) == 2 and word[1].isdigit()}
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""

"""Power losses: every state of a folder that a disk may be left with at any moment.

What a flush has not covered may be missing, torn at sectors, or zero; names that the folder's flush
has not covered may be the old or the new ones, each for itself. That is what POSIX promises, and
less than most file systems keep.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_SECTOR = 512
_CALLS = ("fsync", "rename", "unlink", "mkdir", "rmdir")


@dataclass
class Moment:
    """What is on the disk for certain, and what may be, before one call."""

    flushed: dict[int, bytes]
    """Contents by inode as of its last flush."""
    current: dict[int, bytes]
    """Contents by inode as programs see them."""
    old_names: dict[str, int]
    """Inodes by name as of their folder's last flush."""
    names: dict[str, int]
    """Inodes by name as programs see them."""
    returned: object
    """What was promised to be kept by then (``Recorder.promise``)."""

    def write(self, folder: Path, seed: int) -> None:
        """Make one of the states that a power loss may leave here, in an empty folder."""
        chance = random.Random(seed)
        for name in sorted({**self.old_names, **self.names}):
            before, after = self.old_names.get(name), self.names.get(name)
            inode = chance.choice((before, after))
            if inode is None:
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._contents(inode, chance))

    def _contents(self, inode: int, chance: random.Random) -> bytes:
        old, new = self.flushed.get(inode, b""), self.current.get(inode)
        if new is None or old == new or chance.random() < 0.3:
            return old
        # What was flushed and is not cut off since stays: a file that grew holds it.
        ends = sorted((len(old), len(new)))
        size = chance.choice((*ends, chance.randint(*ends)))
        made = bytearray(old[:size].ljust(size, b"\0"))
        for first in range(0, size, _SECTOR):
            if chance.random() < 0.5:
                made[first : first + _SECTOR] = new[first : min(first + _SECTOR, size)]
        return bytes(made)


@dataclass
class Recorder:
    """Moments of a folder, one before each call that changes names or flushes."""

    root: Path
    moments: list[Moment] = field(default_factory=list)
    promised: object = None
    _flushed: dict[int, bytes] = field(default_factory=dict)
    _old_names: dict[str, int] = field(default_factory=dict)
    _held: dict[int, BinaryIO] = field(default_factory=dict)

    def promise(self, value: object) -> None:
        """Note what must be kept from now on."""
        self.promised = value

    def moment(self) -> None:
        """Note the state as it is now."""
        names, current = {}, {}
        for path in self.root.rglob("*"):
            if path.is_file():
                inode = path.stat().st_ino
                names[str(path.relative_to(self.root))] = inode
                current[inode] = path.read_bytes()
                if inode not in self._held:
                    # A file that is open keeps its number: no other gets it.
                    self._held[inode] = path.open("rb")
        found = Moment(dict(self._flushed), current, dict(self._old_names), names, self.promised)
        self.moments.append(found)

    def close(self) -> None:
        """Let the files go."""
        for handle in self._held.values():
            handle.close()

    def flushed(self, handle: int) -> None:
        """Take in that a file or a folder has reached the disk."""
        path = _path_of(handle)
        if path.is_dir():
            inside = path.relative_to(self.root)
            now = {
                str(entry.relative_to(self.root)): entry.stat().st_ino
                for entry in path.iterdir()
                if entry.is_file()
            }
            others = {n: i for n, i in self._old_names.items() if Path(n).parent != inside}
            self._old_names = {**others, **now}
        elif path.exists():
            # Without a change of the place: the file may be read by others.
            self._flushed[os.fstat(handle).st_ino] = path.read_bytes()


def _path_of(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


@contextmanager
def recorded(root: Path, patch: Callable[[object, str, object], None]) -> Iterator[Recorder]:
    """Record the moments of a folder while the block runs.

    Args:
        root: The folder.
        patch: As ``monkeypatch.setattr``.
    """
    recorder = Recorder(root)
    true = {name: getattr(os, name) for name in _CALLS}

    def watched(name: str) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            first = arguments[0]
            path = _path_of(first) if name == "fsync" else Path(os.fsdecode(first))
            inside = path.is_relative_to(root)
            if inside:
                recorder.moment()
            found = true[name](*arguments, **options)
            if inside and name == "fsync":
                recorder.flushed(first)
            return found

        return call

    for name in _CALLS:
        patch(os, name, watched(name))
    try:
        yield recorder
    finally:
        for name in _CALLS:
            patch(os, name, true[name])
        recorder.moment()
        recorder.close()


def states(recorder: Recorder, scratch: Path, each: int) -> Iterator[tuple[Moment, Path]]:
    """Yield states after a power loss, so many for each moment, in a folder that is used again."""
    for k, moment in enumerate(recorder.moments):
        for seed in range(each):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            moment.write(scratch, 1000 * k + seed)
            yield moment, scratch

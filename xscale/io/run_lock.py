"""The lock of a folder that one process at a time writes into."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from xscale.errors import BusyError, StorageError
from xscale.io.system_errors import as_storage_error


class RunLock:
    """Ownership of a run folder, as a context manager.

    The kernel holds the lock and frees it when the process ends, however it ends. The text in the
    file is for people. The file is never deleted: that would let two processes lock two files.

    Args:
        folder: The run folder; it must exist.

    Raises:
        BusyError: Another process holds it (on entering).
        StorageError: The lock file cannot be opened (on entering).
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        with as_storage_error(self.path, "lock"):
            # Never through a link: the file is truncated below.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(self.path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise StorageError(
                "is not a regular file", where=self.path, advice="remove it and try again"
            )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(handle)
            os.close(handle)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BusyError(
                    f"is in use by process {owner.get('pid', '?')} on {owner.get('host', '?')} "
                    f"since {owner.get('since', '?')}",
                    where=self.path.parent,
                    advice="wait for it, stop it, or choose another folder",
                ) from error
            raise StorageError(
                f"could not lock: {error.strerror}",
                where=self.path,
                advice="this file system has no locks: choose a local folder",
            ) from error
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self._handle = handle
        # Words about the owner are not worth failing for when the disk is full.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, (json.dumps(owner) + "\n").encode(), 0)
        return self

    def check(self) -> None:
        """Make sure that the folder is the one that was locked.

        Raises:
            StorageError: It was moved, removed or replaced since.
        """
        if self._handle is None:
            return
        mine = os.fstat(self._handle)
        try:
            there = self.path.lstat()
        except OSError:
            there = None
        if there is not None and os.path.samestat(mine, there):
            return
        with suppress(OSError):
            now = Path(f"/proc/self/fd/{self._handle}").readlink().parent
            if mine.st_nlink and now.is_dir():
                raise StorageError(
                    "the folder was moved while it was written into",
                    where=self.path.parent,
                    advice=f"it is {now} now: continue there",
                )
        raise StorageError(
            "the folder was removed or replaced while it was written into",
            where=self.path.parent,
            advice="leave it in place and begin again",
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _owner(handle: int) -> dict[str, object]:
    """Read what the holder of a lock wrote about itself; empty where that is not readable."""
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}

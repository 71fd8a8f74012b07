"""Temporary files and folders beside their final names: made, locked, and taken over.

Their names follow from the final ones, so that what a killed writer left is found and used by the
next writer. A lock, which the kernel frees with its process, tells a living writer's files from a
dead one's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def temporary_name(path: Path) -> Path:
    """Return the name beside ``path`` under which it is written; no reader takes it for a result.

    It is always the same, so that what a killed writer left is found by the next one.
    """
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name[:100]}.part")


def _another(temporary: Path) -> Path:
    """Return a name of its own for a second writer of a file."""
    return temporary.with_name(f"{temporary.name}-{secrets.token_hex(4)}")


def temporary_file(path: Path) -> tuple[Path, int]:
    """Make the file under which ``path`` is written; return it with its handle, which is locked.

    The lock tells a living writer's file from one that a killed writer left, which is taken over.
    """
    temporary = temporary_name(path)
    try:
        handle = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        with suppress(OSError):  # a link, a folder, somebody else's: another name is free
            handle = os.open(temporary, _FLAGS)
            if _is_taken(handle, temporary):
                return temporary, handle
            os.close(handle)
    else:
        if _is_locked(handle):
            return temporary, handle
        os.close(handle)  # another writer has taken it for one that was left
    temporary = _another(temporary)
    return temporary, os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)


def _is_locked(handle: int) -> bool:
    """Lock a file of our own making; true also where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_taken(handle: int, temporary: Path) -> bool:
    """Lock a temporary file and empty it; false where it is or may be another writer's."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(handle)
        # Between opening and locking it may have been published: then it is not to be touched.
        same = stat.S_ISREG(found.st_mode) and os.path.samestat(found, temporary.lstat())
        if same and found.st_nlink > 1:  # published, and killed before this name was removed
            temporary.unlink()
        if not same or found.st_nlink > 1:
            return False
        if found.st_size:
            os.ftruncate(handle, 0)
    except OSError:
        return False
    return True


def temporary_folder(path: Path, *, keep: bool = False) -> tuple[Path, int]:
    """Make the folder under which ``path`` is written; return it with its handle, which is locked.

    Args:
        path: The final name.
        keep: Whether what a killed writer left in it stays; it is removed otherwise.
    """
    temporary = temporary_name(path)
    with suppress(OSError):
        temporary.mkdir(exist_ok=True)
        handle = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), temporary.lstat()):
                if not keep:
                    _empty(temporary)
                return temporary, handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
    temporary = _another(temporary)
    temporary.mkdir()
    return temporary, os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def remove_temporary(folder: Path) -> None:
    """Remove a temporary folder; what cannot be removed is left to the next writer of the name."""
    for _ in range(2):  # storage that fails now and then
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return


def _empty(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

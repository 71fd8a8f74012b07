"""The only module that writes, renames or removes files; :mod:`xscale.io.run_lock` locks them.

A file appears whole under its final name or not at all: it is written to a temporary name in the
same folder, flushed to the disk, published by a rename (which refuses an existing name unless it is
asked to replace it), and the folder is flushed too. Only then does the call return. An
error before publishing removes the temporary file and leaves an older file as it was.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from xscale.errors import UnsafePathError
from xscale.io.system_errors import as_storage_error, name_taken
from xscale.io.temporaries import (
    TEMPORARY_PREFIX,
    remove_temporary,
    temporary_file,
    temporary_folder,
    temporary_name,
)

_AT_CWD = -100
_RENAME_NOREPLACE = 1
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def sync_folder(folder: Path) -> None:
    """Make names in ``folder`` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path) -> None:
    """Create a folder and its missing parents, each name flushed in its parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for path in reversed(missing):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def _rename_to_free_name(temporary: Path, path: Path) -> None:
    """Rename a file, but never over another.

    Raises:
        FileExistsError: The name is taken.
        OSError: Any other failure.
    """
    names = os.fsencode(temporary), os.fsencode(path)
    if hasattr(_libc(), "renameat2"):
        if _libc().renameat2(_AT_CWD, names[0], _AT_CWD, names[1], _RENAME_NOREPLACE) == 0:
            return
        error = ctypes.get_errno()
        if error not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(error, os.strerror(error), str(path))
    # File systems without that (some network mounts): a hard link refuses a taken name too.
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Nor with links (exFAT): nothing there refuses in one step.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        temporary.rename(path)
    else:
        with suppress(OSError):  # the next writer of this name finds it
            temporary.unlink()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give a flushed file its final name, in one step that another writer cannot get between.

    Where it could not be made to survive a power loss it is taken back, unless it has replaced
    another.
    """
    if overwrite:
        temporary.rename(path)
    else:
        _rename_to_free_name(temporary, path)
    try:
        sync_folder(path.parent)
    except OSError:
        if not overwrite:
            with suppress(OSError):
                path.unlink()
        raise


@contextmanager
def open_atomic(path: str | Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under ``path`` only when the block ends well.

    Missing parent folders are made. The handle is binary and can seek.

    Args:
        path: The final name.
        overwrite: Replace an existing file (by rename) instead of refusing.

    Raises:
        OutputExistsError: The name is taken and ``overwrite`` is false.
        StorageError: The disk is full, the folder is not writable, or the like.
    """
    path = Path(path)
    with as_storage_error(path, "write"):
        if not overwrite and os.path.lexists(path):
            raise name_taken(path)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        make_folders(path.parent)
        temporary, lock = temporary_file(path)
    try:
        with as_storage_error(path, "write"):
            # The lock lasts until the file has its name: it belongs to both handles.
            with os.fdopen(os.dup(lock), "w+b") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            _publish(temporary, path, overwrite)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(lock)


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Lend a temporary name to a library that only writes by name; errors of `open_atomic`.

    Yields:
        A path of the same name in a folder beside it; the block must make the file.
    """
    path = Path(path)
    with as_storage_error(path, "write"):
        if not overwrite and os.path.lexists(path):
            raise name_taken(path)
        make_folders(path.parent)
        folder, lock = temporary_folder(path)
    temporary = folder / path.name
    try:
        with as_storage_error(path, "write"):
            yield temporary
            handle = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            _publish(temporary, path, overwrite)
    finally:
        remove_temporary(folder)
        os.close(lock)


def write_bytes(path: str | Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a whole file atomically; errors as for :func:`open_atomic`."""
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(data)


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """Write a whole UTF-8 text file atomically; errors as for :func:`open_atomic`."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), overwrite=overwrite)


def write_json(path: str | Path, value: object, *, overwrite: bool = False) -> None:
    """Write ``value`` as indented JSON, keys in their order; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    write_text(path, text + "\n", overwrite=overwrite)


def place_file(source: str | Path, path: str | Path, *, link: bool = False) -> None:
    """Copy a user's file to a new name, or make a symbolic link to it there.

    Raises:
        OutputExistsError: The name is taken.
        StorageError: The file cannot be read, or the copy not be written.
    """
    source, path = Path(source), Path(path)
    if not link:
        with as_storage_error(source, "copy"), source.open("rb") as file, open_atomic(path) as out:
            shutil.copyfileobj(file, out, 1 << 20)
        return
    with as_storage_error(path, "link"):
        make_folders(path.parent)
        path.symlink_to(source.resolve())
        sync_folder(path.parent)


def new_folder(path: str | Path) -> Path:
    """Make a folder, parents included, that holds nothing yet.

    Raises:
        OutputExistsError: The name is a file, or a folder that is not empty.
        StorageError: It cannot be made.
    """
    path = Path(path)
    with as_storage_error(path, "make the folder"):
        if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
            raise name_taken(path)
        make_folders(path)
    return path


def free_bytes(path: str | Path) -> int | None:
    """Return the room on the disk where a path is or would be; None where that is not known."""
    there = Path(path).resolve()
    for folder in (there, *there.parents):
        if folder.is_dir():
            with suppress(OSError):
                return shutil.disk_usage(folder).free
            return None
    return None


def refuse_link(path: str | Path) -> None:
    """Refuse a symbolic link where a folder of ours is expected: it may lead anywhere.

    Raises:
        UnsafePathError: It is a link.
    """
    if Path(path).is_symlink():
        raise UnsafePathError(
            "is a symbolic link, which would be followed out of the folder",
            where=path,
            advice="remove the link, or give --out with the folder that it leads to",
        )


def make_folder(path: str | Path) -> Path:
    """Make a folder, parents included; it may be there already. StorageError if it cannot be."""
    path = Path(path)
    with as_storage_error(path, "make the folder"):
        make_folders(path)
    return path


def remove_file(path: str | Path) -> None:
    """Remove a file; it may be gone already."""
    path = Path(path)
    with as_storage_error(path, "remove"):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)


def remove_folder(path: str | Path) -> None:
    """Remove a folder with all that is in it, at once under its name; it may be gone already."""
    path = Path(path)
    with as_storage_error(path, "remove"):
        if path.is_dir():
            temporary = temporary_name(path)
            remove_temporary(temporary)
            path.rename(temporary)
            shutil.rmtree(temporary)
            sync_folder(path.parent)


def clean_temporaries(folder: str | Path) -> list[str]:
    """Remove what a killed writer left directly in ``folder``; return the names removed.

    Only for folders whose lock the caller holds: a living writer's files look the same.
    """
    folder = Path(folder)
    removed = []
    with as_storage_error(folder, "clean up"):
        if folder.is_dir():
            for path in sorted(folder.glob(TEMPORARY_PREFIX + "*")):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                removed.append(path.name)
    return removed


def _check_regular(handle: int) -> None:
    """Refuse pipes and devices: what is written there is not kept."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def append_line(path: str | Path, text: str, *, sync: bool = False) -> None:
    """Add one line to a log with a single write, so that readers never see half of two lines.

    With ``sync`` it has reached the disk when the call returns.

    A last line without its end, left by a killed writer, is closed first.

    Raises:
        StorageError: It could not be written whole.
    """
    path = Path(path)
    line = text.rstrip("\n").encode("utf-8", "surrogateescape") + b"\n"
    with as_storage_error(path, "append"):
        new = not path.exists()
        if new:
            make_folders(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(path, flags, 0o666)
        try:
            _check_regular(handle)
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(handle)
                if new:
                    sync_folder(path.parent)
        finally:
            os.close(handle)

"""The only module that writes, renames or removes files; :mod:`xscale.io.run_lock` locks them.

A file appears whole under its final name or not at all: it is written to a temporary name in the
same folder, flushed to the disk, published by a hard link (which refuses an existing name) or by
a rename (which replaces it), and the folder is flushed too. Only then does the call return. An
error before publishing removes the temporary file and leaves an older file as it was.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from xscale.errors import UnsafePathError
from xscale.io.system_errors import as_storage_error, name_taken

TEMPORARY_PREFIX = ".tmp-"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def _sync_folder(folder: Path) -> None:
    """Make names in ``folder`` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folders(folder: Path) -> None:
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
        _sync_folder(path.parent)


def _temporary(path: Path) -> Path:
    """Return a fresh name beside ``path`` that no reader takes for a result."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name[:100]}-{secrets.token_hex(4)}")


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give a flushed file its final name, in one step that another writer cannot get between."""
    if overwrite:
        temporary.rename(path)
    else:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # File systems without hard links (exFAT, some network mounts): no atomic refusal.
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            temporary.rename(path)
        else:
            temporary.unlink()
    _sync_folder(path.parent)


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
        _make_folders(path.parent)
        temporary = _temporary(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.fdopen(os.open(temporary, flags, 0o666), "w+b")
    try:
        with as_storage_error(path, "write"):
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            _publish(temporary, path, overwrite)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Lend a temporary name to a library that only writes by name; errors of `open_atomic`.

    Yields:
        A fresh path in the same folder, with the same ending; the block must make the file.
    """
    path = Path(path)
    with as_storage_error(path, "write"):
        if not overwrite and os.path.lexists(path):
            raise name_taken(path)
        _make_folders(path.parent)
        temporary = _temporary(path)
        temporary = temporary.with_name(temporary.name + path.suffix)
    try:
        with as_storage_error(path, "write"):
            yield temporary
            handle = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            _publish(temporary, path, overwrite)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
        _make_folders(path.parent)
        path.symlink_to(source.resolve())
        _sync_folder(path.parent)


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
        _make_folders(path)
    return path


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
        _make_folders(path)
    return path


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a temporary folder that gets its final name, flushed, when the block ends well.

    Args:
        path: The final name of the folder.
        overwrite: Replace an existing folder. It is moved aside first, so for a moment neither
            the old nor the new one has the name.

    Yields:
        The temporary folder; write into it with plain names.

    Raises:
        OutputExistsError: The name is taken and ``overwrite`` is false.
        StorageError: It cannot be written.
    """
    path = Path(path)
    with as_storage_error(path, "write the folder"):
        if not overwrite and os.path.lexists(path):
            raise name_taken(path)
        _make_folders(path.parent)
        temporary = _temporary(path)
        temporary.mkdir()
    old = None
    try:
        yield temporary
        with as_storage_error(path, "publish the folder"):
            _sync_tree(temporary)
            if overwrite and os.path.lexists(path):
                old = _temporary(path)
                path.rename(old)
            elif os.path.lexists(path):
                raise name_taken(path)
            temporary.rename(path)
            _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old is not None and not os.path.lexists(path):
            with suppress(OSError):
                old.rename(path)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Flush every file and folder under ``folder`` to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            if (Path(root) / name).is_symlink():
                continue
            handle = os.open(Path(root) / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        _sync_folder(Path(root))


def remove_file(path: str | Path) -> None:
    """Remove a file; it may be gone already."""
    path = Path(path)
    with as_storage_error(path, "remove"):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync_folder(path.parent)


def remove_folder(path: str | Path) -> None:
    """Remove a folder with all that is in it, at once under its name; it may be gone already."""
    path = Path(path)
    with as_storage_error(path, "remove"):
        if path.is_dir():
            temporary = _temporary(path)
            path.rename(temporary)
            shutil.rmtree(temporary)
            _sync_folder(path.parent)


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
        if not path.exists():
            _make_folders(path.parent)
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
        finally:
            os.close(handle)

"""Folders and sets of files that appear whole or not at all; part of :mod:`xscale.io.storage`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xscale.io.storage import make_folders, sync_folder
from xscale.io.system_errors import as_storage_error, name_taken
from xscale.io.temporaries import remove_temporary, temporary_folder, temporary_name

_LIST = ".names"


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
    older = path.with_name(f"{temporary_name(path).name}~")
    with as_storage_error(path, "write the folder"):
        if os.path.lexists(older):  # a writer was killed while neither had the name, or after
            if os.path.lexists(path):
                shutil.rmtree(older)
            else:
                older.rename(path)
        if not overwrite and os.path.lexists(path):
            raise name_taken(path)
        make_folders(path.parent)
        temporary, lock = temporary_folder(path)
    old = None
    try:
        yield temporary
        with as_storage_error(path, "publish the folder"):
            _sync_tree(temporary)
            if overwrite and os.path.lexists(path):
                old = older
                path.rename(old)
            elif os.path.lexists(path):
                raise name_taken(path)
            temporary.rename(path)
            sync_folder(path.parent)
    except BaseException:
        remove_temporary(temporary)
        if old is not None and not os.path.lexists(path):
            with suppress(OSError):
                old.rename(path)
        raise
    finally:
        os.close(lock)
    if old is not None:
        remove_temporary(old)


@contextmanager
def atomic_files(main: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Lend a folder for several files that get their final names together, ``main`` last.

    A writer that is killed while they get their names leaves a list; :func:`take_back` or the next
    writer of ``main`` removes what it names.

    Args:
        main: The file that the others belong to; all go into its folder.
        overwrite: Replace existing files.

    Yields:
        The folder; write into it with final names.

    Raises:
        OutputExistsError: A name is taken and ``overwrite`` is false.
        StorageError: They cannot be written.
    """
    main = Path(main)
    take_back(main)
    with as_storage_error(main, "write"):
        if not overwrite and os.path.lexists(main):
            raise name_taken(main)
        make_folders(main.parent)
        folder, lock = temporary_folder(main)
    try:
        yield folder
        names = sorted(
            (path.name for path in folder.iterdir()), key=lambda name: (name == main.name, name)
        )
        with as_storage_error(main, "write"):
            for name in names if not overwrite else ():
                if os.path.lexists(main.with_name(name)):
                    raise name_taken(main.with_name(name))
            marks = {name: _mark(folder / name) for name in names}
            (folder / _LIST).write_text(json.dumps(marks), encoding="utf-8")
            _sync_tree(folder)
            sync_folder(main.parent)
            for name in names:
                (folder / name).rename(main.with_name(name))
            sync_folder(main.parent)
    except BaseException:
        with suppress(OSError):
            _take_back(main, folder)
        raise
    finally:
        remove_temporary(folder)
        os.close(lock)


def take_back(main: str | Path) -> None:
    """Remove the files that a killed writer of ``main`` had already given their names.

    Raises:
        StorageError: They cannot be removed.
    """
    main = Path(main)
    folder = temporary_name(main)
    if (folder / _LIST).is_file():
        with as_storage_error(main, "clean up"):
            folder, lock = temporary_folder(main, keep=True)
            try:
                _take_back(main, folder)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _take_back(main: Path, folder: Path) -> None:
    """Remove published files that a list in ``folder`` names and that are still the same."""
    try:
        marks = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for name, mark in marks.items() if isinstance(marks, dict) else ():
        path = main.with_name(Path(name).name)
        moved = os.path.lexists(path) and not os.path.lexists(folder / path.name)
        if moved and _mark(path) == mark:
            path.unlink()


def _mark(path: Path) -> list[int]:
    """Return what tells a file from any other that has its name."""
    found = path.lstat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]


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
        sync_folder(Path(root))

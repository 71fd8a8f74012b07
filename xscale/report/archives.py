"""Files of other programs: a folder, a zip or a tar, read one file at a time, never unpacked."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xscale.errors import InputError, LimitError, UnsafePathError

Read = Callable[[str], bytes]

_MOST_FILES = 200_000
_MOST_FILE = 1 << 30
_MOST_RATIO = 1000
"""Bytes that a byte of an archive may become: flat pictures stay below it."""
_LEAST = 1024
_TORN = (
    OSError, EOFError, LookupError, RuntimeError, ValueError,
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""Errors that Python's readers raise for archives that are torn, encrypted or of another kind."""


def opened(source: Path) -> tuple[list[str], Read]:
    """Return the names of the files in a folder or an archive, and what reads one.

    Raises:
        InputError: It cannot be read.
        UnsafePathError: An archive has absolute names, ``..`` or links.
        LimitError: It is made to fill the memory, or to be read for ever.
    """
    if source.is_dir():
        files = [p.relative_to(source).as_posix() for p in sorted(source.rglob("*")) if p.is_file()]
        _check_count(source, len(files))
        return files, lambda name: _read_file(source / name)
    if not source.exists():
        raise InputError(
            "does not exist", where=source, advice="--pred takes a folder or an archive"
        )
    with _as_input_error(source):
        if source.is_file() and zipfile.is_zipfile(source):
            return _zip(source)
        if source.is_file() and tarfile.is_tarfile(source):
            return _tar(source)
    raise InputError(
        "is not a folder, a zip or a tar archive",
        where=source,
        advice="--pred takes a folder or an archive",
    )


@contextmanager
def _as_input_error(where: object) -> Iterator[None]:
    try:
        yield
    except (InputError, UnsafePathError, LimitError):
        raise
    except _TORN as error:
        raise InputError(
            f"cannot be read: {error}", where=where, advice="make the archive again"
        ) from error


def _read_file(path: Path) -> bytes:
    with _as_input_error(path):
        if path.stat().st_size > _MOST_FILE:
            raise LimitError("is larger than 1 GiB", where=path, advice="check the file")
        return path.read_bytes()


def _zip(source: Path) -> tuple[list[str], Read]:
    with zipfile.ZipFile(source) as archive:
        entries = [info for info in archive.infolist() if not info.is_dir()]
    sizes = _Sizes(source)
    for info in entries:
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _link(source, info.filename)
        sizes.add(info.filename, info.file_size, info.compress_size)

    def read(name: str) -> bytes:
        with (
            _as_input_error(f"{source}: {name}"),
            zipfile.ZipFile(source) as archive,
            archive.open(name) as file,
        ):
            return _limited(file.read(_MOST_FILE + 1), source, name)

    return [info.filename for info in entries], read


class _Tar:
    """A tar that stays open: packed ones are read forwards, and going back reads all again."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.members: dict[str, tarfile.TarInfo] = {}

    def __del__(self) -> None:
        self.archive.close()


def _tar(source: Path) -> tuple[list[str], Read]:
    tar = _Tar(tarfile.open(source))  # noqa: SIM115
    packed, names = source.stat().st_size, []
    sizes = _Sizes(source)
    for member in tar.archive:
        if member.isdir():
            continue
        if not member.isfile():
            raise _link(source, member.name)
        sizes.add(member.name, member.size, packed)
        names.append(member.name)
        tar.members[member.name] = member

    def read(name: str) -> bytes:
        with _as_input_error(f"{source}: {name}"):
            file = tar.archive.extractfile(tar.members[name])
            return _limited(b"" if file is None else file.read(_MOST_FILE + 1), source, name)

    return names, read


def _link(source: Path, name: str) -> UnsafePathError:
    return UnsafePathError(
        f"{name!r} is a link or a device", where=source, advice="archives may hold plain files only"
    )


class _Sizes:
    """Names and sizes of an archive's entries, each checked before anything is unpacked."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._most = _MOST_RATIO * max(source.stat().st_size, _LEAST)
        self._total = 0
        self._count = 0

    def add(self, name: str, size: int, packed: int) -> None:
        """Check an entry.

        Raises:
            UnsafePathError: Its name leads out of the archive.
            LimitError: It, or all together, would take far more than the archive.
        """
        self._count += 1
        _check_count(self._source, self._count)
        path = PurePosixPath(name.replace("\\", "/"))
        leads_out = path.is_absolute() or ".." in path.parts or "\0" in name
        if not path.parts or leads_out or ":" in path.parts[0]:
            raise UnsafePathError(
                f"entry {name!r} leads out of the archive", where=self._source,
                advice="make it again",
            )  # fmt: skip
        self._total += size
        if size > min(_MOST_FILE, _MOST_RATIO * max(packed, _LEAST)) or self._total > self._most:
            raise LimitError(
                f"entry {name!r} would take {size >> 20} MiB", where=self._source,
                advice="it is damaged or made to fill the memory",
            )  # fmt: skip


def _check_count(source: Path, count: int) -> None:
    if count > _MOST_FILES:
        raise LimitError(f"holds more than {_MOST_FILES} files", where=source, advice="check it")


def _limited(data: bytes, source: Path, name: str) -> bytes:
    if len(data) > _MOST_FILE:
        raise LimitError(f"entry {name!r} is larger than 1 GiB", where=source, advice="check it")
    return data

"""Names that come from files: they stay below one folder, whatever the file says."""

from __future__ import annotations

from pathlib import PurePosixPath

from xscale.errors import UnsafePathError


def safe_name(name: str, where: object) -> str:
    """Return a name, folders included, that stays below the folder it is relative to.

    Raises:
        UnsafePathError: It is absolute, has ``..`` or is empty.
    """
    path = PurePosixPath(name)
    if not name or "\0" in name or path.is_absolute() or ".." in path.parts or not path.parts:
        raise UnsafePathError(
            f"photo name {name!r} leaves the photo folder",
            where=where,
            advice="names must be relative to the photo folder, without '..'",
        )
    return path.as_posix()


def name_bytes(name: str) -> bytes:
    """Return the bytes by which names are sorted; names need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def png_name(name: str) -> str:
    """Return a photo's name with its last extension replaced by ``.png``, as renders have it."""
    return PurePosixPath(name).with_suffix(".png").as_posix()

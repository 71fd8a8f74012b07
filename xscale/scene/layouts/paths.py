"""Paths that files give for other files: never fetched, never outside of one folder."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from xscale.errors import SceneError, UnsafePathError
from xscale.scene.layouts.views import PHOTO_SUFFIXES

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def is_address(given: str) -> bool:
    """Tell whether a path is an address, which is never fetched."""
    return _SCHEME.match(given) is not None


def path_below(given: str, root: Path, where: object) -> str:
    r"""Return a path as it lies below a folder, with ``/`` and without ``.``.

    Args:
        given: As the file has it: ``./a/b.png``, ``a\b.png``, or absolute and below ``root``.
        root: The folder.
        where: File and field, for the error.

    Raises:
        UnsafePathError: An address, another drive, or a place outside the folder.
    """
    if is_address(given):
        raise UnsafePathError(
            f"{given!r} is an address; files are never fetched",
            where=where,
            advice="download it into the scene folder and give its relative path",
        )
    path = given.replace("\\", "/")
    if path.startswith("/"):
        base = root.resolve().as_posix()
        path = posixpath.relpath(posixpath.normpath(path), base)
    path = posixpath.normpath(path)
    outside = path == ".." or path.startswith("../") or posixpath.isabs(path)
    if outside or _DRIVE.match(given) or path == "." or "\0" in given:
        raise UnsafePathError(
            f"{given!r} is not a file below the scene folder",
            where=where,
            advice="give the folder that holds the photos by --images, or write paths relative to "
            "the scene folder",
        )
    return path


def with_suffix(name: str, folder: Path, where: object) -> str:
    """Return the name of a photo, with the ending it has on the disk where the file leaves it out.

    Raises:
        SceneError: Several endings fit.
    """
    if Path(name).suffix.lower() in PHOTO_SUFFIXES or (folder / name).is_file():
        return name
    endings = [form for suffix in PHOTO_SUFFIXES for form in (suffix, suffix.upper())]
    fits = [name + ending for ending in endings if (folder / (name + ending)).is_file()]
    if len(fits) > 1:
        raise SceneError(
            f"{name} could be {' or '.join(fits)}",
            where=where,
            advice="remove one of them, or write the name with its ending",
        )
    return fits[0] if fits else name

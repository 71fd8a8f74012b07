"""What a layout reader hands over: posed views by name, before photos are looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from xscale.errors import UnsafePathError


@dataclass(frozen=True, eq=False)
class View:
    """One photo's camera as the file gives it."""

    name: str
    """Path relative to the photo folder, with ``/``."""
    where: str
    """File and record, for errors."""
    model: str
    """COLMAP's name of the camera model."""
    K: np.ndarray
    """float64 [3, 3], in the file's pixel convention."""
    R: np.ndarray
    """float64 [3, 3], camera from world."""
    t: np.ndarray
    """float64 [3]."""
    distortion: np.ndarray
    """float64 [n]."""
    size: tuple[int, int] | None
    """(width, height) that K refers to; None where the file does not say: the photo's own."""


@dataclass
class Reading:
    """Everything a layout says about a scene."""

    layout: str
    reason: str
    """Why the folder was taken for this layout, for people."""
    photo_folder: Path
    views: list[View]
    points: np.ndarray | None = None
    """float64 [P, 3] sparse points in the scene's frame, where the layout has them."""
    warnings: list[str] = field(default_factory=list)


def safe_name(name: str, where: object) -> str:
    """Return a photo name that stays inside the photo folder.

    Raises:
        UnsafePathError: It is absolute, has ``..`` or is no name at all.
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
    """Return the bytes by which photos are sorted."""
    return os.fsencode(name)


def some(names: list[str], shown: int = 3) -> str:
    """List the first few names and say how many more there are."""
    head = ", ".join(names[:shown])
    return head if len(names) <= shown else f"{head} and {len(names) - shown} more"

"""Result of a layout reader: posed views by name, before photos are looked at."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xscale.errors import SceneError
from xscale.io.names import name_bytes
from xscale.scene.checks.conventions import Convention

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".exr")
"""Endings of photos, in lower case; missing endings are tried in this order."""

Observations = dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]
"""By photo name: keypoints float64 [N, 2] in pixels of the model's camera, the points they show
float64 [N, 3] in the scene's frame, and that camera's (width, height)."""


@dataclass(frozen=True)
class Choice:
    """The user's choices for reading a scene; None is for the reader to find."""

    scale: float | None = None
    """The k of ``images_{k}``."""
    colmap_model: str | None = None
    """Which of several COLMAP models: its folder below ``sparse/``, or one of its files."""
    cameras: Path | None = None
    """The file (or folder) with the cameras, wherever it is."""
    images: Path | None = None
    """The folder that photo names are relative to."""
    missing_size: tuple[int, int] = (1, 1)
    """(width, height) of photos that are missing, where the layout takes sizes from the photos."""


@dataclass(frozen=True, eq=False)
class PhotoView:
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
    mask: Path | None = None
    """Mask file, 0 = left out, where the layout names one."""


@dataclass
class Reading:
    """Everything a layout says about a scene."""

    layout: str
    reason: str
    """Why the folder was taken for this layout, for people."""
    photo_folder: Path
    views: list[PhotoView]
    points: np.ndarray | None = None
    """float64 [P, 3] sparse points in the scene's frame, where the layout has them."""
    warnings: list[str] = field(default_factory=list)
    sightings: Observations = field(default_factory=dict)
    """Where photos saw a few of the sparse points, where the layout says so."""
    observe: Callable[[], Observations] | None = None
    """Reads all of them."""
    provenance: dict[str, object] = field(default_factory=dict)
    """Changes of the file's coordinates, as plain values, for the run's manifest."""
    convention: Convention = "world-to-camera"
    """Meaning of the file's own matrices."""
    frames: list[tuple[str, np.ndarray]] = field(default_factory=list)
    """Frames that the file itself names, in which the mesh may stand: words, and the matrix
    float64 [4, 4] that takes such a mesh into the scene's frame."""
    advice: str | None = None
    """Advice for cameras and mesh that do not meet, where this layout has a usual cause."""


def beginning(path: Path, size: int = 1 << 12) -> bytes:
    """Read the first bytes of a file, by which its kind is recognised.

    Raises:
        SceneError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise SceneError(
            f"cannot be read: {error.strerror}", where=path, advice="check its rights"
        ) from error


def photo_files(folder: Path) -> list[str]:
    """Name every photo below a folder by its path relative to it, sorted by bytes."""
    found = []
    for parent, _, files in os.walk(folder):
        for file in files:
            path = Path(parent) / file
            if path.suffix.lower() in PHOTO_SUFFIXES:
                found.append(path.relative_to(folder).as_posix())
    return sorted(found, key=name_bytes)


def some(names: list[str], shown: int = 3) -> str:
    """List the first few names and say how many more there are."""
    head = ", ".join(names[:shown])
    return head if len(names) <= shown else f"{head} and {len(names) - shown} more"

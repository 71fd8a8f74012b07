"""Bundler's output, ``bundle.out`` with ``list.txt``: also written by RealityCapture and others.

A camera looks along its negative z axis, y is up, and pixels count from the picture's centre; the
distortion ``1 + k1 r^2 + k2 r^4`` is COLMAP's RADIAL. The file holds no names and no picture
sizes: names come from the list beside it, sizes from the photos.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.frames import nearest_rotation
from xscale.geometry.models import BY_NAME, supported_model
from xscale.io.budget import check_growth
from xscale.io.photo.images import image_size
from xscale.scene.layouts.cameras_file import find_cameras, photo_folder
from xscale.scene.layouts.colmap_model import PHOTO_BYTES
from xscale.scene.layouts.colmap_text import integer, lines, parse_number
from xscale.scene.layouts.labels import join_labels, parts_of
from xscale.scene.layouts.views import PHOTO_SUFFIXES, Choice, PhotoView, Reading, beginning, some

LAYOUT = "bundler"
_NO_CHOICE = Choice()
_MAGIC = b"# Bundle file v0.3"
_LISTS = ("list.txt", "{stem}_list.txt", "{stem}.list.txt", "{stem}.txt", "images.txt")
_LARGEST_LIST = 1 << 26
"""Bytes of a text that may be a list under another name."""
_FOCAL_GUESS = re.compile(r"\s+0(\s+[-+0-9.eE]+)?$")
_OPENCV_FROM_OPENGL = np.array([1.0, -1.0, -1.0])
_POINT_BYTES, _NAME_BYTES = 56, 200
"""Most memory that they take."""
_AGAIN = "the file is cut or was edited: export the cameras again"


def _looks_right(path: Path) -> bool:
    return beginning(path).startswith(_MAGIC)


def _file(root: Path, choice: Choice) -> Path | None:
    return find_cameras(root, choice, ("*.out", "bundle/*.out"), _looks_right, "Bundler files")


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} is a Bundler file v0.3"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read cameras and sparse points; cameras without a pose are counted and named.

    Raises:
        CameraError: The file is cut or holds impossible numbers.
        SceneError: The list of photos or a photo is missing.
    """
    path = _file(root, choice)
    if path is None:
        raise SceneError("there is no Bundler file", where=root)
    folder = choice.images or photo_folder(path, root)
    body = _Body(path)
    where, (cameras, points) = body.numbers(2, integer)
    check_growth(cameras * PHOTO_BYTES + points * _POINT_BYTES, path, "its cameras and points")
    labels = _listed(path, cameras, where)
    posed: list[tuple[str, tuple[str, list[float], np.ndarray, np.ndarray]]] = []
    bare = []
    for label in labels:
        here, lens = body.numbers(3)
        rows = [body.numbers(3)[1] for _ in range(4)]
        if lens[0] <= 0:
            bare.append("/".join(parts_of(label)))
            continue
        R = nearest_rotation(np.array(rows[:3]), here)
        flipped = _OPENCV_FROM_OPENGL[:, None] * R
        posed.append((label, (here, lens, flipped, _OPENCV_FROM_OPENGL * rows[3])))
    if not posed:
        raise SceneError("no camera has a pose", where=path, advice="align the photos first")
    positions = array("d")
    for _ in range(points):
        positions.extend(body.point())
    warnings = []
    if bare:
        warnings.append(
            f"W-BUNDLER-CAMERAS: {len(bare)} cameras have no pose and are not used: {some(bare)}"
        )
    if spare := body.spare():
        warnings.append(f"W-BUNDLER-TAIL: {path.name}: {spare} lines after the last point ignored")
    joined = join_labels([label for label, _ in posed], folder, path)
    warnings += joined.warnings
    views = [
        _view(name, image_size(folder / name) if there else choice.missing_size, *camera)
        for (_, camera), name, there in zip(posed, joined.names, joined.found, strict=True)
    ]
    found = np.frombuffer(positions).reshape(-1, 3)
    return Reading(
        LAYOUT,
        detect(root, choice) or "",
        folder,
        views,
        found,
        warnings,
        convention="world-to-camera-opengl",
    )


def _view(
    name: str, size: tuple[int, int], where: str, lens: list[float], R: np.ndarray, t: np.ndarray
) -> PhotoView:
    focal, k1, k2 = lens
    model = supported_model(BY_NAME["RADIAL" if k1 or k2 else "SIMPLE_PINHOLE"], where)
    values = [focal, size[0] / 2, size[1] / 2, k1, k2][: len(model.parameters)]
    K, distortion = model.intrinsics(np.array(values))
    return PhotoView(name, f"{where} ({name})", model.name, K, R, t, distortion, size)


class _Body:
    """The lines of a file that hold numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left = self._content()

    def _content(self) -> Iterator[tuple[str, str]]:
        for where, line in lines(self.path):
            if line.strip() and not line.startswith("#"):
                yield where, line

    def _next(self) -> tuple[str, list[str]]:
        where, line = next(self.left, ("", ""))
        if not where:
            raise CameraError("ends too early", where=self.path, advice=_AGAIN)
        return where, line.split()

    def numbers(self, count: int, convert=parse_number) -> tuple[str, list]:
        """Read a line of exactly ``count`` numbers; return its place and them."""
        where, tokens = self._next()
        if len(tokens) != count:
            raise CameraError(
                f"has {len(tokens)} numbers, needs {count}", where=where, advice=_AGAIN
            )
        return where, [convert(token, where) for token in tokens]

    def point(self) -> list[float]:
        """Read a point's position and pass over its colour and views."""
        _, position = self.numbers(3)
        self.numbers(3)
        where, views = self._next()
        if len(views) != 1 + 4 * integer(views[0], where):
            raise CameraError(
                f"says {views[0]} views and has {len(views) - 1} numbers",
                where=where,
                advice=_AGAIN,
            )
        return position

    def spare(self) -> int:
        """Count the lines that are left."""
        return sum(1 for _ in self.left)


def _listed(path: Path, count: int, where: str) -> list[str]:
    """Return the names of the photos, in the order of the cameras."""
    candidates = [path.with_name(name.format(stem=path.stem)) for name in _LISTS]
    candidates.append(path.parent.parent / "list.txt")
    found = next((c for c in candidates if c.is_file()), None)
    if found is None:
        found = _other_list(path, count)
    names = _names_in(found)
    if len(names) != count:
        raise CameraError(
            f"has {count} cameras, {found.name} names {len(names)} photos",
            where=where,
            advice="export both again, together",
        )
    return names


def _names_in(path: Path) -> list[str]:
    return [
        _FOCAL_GUESS.sub("", line.strip()) for _, line in lines(path, _NAME_BYTES) if line.strip()
    ]


def _other_list(path: Path, count: int) -> Path:
    """Find the list of photos under another name: the only text file with as many photos' names."""
    texts = sorted(path.parent.glob("*.txt")) + sorted(path.parent.glob("*.lst"))
    texts = [text for text in texts if text.stat().st_size < _LARGEST_LIST]
    fits = []
    for text in texts:
        names = _names_in(text)
        photos = sum(name.lower().endswith(PHOTO_SUFFIXES) for name in names)
        if len(names) == count and photos == count:
            fits.append(text)
    if len(fits) == 1:
        return fits[0]
    seen = f"; {', '.join(text.name for text in fits or texts)} could not be told" if texts else ""
    raise SceneError(
        f"there is no list of photos beside it (list.txt){seen}",
        where=path,
        advice="export the image list too, as list.txt: one photo a line, in the cameras' order",
    )

"""Predictions of any method: pictures in a folder or an archive, matched to a scene's test photos.

Read are: the photos' own names with any picture extension; index names (``colour_12.png``,
``00012.png``), counted in the sorted test photos or in all photos; gsplat's canvases [photo |
render]; nerfbaselines' folders and tar archives (``color/``); zips of SCENE/NAME as ScanNet++ has
them. Archives are read in memory and never unpacked. Nothing is resized and nothing is skipped.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from xscale.errors import InputError, LimitError, UnsafePathError
from xscale.io.photo.plain import decode_plain

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_INDEX = re.compile(r"(?:.*[^0-9])?(\d+)$")
_MOST_FILES = 200_000
_MOST_PICTURE = 1 << 30
_MOST_RATIO = 1000
"""Bytes that a byte of an archive may become: flat pictures stay below it."""
_SAME = 24.0
"""Mean difference of 255 up to which the left half of a canvas is the photo."""


@dataclass(frozen=True)
class Predictions:
    """Pictures by the test photo that they belong to."""

    source: Path
    kind: str
    """How names were matched, in words."""
    entries: dict[str, str]
    """Name within the source, by photo."""
    read_bytes: Callable[[str], bytes]
    missing: tuple[str, ...]
    """Test photos without a picture."""
    extra: tuple[str, ...]
    """Pictures that belong to no test photo."""
    hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256 by photo, of the pictures that have been read."""

    def read(self, photo: str, truth: np.ndarray) -> np.ndarray:
        """Return the prediction of a photo, uint8 [H, W, 3].

        Args:
            photo: A test photo that is not missing.
            truth: The photo, uint8 [H, W, 3]: the size that is wanted.

        Raises:
            InputError: It is damaged, has alpha or 16 bits, or another size.
        """
        entry = self.entries[photo]
        where = f"{self.source}: {entry}"
        data = self.read_bytes(entry)
        self.hashes[photo] = hashlib.sha256(data).hexdigest()
        picture = decode_plain(data, where)
        height, width = truth.shape[:2]
        if picture.shape[:2] == (height, 2 * width):
            left = picture[:, :width].astype(np.int16)
            if np.abs(left - truth).mean() > _SAME:
                raise InputError(
                    "is as wide as two photos, and its left half is not the photo",
                    where=where,
                    advice="write the render alone, or [photo | render] as gsplat does",
                )
            picture = picture[:, width:]
        if picture.shape[:2] != (height, width):
            raise InputError(
                f"is {picture.shape[1]} x {picture.shape[0]}, the photo is {width} x {height}",
                where=where,
                advice="render at the size of the test photos; nothing is resized here",
            )
        return np.ascontiguousarray(picture)


def find_predictions(
    source: str | Path, test: Sequence[str], photos: Sequence[str], scene: str = ""
) -> Predictions:
    """Match the pictures of a folder or an archive with test photos.

    Args:
        source: Folder, zip or tar.
        test: Names of the test photos.
        photos: Names of all photos of the scene, test photos included.
        scene: Name of the scene, for archives that hold several.

    Raises:
        InputError: The source cannot be read, or its names fit no test photo.
        UnsafePathError: An archive has absolute names or ``..``.
        LimitError: An archive is made to fill the memory.
    """
    source = Path(source)
    names, read = _opened(source)
    pictures = [n for n in names if PurePosixPath(n).suffix.lower() in _SUFFIXES]
    inner = _inner(pictures, scene)
    entries, kind = _matched(inner, sorted(test), sorted(photos))
    if not entries:
        shown = f"such as {pictures[0]}" if pictures else "no picture at all"
        raise InputError(
            f"holds {len(pictures)} pictures, {shown}, that fit no test photo (such as {test[0]})",
            where=source,
            advice="name them as the photos, or by their index in the sorted test photos",
        )
    used = set(entries.values())
    return Predictions(
        source,
        kind,
        entries,
        read,
        tuple(name for name in test if name not in entries),
        tuple(name for name in inner.values() if name not in used),
    )


def _opened(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of the files in a source, and what reads one."""
    if source.is_dir():
        files = [p.relative_to(source).as_posix() for p in sorted(source.rglob("*")) if p.is_file()]
        return files, lambda name: _bounded(source / name).read_bytes()
    if not source.exists():
        raise InputError(
            "does not exist", where=source, advice="--pred takes a folder or an archive"
        )
    try:
        if zipfile.is_zipfile(source):
            return _zip(source)
        if tarfile.is_tarfile(source):
            return _tar(source)
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise InputError(
            f"cannot be read: {error}", where=source, advice="make the archive again"
        ) from error
    raise InputError(
        "is not a folder, a zip or a tar archive",
        where=source,
        advice="--pred takes a folder or an archive",
    )


def _bounded(path: Path) -> Path:
    if path.stat().st_size > _MOST_PICTURE:
        raise LimitError("is larger than 1 GiB", where=path, advice="check the file")
    return path


def _zip(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    with zipfile.ZipFile(source) as archive:
        entries = [info for info in archive.infolist() if not info.is_dir()]
        for info in entries:
            _check_entry(source, info.filename, info.file_size, info.compress_size)
    _check_count(source, len(entries))

    def read(name: str) -> bytes:
        with zipfile.ZipFile(source) as archive, archive.open(name) as file:
            return _limited(file.read(_MOST_PICTURE + 1), source, name)

    return [info.filename for info in entries], read


def _tar(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    most = source.stat().st_size
    with tarfile.open(source) as archive:
        entries = []
        for member in archive:
            _check_count(source, len(entries))
            if member.isdir():
                continue
            if not member.isfile():
                raise UnsafePathError(
                    f"{member.name!r} is a link or a device", where=source,
                    advice="archives may hold plain files only",
                )  # fmt: skip
            _check_entry(source, member.name, member.size, most)
            entries.append(member.name)

    def read(name: str) -> bytes:
        with tarfile.open(source) as archive:
            file = archive.extractfile(name)
            return _limited(b"" if file is None else file.read(_MOST_PICTURE + 1), source, name)

    return entries, read


def _check_entry(source: Path, name: str, size: int, packed: int) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UnsafePathError(
            f"entry {name!r} leads out of the archive", where=source, advice="make it again"
        )
    if size > _MOST_PICTURE or size > _MOST_RATIO * max(packed, 1024):
        raise LimitError(
            f"entry {name!r} would take {size >> 20} MiB", where=source,
            advice="it is damaged or made to fill the memory",
        )  # fmt: skip


def _check_count(source: Path, count: int) -> None:
    if count > _MOST_FILES:
        raise LimitError(f"holds more than {_MOST_FILES} files", where=source, advice="check it")


def _limited(data: bytes, source: Path, name: str) -> bytes:
    if len(data) > _MOST_PICTURE:
        raise LimitError(f"entry {name!r} is larger than 1 GiB", where=source, advice="check it")
    return data


def _inner(pictures: Sequence[str], scene: str) -> dict[str, str]:
    """Return pictures by their name below the folder that holds them.

    Of nerfbaselines' folders only ``color/`` counts, of 3DGS's only ``renders/``, of an archive of
    several scenes only the scene's.
    """
    chosen = list(pictures)
    for folder in (scene, "color", "renders"):
        inside = [n for n in chosen if folder and folder in PurePosixPath(n).parts[:-1]]
        if inside:
            chosen = inside
            cut = {n: PurePosixPath(n).parts.index(folder) + 1 for n in chosen}
        else:
            cut = {}
        if cut and folder != scene:
            return {"/".join(PurePosixPath(n).parts[cut[n] :]): n for n in chosen}
    if scene and all(scene in PurePosixPath(n).parts[:-1] for n in chosen) and chosen:
        at = {n: PurePosixPath(n).parts.index(scene) + 1 for n in chosen}
        return {"/".join(PurePosixPath(n).parts[at[n] :]): n for n in chosen}
    return {n: n for n in chosen}


def _matched(
    inner: dict[str, str], test: Sequence[str], photos: Sequence[str]
) -> tuple[dict[str, str], str]:
    """Return entries by test photo, and in words how they were matched."""
    by_stem: dict[str, list[str]] = {}
    for name, entry in inner.items():
        by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(entry)
    twice = next((stem for stem, found in by_stem.items() if len(found) > 1), None)
    if twice is not None:
        raise InputError(
            f"{by_stem[twice][0]} and {by_stem[twice][1]} have one name",
            advice="keep one picture of each photo",
        )
    named = {
        photo: by_stem[stem][0]
        for photo in test
        if (stem := str(PurePosixPath(photo).with_suffix(""))) in by_stem
    }
    if named:
        return named, "by the photos' names"
    numbers: dict[int, str] = {}
    for stem, found in by_stem.items():
        if match := _INDEX.fullmatch(PurePosixPath(stem).name):
            numbers[int(match[1])] = found[0]
    place = {photos.index(photo): photo for photo in test}
    if set(place) <= set(numbers) and max(numbers, default=0) >= len(test):
        return {place[i]: numbers[i] for i in place}, "by index in all sorted photos"
    if numbers and set(numbers) <= set(range(len(test))):
        found = {test[i]: entry for i, entry in numbers.items()}
        return found, "by index in the sorted test photos"
    if numbers and set(numbers) & set(place):
        return (
            {place[i]: numbers[i] for i in place if i in numbers},
            "by index in all sorted photos",
        )
    return {}, ""

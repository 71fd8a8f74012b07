"""Predictions of any method: pictures in a folder or an archive, matched to a scene's test photos.

Read are: the photos' own names with any picture extension; index names (``colour_12.png``,
``00012.png``), counted in the sorted test photos or in all photos; gsplat's canvases [photo |
render]; nerfbaselines' folders and tar archives (``color/``); zips of SCENE/NAME as ScanNet++ has
them. Archives are read in memory and never unpacked. Nothing is resized and nothing is skipped.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from xscale.errors import InputError
from xscale.io.names import name_bytes
from xscale.io.photo.plain import decode_plain
from xscale.report.archives import opened

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_INDEX = re.compile(r"(?:.*[^0-9])?(\d+)$")
_MASKS = "coverage/"
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
    train_seconds: float | None = None
    """Time of the training, where nerfbaselines' info.json tells it."""
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
        height, width = truth.shape[:2]
        # A canvas has two pictures' pixels; a file of more is not even decoded.
        picture = decode_plain(data, where, ((width, height), (2 * width, height)))
        if picture.shape[:2] == (height, 2 * width):
            left = picture[:, :width].astype(np.int16)
            if np.abs(left - truth).mean() > _SAME:
                raise InputError(
                    "is as wide as two photos, and its left half is not the photo",
                    where=where,
                    advice="write the render alone, or [photo | render] as gsplat does",
                )
            picture = picture[:, width:]
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
    names, read = opened(source)
    pictures = [n for n in names if PurePosixPath(n).suffix.lower() in _SUFFIXES]
    inner = _inner(pictures, scene)
    entries, kind = _matched(
        source, inner, sorted(test, key=name_bytes), sorted(photos, key=name_bytes)
    )
    if not pictures:
        others = f"; there is {names[0]}" if names else ""
        raise InputError(
            f"holds no picture{others}", where=source,
            advice=f"write pictures as {', '.join(_SUFFIXES)}",
        )  # fmt: skip
    if not entries:
        raise InputError(
            f"no picture fits a test photo; there is {pictures[0]}, a test photo is {test[0]}",
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
        # A run's folder holds its own masks beside the pictures.
        tuple(n for path, n in inner.items() if n not in used and not path.startswith(_MASKS)),
        _train_seconds(names, read),
    )


def _train_seconds(names: Sequence[str], read: Callable[[str], bytes]) -> float | None:
    """Return the training time that nerfbaselines noted; None where it cannot be told."""
    notes = [name for name in names if PurePosixPath(name).name == "info.json"]
    if len(notes) != 1:
        return None
    try:
        values = json.loads(read(notes[0]))
    except (InputError, ValueError, RecursionError):
        return None
    seconds = values.get("total_train_time") if isinstance(values, dict) else None
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return float(seconds) if known and 0 < seconds < math.inf else None


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
    source: Path, inner: dict[str, str], test: Sequence[str], photos: Sequence[str]
) -> tuple[dict[str, str], str]:
    """Return entries by test photo, and in words how they were matched."""
    by_stem: dict[str, list[str]] = {}
    for name, entry in inner.items():
        by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(entry)
    _refuse_twice(source, by_stem, "name")
    stems = {photo: str(PurePosixPath(photo).with_suffix("")) for photo in test}
    if named := {p: by_stem[stem][0] for p, stem in stems.items() if stem in by_stem}:
        return named, "by the photos' names"
    # Other systems write the same names in another case or Unicode form.
    alike: dict[str, list[str]] = {}
    for stem, found in by_stem.items():
        alike.setdefault(_plain(stem), []).extend(found)
    wanted = {photo: _plain(stem) for photo, stem in stems.items()}
    if any(stem in alike for stem in wanted.values()):
        chosen = {s: e for s, e in alike.items() if s in wanted.values()}
        _refuse_twice(source, chosen, "name but for case")
        if len(set(wanted.values())) < len(wanted):
            raise InputError(
                "has the photos' names in another case, and photos differ by case alone",
                where=source,
                advice="name the pictures exactly as the photos",
            )
        named = {photo: alike[stem][0] for photo, stem in wanted.items() if stem in alike}
        return named, "by the photos' names, in another case or Unicode form"
    return _by_index(source, by_stem, test, photos)


def _plain(stem: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def _refuse_twice(source: Path, found: Mapping[object, Sequence[str]], what: str) -> None:
    twice = next((entries for entries in found.values() if len(entries) > 1), None)
    if twice is not None:
        raise InputError(
            f"{twice[0]} and {twice[1]} have the same {what}",
            where=source,
            advice="keep one picture of each photo",
        )


def _by_index(
    source: Path, by_stem: Mapping[str, Sequence[str]], test: Sequence[str], photos: Sequence[str]
) -> tuple[dict[str, str], str]:
    numbered: dict[int, list[str]] = {}
    for stem, found in by_stem.items():
        if match := _INDEX.fullmatch(PurePosixPath(stem).name):
            numbered.setdefault(int(match[1]), []).extend(found)
    place = {photos.index(photo): photo for photo in test}
    everything = "by index in all sorted photos"
    if set(place) <= set(numbered) and max(numbered, default=0) >= len(test):
        chosen, words = place, everything
    elif numbered and set(numbered) <= set(range(len(test))):
        chosen, words = dict(enumerate(test)), "by index in the sorted test photos"
    elif set(numbered) & set(place):
        chosen, words = place, everything
    else:
        return {}, ""
    _refuse_twice(source, {i: e for i, e in numbered.items() if i in chosen}, "index")
    return {photo: numbered[i][0] for i, photo in chosen.items() if i in numbered}, words

"""Photos that are the same under several names: one in training and in test makes scores too good.

The same file is told by its bytes. The same picture saved again is told by cameras that stand at
one place and look one way, and pixels that hardly differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import numpy as np

from xscale.errors import DamagedPhotoError, ListError
from xscale.io.hashing import sha256_file
from xscale.io.photo.resample import area_downscale
from xscale.scene.layouts.views import some
from xscale.scene.photo import Photo

_SAME_PLACE = 1e-4
"""Share of the median distance between cameras."""
_SAME_WAY = 1e-3
"""Radians."""
_SMALL = 32
_SAME_PIXELS = 3.0
"""Mean difference in values of 255, at 32 pixels a side; a photo saved again differs by about 1."""


def duplicates_of(photos: Sequence[Photo]) -> list[list[str]]:
    """Return the names of photos with equal bytes, a group each, in the photos' order.

    Only files of equal size are read. Photos that are made have no file.
    """
    sizes: dict[int, list[Photo]] = defaultdict(list)
    for photo in photos:
        if photo.make is None:
            sizes[photo.file_size].append(photo)
    groups: dict[str, list[str]] = defaultdict(list)
    for alike in sizes.values():
        for photo in alike if len(alike) > 1 else ():
            groups[sha256_file(photo.path)].append(photo.name)
    return [names for names in groups.values() if len(names) > 1]


def remarks(groups: Sequence[Sequence[str]], test: Collection[str]) -> list[str]:
    """Return a coded line for each group; one over the split's border makes scores too good."""
    found = []
    for names in groups:
        shared = 0 < sum(name in test for name in names) < len(names)
        code, more = "W-PHOTO-SAME", ""
        if shared:
            code, more = "W-PHOTO-LEAK", ", in training and in test: scores would be too good"
        found.append(f"{code}: {', '.join(names)} are the same file{more}; take all but one out")
    return found


def check_leaks(
    photos: Sequence[Photo],
    test: Collection[str],
    allowed: bool,
    say: Callable[[str], None],
    wider: float = 1,
) -> None:
    """Refuse test photos that are also trained on under another name.

    Args:
        photos: Of the scene.
        test: Names of the test photos.
        allowed: Whether it is only said.
        say: Called with a coded line for each group of photos that are the same.
        wider: See :func:`near_leaks`.

    Raises:
        ListError: A test photo is a training photo too.
    """
    for line in remarks(duplicates_of(photos), test):
        if line.startswith("W-PHOTO-LEAK") and not allowed:
            raise ListError(
                line.partition(": ")[2],
                where=photos[0].path.parent,
                advice="or give --allow-leak if the scores do not matter",
            )
        say(line)
    pairs = near_leaks(photos, test, wider)
    if pairs:
        say(
            f"W-PHOTO-NEAR: {len(pairs)} test photos are training photos saved again, or nearly: "
            f"{some([f'{a} and {b}' for a, b in pairs])}; scores are too good for them"
        )


def near_leaks(
    photos: Sequence[Photo], test: Collection[str], wider: float = 1
) -> list[tuple[str, str]]:
    """Return pairs of a test and a training photo with one camera and nearly the same pixels.

    Only photos whose cameras stand at one place and look one way are decoded. Files of equal bytes
    are left to :func:`duplicates_of`.

    Args:
        photos: Of the scene.
        test: Names of the test photos.
        wider: Factor by which cameras may be further apart: the poses of a photo and its copy are
            found one by one, and photos taken one right after the other show the same too.
    """
    real = [photo for photo in photos if photo.make is None]
    held = [photo for photo in real if photo.name in test]
    others = [photo for photo in real if photo.name not in test]
    if not held or not others:
        return []
    places = np.array([photo.camera.position for photo in others])
    centre = np.median(places, axis=0)
    reach = wider * _SAME_PLACE * float(np.median(np.linalg.norm(places - centre, axis=1)))
    found = []
    for photo in held:
        away = np.linalg.norm(places - photo.camera.position, axis=1)
        twins = [
            others[k] for k in np.flatnonzero(away <= reach) if _same_way(photo, others[k], wider)
        ]
        found += [(photo.name, twin.name) for twin in twins if _same_pixels(photo, twin)]
    return found


def _same_way(one: Photo, other: Photo, wider: float) -> bool:
    # The Frobenius distance of two rotations is sqrt(2) times the angle between them, if small.
    return float(np.linalg.norm(one.camera.R - other.camera.R)) < wider * _SAME_WAY * 2**0.5


def _same_pixels(one: Photo, other: Photo) -> bool:
    if one.file_size == other.file_size and sha256_file(one.path) == sha256_file(other.path):
        return False
    try:
        small = [area_downscale(p.read(), _SMALL, _SMALL).astype(np.float64) for p in (one, other)]
    except DamagedPhotoError:
        return False  # that is reported where photos are decoded
    return float(np.abs(small[0] - small[1]).mean()) < _SAME_PIXELS

"""Photos that are the same file under several names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from xscale.io.hashing import sha256_file
from xscale.scene.photo import Photo


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

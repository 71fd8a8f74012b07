"""Which photos are held out for testing (docs/conventions.md)."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xscale.errors import ListError, UsageError
from xscale.scene.names import composed

_MANY_PHOTOS = 14
_EVERY_OF_MANY = 7
_EVERY_OF_FEW = 4
_MOST_BYTES = 64 << 20
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Split:
    """Names of training and test photos, each in the scene's order; no name is in both."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def default_test_every(photos: int) -> int:
    """Return N of the default split: 7 for more than 14 photos, else 4."""
    return _EVERY_OF_MANY if photos > _MANY_PHOTOS else _EVERY_OF_FEW


def split_names(
    names: Sequence[str],
    *,
    test_every: int | None = None,
    test_list: str | Path | None = None,
) -> Split:
    """Divide photo names, sorted by their bytes, into training and test photos.

    Args:
        names: All photos in the scene's order.
        test_every: Photos 0, N, 2N, ... are test; 0: none; default by the number of photos.
        test_list: File with one test photo a line; wins over ``test_every``.

    Raises:
        UsageError: ``test_every`` is below 0.
        ListError: The list is wrong, or nothing would be left to train on.
    """
    if test_list is not None:
        path = Path(test_list)
        test = set(_read_list(path, names))
        where: object = path
        advice = "take names out of the list"
    else:
        every = default_test_every(len(names)) if test_every is None else test_every
        if every < 0:
            raise UsageError(f"--test-every must be at least 0, got {every}")
        test = set(names[::every]) if every else set()
        where, advice = None, "give a larger --test-every or a --test-list"
    split = Split(tuple(n for n in names if n not in test), tuple(n for n in names if n in test))
    if not split.train:
        raise ListError(
            f"all {len(names)} photos would be test photos, none is left to train on",
            where=where,
            advice=advice,
        )
    return split


def _read_list(path: Path, names: Sequence[str]) -> list[str]:
    """Read photo names, one a line; empty lines and lines that begin with # are passed over."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ListError("is larger than 64 MiB", where=path, advice="check the path")
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ListError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    known = set(names)
    listed: dict[str, int] = {}
    for number, line in enumerate(io.StringIO(text), start=1):
        name = line.strip()
        # A photo may be called "#1.png": a known name is never a comment.
        if not name or (name.startswith("#") and name not in known):
            continue
        if name not in known:
            # The same letters, but macOS writes them in another Unicode form.
            same = [other for other in names if composed(other) == composed(name)]
            name = same[0] if len(same) == 1 else name
        if len(name) > _LONGEST_NAME:
            raise ListError(
                f"the line has {len(name)} characters",
                where=f"{path}:{number}",
                advice="write one photo name a line",
            )
        if name not in known:
            nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            hint = f"nearest names: {', '.join(nearest)}" if nearest else "names end like the files"
            raise ListError(f"there is no photo {name}", where=f"{path}:{number}", advice=hint)
        if name in listed:
            raise ListError(
                f"{name} occurs twice, first in line {listed[name]}",
                where=f"{path}:{number}",
                advice="remove one of the lines",
            )
        listed[name] = number
    if not listed:
        raise ListError("names no photo", where=path, advice="write one photo name a line")
    return list(listed)

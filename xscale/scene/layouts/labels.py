r"""Joining cameras with photos where a program writes labels: paths of another computer, or parts.

A label may be a whole path (``C:\flight\100MEDIA\DJI_0001.JPG``), a file's name, or that without
its ending. The file is found by its name, and among files of one name by the folders before it, as
far as they agree. Case and Unicode form may differ, as Windows and macOS do not tell them apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from xscale.errors import SceneError
from xscale.scene.layouts.views import PHOTO_SUFFIXES, photo_files, some
from xscale.scene.names import caseless

_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".srw", ".x3f"),
    *(".heic", ".heif", ".avif", ".jp2", ".bmp", ".psd", ".tga"),
)
"""Endings of photos from which others were developed or converted."""


class Joined(NamedTuple):
    """The photos of labels, in the labels' order."""

    names: list[str]
    """Names relative to the folder; for a label without a photo, the name that it should have."""
    found: list[bool]
    """Whether the photo exists."""
    warnings: list[str]


def parts_of(label: str) -> tuple[str, ...]:
    """Return the folders and the name of a path as any system writes it, without its root."""
    path = label.strip().replace("\\", "/")
    if len(path) > 1 and path[1] == ":":
        path = path[2:]
    return tuple(p for p in path.split("/") if p not in ("", ".", ".."))


def _stem(name: str) -> str:
    """Return a name without an ending that photos have; other dots belong to the name."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in (*PHOTO_SUFFIXES, *_RAW_SUFFIXES)
    return path.stem if known and path.stem else name


_Keys = tuple[Callable[[str], str], Callable[[str], str]]
_WAYS: tuple[_Keys, ...] = (
    (str, str),
    (caseless, caseless),
    (str, _stem),
    (caseless, lambda name: caseless(_stem(name))),
    (_stem, _stem),
    (lambda name: caseless(_stem(name)), lambda name: caseless(_stem(name))),
)
"""Parts of a label and of a file's name that must be equal; the strictest first."""


def join_labels(labels: Sequence[str], folder: Path, where: object) -> Joined:
    """Find the photo of each label.

    Args:
        labels: As the cameras file has them; a group may stand before a label as a folder.
        folder: Where the photos are, in any depth.
        where: The cameras file, for errors.

    Raises:
        SceneError: A label occurs twice, or fits several photos.
    """
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise SceneError(
            f"{len(twice)} labels occur twice: {some(twice)}",
            where=where,
            advice="give every photo its own name, in the project too",
        )
    tables: list[dict[str, list[tuple[str, ...]]]] = [defaultdict(list) for _ in _WAYS]
    for name in photo_files(folder):
        path = tuple(name.split("/"))
        for table, (_, key) in zip(tables, _WAYS, strict=True):
            table[key(path[-1])].append(path)
    wanted = [parts_of(label) or (label,) for label in labels]
    chosen: list[tuple[str, ...] | None] = []
    depth = []
    for label, parts in zip(labels, wanted, strict=True):
        fits = _candidates(parts, tables)
        best, most = _nearest(parts, fits)
        if len(best) > 1:
            raise _ambiguous(label, best, where)
        chosen.append(best[0] if best else None)
        depth.append(most)
    _settle_claims(labels, chosen, depth, where)
    names = [
        "/".join(parts if path is None else path)
        for parts, path in zip(wanted, chosen, strict=True)
    ]
    return Joined(names, [path is not None for path in chosen], _remarks(wanted, chosen))


def _candidates(
    parts: tuple[str, ...], tables: list[dict[str, list[tuple[str, ...]]]]
) -> list[tuple[str, ...]]:
    for table, (key, _) in zip(tables, _WAYS, strict=True):
        if fits := table.get(key(parts[-1])):
            return fits
    return []


def _nearest(
    parts: tuple[str, ...], fits: list[tuple[str, ...]]
) -> tuple[list[tuple[str, ...]], int]:
    """Return the files whose folders agree with a label's farthest, and how many folders do."""
    if not fits:
        return [], 0
    shared = [_shared(parts[:-1], path[:-1]) for path in fits]
    most = max(shared)
    best = [path for path, count in zip(fits, shared, strict=True) if count == most]
    whole = [path for path in best if len(path) - 1 == most]
    return (whole if len(whole) == 1 else best), most


def _shared(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Count the folders that two paths share, from the file backwards."""
    count = 0
    for a, b in zip(reversed(left), reversed(right), strict=False):
        if caseless(a) != caseless(b):
            break
        count += 1
    return count


def _ambiguous(label: str, best: list[tuple[str, ...]], where: object) -> SceneError:
    first, second = ("/".join(path) for path in best[:2])
    if best[0][:-1] == best[1][:-1]:
        advice = "keep one of the kinds of photos in a folder of its own and give it by --images"
    else:
        advice = (
            "give photos of different folders different names, or name the folder of those that "
            "are meant by --images"
        )
    return SceneError(f"camera {label} could be {first} or {second}", where=where, advice=advice)


def _settle_claims(
    labels: Sequence[str],
    chosen: list[tuple[str, ...] | None],
    depth: list[int],
    where: object,
) -> None:
    """Leave a photo that several labels claim to the one whose folders agree farthest.

    Raises:
        SceneError: Two agree equally far.
    """
    claims: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, path in enumerate(chosen):
        if path is not None:
            claims[path].append(index)
    for path, indices in claims.items():
        if len(indices) == 1:
            continue
        most = max(depth[k] for k in indices)
        first, *rest = sorted(indices, key=lambda k: -depth[k])
        if depth[rest[0]] == most:
            raise SceneError(
                f"two labels stand for one photo: {labels[first]} and {labels[rest[0]]} for "
                f"{'/'.join(path)}",
                where=where,
                advice="put the photos of each folder into a folder of that name below the photos' "
                "folder, or export the cameras again with different labels",
            )
        for k in rest:
            chosen[k] = None


def _remarks(wanted: list[tuple[str, ...]], chosen: list[tuple[str, ...] | None]) -> list[str]:
    """Name photos that have another case, Unicode form or ending than their labels."""
    spelled, ended = [], []
    for parts, path in zip(wanted, chosen, strict=True):
        if path is None or parts[-1] == path[-1]:
            continue
        label, name = parts[-1], path[-1]
        if label in (_stem(name), name):
            continue
        same_letters = caseless(_stem(label)) == caseless(_stem(name))
        exact = _stem(label) == _stem(name)
        if same_letters and exact and caseless(label) != caseless(name):
            ended.append(f"{label!a} is {name!a}")
        else:
            spelled.append(f"{label!a} is {name!a}")
    found = []
    if spelled:
        found.append(
            f"W-PHOTO-NAME: {len(spelled)} photos are spelled differently in the camera model "
            f"(upper and lower case, Unicode form), e.g. {spelled[0]}"
        )
    if ended:
        found.append(
            f"W-PHOTO-ENDING: {len(ended)} photos have another ending than in the camera model, "
            f"e.g. {ended[0]}: developed or converted photos must have kept their size"
        )
    return found

"""Joining cameras with photos where a program writes labels: names without folder or ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from xscale.errors import SceneError
from xscale.scene.layouts.views import photo_files, some


def plain_label(name: str) -> str:
    """Return a photo's path as another computer wrote it in the form of this one's.

    Of a whole path only the file's name can be found again.
    """
    path = name.strip().replace("\\", "/").removeprefix("./")
    return PurePosixPath(path).name if path.startswith("/") or ":" in path else path


def join_labels(labels: Sequence[str], folder: Path, where: object) -> dict[str, str]:
    """Find the photo of each label: the whole path, else the file name, else its stem.

    Args:
        labels: As the cameras file has them.
        folder: Where the photos are, in any depth.
        where: The cameras file, for errors.

    Returns:
        The photo's name relative to the folder, by label.

    Raises:
        SceneError: A label is there twice, has no photo, or fits several.
    """
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise SceneError(
            f"{len(twice)} labels are there twice: {some(twice)}",
            where=where,
            advice="give every photo its own name, in the project too",
        )
    tables: list[dict[str, list[str]]] = [{}, {}, {}]
    for name in photo_files(folder):
        path = PurePosixPath(name)
        for table, key in zip(tables, (name, path.name, path.stem), strict=True):
            table.setdefault(key, []).append(name)
    found: dict[str, str] = {}
    missing = []
    for label in labels:
        fits = next(filter(None, (table.get(label) for table in tables)), None)
        if fits is None:
            missing.append(label)
        elif len(fits) > 1:
            raise SceneError(
                f"camera {label} could be {fits[0]} or {fits[1]}",
                where=where,
                advice="give photos of different folders different names, or give --images",
            )
        else:
            found[label] = fits[0]
    if missing:
        raise SceneError(
            f"{len(missing)} of {len(labels)} cameras have no photo: {some(missing)}",
            where=folder,
            advice="put the photos into images/ beside the cameras file, or give --images",
        )
    claimed = set(found.values())
    if len(claimed) < len(found):
        raise SceneError(
            "two labels stand for one photo", where=where, advice="export the cameras again"
        )
    return found

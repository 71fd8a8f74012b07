"""The one file of a scene folder that holds its cameras, and the folder of its photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from xscale.errors import SceneError
from xscale.scene.layouts.views import Choice, some


def find_cameras(
    root: Path,
    choice: Choice,
    patterns: Sequence[str],
    looks_right: Callable[[Path], bool],
    kind: str,
    usual: str | None = None,
) -> Path | None:
    """Return the cameras file of one kind: the one given, else the folder's, else None.

    Args:
        root: The scene folder.
        choice: What the user said.
        patterns: Where such files lie below the folder.
        looks_right: Tells by its content whether a file is of the kind.
        kind: What such files are called, for the error.
        usual: A name that wins where there are several.

    Raises:
        SceneError: The folder has several.
    """
    if choice.cameras is not None:
        given = choice.cameras
        return given if given.is_file() and looks_right(given) else None
    places = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    found = [path for path in places if path.is_file() and looks_right(path)]
    named = [path for path in found if path.name == usual]
    if len(found) > 1 and not named:
        raise SceneError(
            f"has several {kind}: {some([path.name for path in found], 8)}",
            where=root,
            advice="choose one by --cameras",
        )
    return (named or found or [None])[0]


def photo_folder(cameras: Path, root: Path) -> Path:
    """Return the usual folder of photos, else the one in which the cameras file lies."""
    usual = (cameras.parent / "images", root / "images")
    return next((folder for folder in usual if folder.is_dir()), cameras.parent)

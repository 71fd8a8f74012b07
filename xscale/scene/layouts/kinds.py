"""The kinds of scenes that can be read, and which one a folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xscale.errors import SceneError
from xscale.scene.layouts import (
    bundler,
    colmap,
    metashape,
    mvsnet,
    nerfstudio,
    openmvs,
    realitycapture,
)
from xscale.scene.layouts.views import Choice, Reading, some

RECIPE = "giga.json"
"""The file of a scene whose photos are made on demand (:mod:`xscale.demo.giga`)."""


class Layout(NamedTuple):
    """A kind of scene folder and its reader."""

    name: str
    looks_like: str
    """Contents that the folder must have, in words."""
    detect: Callable[[Path, Choice], str | None]
    """Says why a folder (or the file given as ``--cameras``) is of this kind, or returns None."""
    read: Callable[[Path, Choice], Reading]


LAYOUTS = (
    Layout(colmap.LAYOUT, "sparse/0 or sparse with images/", colmap.detect, colmap.read),
    Layout(mvsnet.LAYOUT, "images_{k}/ with cams_{k}/*_cam.txt", mvsnet.detect, mvsnet.read),
    Layout(nerfstudio.LAYOUT, nerfstudio.FILE, nerfstudio.detect, nerfstudio.read),
    Layout(metashape.LAYOUT, "cameras.xml with images/", metashape.detect, metashape.read),
    Layout(openmvs.LAYOUT, openmvs.FILE, openmvs.detect, openmvs.read),
    Layout(bundler.LAYOUT, "bundle.out with list.txt", bundler.detect, bundler.read),
    Layout(
        realitycapture.LAYOUT,
        "RealityCapture's camera parameters (.csv) with images/",
        realitycapture.detect,
        realitycapture.read,
    ),
)


def detected(root: Path, choice: Choice, scale_named: bool = False) -> tuple[Layout, list[str]]:
    """Choose the layout of a scene.

    Args:
        root: The scene folder.
        choice: What the user said; a cameras file is recognised by its content.
        scale_named: The path named ``images_{k}``, which has chosen the authors' layout already.

    Returns:
        The layout, and remarks where the folder fits several.

    Raises:
        SceneError: None fits, or a part is missing.
    """
    for given, option in ((choice.cameras, "--cameras"), (choice.images, "--images")):
        if given is not None and not given.exists():
            raise SceneError("does not exist", where=given, advice=f"check the path after {option}")
    if choice.images is not None and not choice.images.is_dir():
        raise SceneError("is not a folder", where=choice.images, advice="--images takes a folder")
    candidates = [entry for entry in LAYOUTS if not scale_named or entry.name == mvsnet.LAYOUT]
    found = [layout for layout in candidates if layout.detect(root, choice)]
    if not found:
        raise _unknown(root, choice)
    warnings = []
    if len(found) > 1:
        rest = ", ".join(layout.name for layout in found[1:])
        warnings.append(f"W-LAYOUT: the folder is read as {found[0].name}, it also fits {rest}")
    return found[0], warnings


def _unknown(root: Path, choice: Choice) -> SceneError:
    """Say what was found instead of a known layout."""
    names = ", ".join(layout.name for layout in LAYOUTS)
    table = _table(root, choice)
    if table is not None:
        return table
    if choice.cameras is not None:
        return SceneError(
            f"its content is not a known kind of camera file ({names})",
            where=choice.cameras,
            advice="check that it is whole and the file that holds the poses",
        )
    if choice.scale is not None:
        return SceneError(
            f"there is no images_{choice.scale:g}/ with cams_{choice.scale:g}/*_cam.txt",
            where=root,
            advice="give the folder without a scale to use the largest photos",
        )
    missing = colmap.what_is_missing(root)
    if missing:
        return SceneError(
            missing, where=root, advice=f"put the photos into {colmap.PHOTOS}/ or give --images"
        )
    parts = nerfstudio.what_is_missing(root)
    if parts:
        return SceneError(
            parts, where=root, advice="give one by --cameras, or write all frames into one file"
        )
    holds = sorted(p.name + "/" * p.is_dir() for p in root.iterdir())
    looks = "; or ".join(f"{layout.name}: {layout.looks_like}" for layout in LAYOUTS)
    return SceneError(
        f"is not a known kind of scene folder; it holds {some(holds, 8) or 'nothing'}",
        where=root,
        advice=f"expected: {looks}",
    )


def _table(root: Path, choice: Choice) -> SceneError | None:
    """Name a table of cameras that is not read, with its columns and the export that is."""
    paths = [choice.cameras] if choice.cameras is not None else sorted(root.glob("*.[ct][sx][vt]"))
    for path in paths:
        columns = realitycapture.other_table(path) if path.is_file() else None
        if columns:
            return SceneError(
                f"is a table of another kind: its columns are {columns}",
                where=path,
                advice=realitycapture.EXPORT,
            )
    return None

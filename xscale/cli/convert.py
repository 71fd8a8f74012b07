"""``xscale convert``: a scene in the layout of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from xscale.cli._console import parse, progress_bar, result, say, warn
from xscale.cli._scene import SceneArguments


@dataclass(frozen=True, kw_only=True)
class Options(SceneArguments):
    """Write a scene in another layout: cameras, points, masks, photos and mesh.

    Numbers keep all their bits where the target layout stores the same quantities. A layout that
    cannot hold a camera is refused; the message names a layout that can.
    """

    to: Literal["colmap", "mvsnet", "nerfstudio"]
    """Layout to write: colmap, mvsnet (images_1/ and cams_1/, as the authors of XScale-NVS use), or
    nerfstudio (transforms.json)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to make."""
    text: bool = False
    """colmap: write the text form instead of the binary one."""
    photos: Literal["copy", "link"] = "copy"
    """Copy photos, masks and mesh, or make symbolic links to them."""
    overwrite: bool = False
    """Replace an existing folder."""


def run(argv: list[str]) -> int:
    """Parse the options, open the scene, write it."""
    options = parse(Options, argv, "convert")
    from xscale.errors import UsageError
    from xscale.scene.layouts.convert import convert

    if options.text and options.to != "colmap":
        raise UsageError("--text is a form of COLMAP's layout", advice="leave it out")
    scene = options.open()
    for warning in scene.warnings:
        warn(warning)
    say(f"{options.scene}: {len(scene.photos)} photos ({scene.layout}) to {options.to}")
    with progress_bar() as bar:
        task = bar.add_task("photos", total=len(scene.photos))
        made = convert(
            scene,
            options.out,
            options.to,
            text=options.text,
            photos=options.photos,
            overwrite=options.overwrite,
            on_photo=lambda done, count: bar.update(task, completed=done, total=count),
        )
    result(made)
    say(f"next: xscale inspect {made}")
    return 0

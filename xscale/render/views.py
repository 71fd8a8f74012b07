"""Photo views of a run to PNG files: what scoring reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from xscale.io.images import write_png
from xscale.render.run import Run


def png_name(name: str) -> str:
    """Return a photo's name with its last extension replaced by .png (method section 10)."""
    return str(PurePosixPath(name).with_suffix(".png"))


def render_views(
    run: Run,
    names: Sequence[str],
    out: Path,
    coverage_out: Path | None = None,
    on_frame: Callable[[int, str], None] | None = None,
) -> list[Path]:
    """Render photos' cameras, one PNG each, whole or not at all; existing ones are replaced.

    Args:
        run: An opened run.
        names: Photo names.
        out: Folder for the pictures.
        coverage_out: Folder for the coverage masks (255 = the pixel's centre ray hits the mesh).
        on_frame: Called after each with the number done and the name.

    Returns:
        The pictures' paths.
    """
    paths = []
    for done, name in enumerate(names, 1):
        frame = run.render(run.camera(name)).on_cpu()
        path = out / png_name(name)
        write_png(path, frame.colour.numpy(), overwrite=True)
        if coverage_out is not None:
            mask = frame.coverage.numpy().astype(np.uint8) * 255
            write_png(coverage_out / png_name(name), mask, overwrite=True)
        paths.append(path)
        if on_frame is not None:
            on_frame(done, name)
    return paths

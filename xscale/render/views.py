"""Photo views of a run to PNG files: what scoring reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from xscale.io.names import png_name
from xscale.render.batch import render_batch
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.run import Run


def frame_name(name: str) -> str:
    """Return the name of a photo's frame: its own without the last extension."""
    return png_name(name).removesuffix(".png")


def render_views(
    run: Run,
    names: Sequence[str],
    out: Path,
    on_frame: Callable[[int, int, str], None] | None = None,
) -> tuple[Path, Path]:
    """Render photos' cameras as a job: existing pictures with the same bytes are kept.

    Args:
        run: An opened run.
        names: Photo names.
        out: Folder for the pictures; another job in it is replaced.
        on_frame: Called with (done, of how many, name) after each.

    Returns:
        The folders of the pictures and of the coverage masks (255 = the pixel's centre ray hits
        the mesh); errors of :func:`render_batch`.
    """
    frames = [JobFrame(frame_name(name), (run.camera(name),)) for name in names]
    job = make_job(run, frames, JobSettings(outputs=("colour", "coverage")))
    render_batch(run, job, out, overwrite=True, verify=True, on_frame=on_frame)
    return out, out / "coverage"

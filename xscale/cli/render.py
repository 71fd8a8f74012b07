"""``xscale render``: pictures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from xscale.cli._ahead import importing
from xscale.cli._bars import bars
from xscale.cli._console import parse, print_json, result, say, warn
from xscale.config import check_device_name
from xscale.render.options import RenderOptions
from xscale.render.outputs import output_meanings

if TYPE_CHECKING:
    from xscale.io.checkpoints import Checkpoint
    from xscale.render.batch import Engine, Summary
    from xscale.render.render_job import Planned
    from xscale.render.run import Run


@dataclass(frozen=True, kw_only=True)
class Options(RenderOptions):
    """Render the views of a run, or any cameras. Only the run folder is needed, not the photos.

    A job that was killed and is started again renders the missing frames. A bad camera does not
    stop the others.
    """

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    out: Path | None = None
    """Folder for the pictures; default: RUN/renders/VIEWS."""
    outputs: Annotated[tuple[str, ...], tyro.conf.arg(help=output_meanings())] = ("colour",)
    source_photos: bool = False
    """Correct colours with the nearest training photos, which xscale train --source-photos keeps
    in the run."""
    two_sided: bool = False
    """Render both sides of every face, as earlier versions did. By default a side that is not
    surface, by the photos' evidence, shows the background."""
    engine: Literal["local", "ray"] = "local"
    """Render in this process, or by the workers of a Ray cluster that sees the same folders."""
    address: str = "auto"
    """Address of the Ray cluster; auto finds the one on this machine."""
    workers: int | None = None
    """Tasks that the cluster runs at a time; default: one for each GPU or CPU."""
    split: Literal["auto", "frames", "tiles"] = "auto"
    """Size of a cluster's task: a frame, or some rows of one. auto takes rows if pictures are very
    large or fewer than the workers."""
    rasterizer: str = "auto"
    """Rasterizer: auto, xscale, or nvdiffrast if it is installed (GPU only)."""
    encoding: str = "auto"
    """Hash grid lookup: auto, xscale, or tcnn (tiny-cuda-nn, GPU only)."""
    device: str = "auto"
    """Device to compute on; auto takes CUDA if the kernels run on it, else another GPU through
    WebGPU (webgpu, webgpu:N; xscale doctor lists them), else the CPU."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    overwrite: bool = False
    """Replace the pictures of another job in the folder."""
    verify: bool = False
    """Read finished frames, compare their hashes, and render damaged ones again."""
    check: bool = False
    """List missing and damaged frames and files that do not belong, and render nothing."""


def run(argv: list[str]) -> int:
    """Parse the options and render."""
    options = parse(Options, argv, "render")
    overwrite = options.overwrite or options.check
    options.validate(options.out, overwrite=overwrite, run=options.run)
    check_device_name(options.device)
    with importing("xscale.render.render_job"):
        newest = _read_ahead(options.run)
    from xscale import ops
    from xscale.render.devices import pick_render_device
    from xscale.render.render_job import render_job
    from xscale.render.run import Run

    with ops.use_peers(options.rasterizer, options.encoding):
        engine = _engine(options)
        device = pick_render_device(options.device, options.run, warn)
        opened = Run.open(
            options.run,
            device,
            source_photos=options.source_photos,
            two_sided=options.two_sided,
            newest=newest,
        )
        if options.check:
            return _check(options, opened)
        with bars("rendering", "encoding") as (on_frame, on_film):
            made = render_job(
                opened,
                options,
                options.out,
                engine=engine,
                overwrite=options.overwrite,
                verify=options.verify,
                on_plan=lambda planned: _tell_plan(planned, options.samples == "auto"),
                on_frame=on_frame,
                on_film=on_film,
            )
    _tell(made.summary)
    if made.film is not None:
        result(made.film)
    elif options.video:
        say("the film is made when the other shards are done: repeat the command without --shard")
    result(made.folder)
    return 0


def _read_ahead(run: Path) -> tuple[Checkpoint | None, list[str]] | None:
    """Read what is rendered while PyTorch loads; ``Run`` reports what is wrong with it."""
    from xscale.errors import XscaleError
    from xscale.run.folder import RunFolder

    try:
        return RunFolder(run).load_newest()
    except XscaleError:
        return None


def _engine(options: Options) -> Engine:
    from xscale.render.batch import local_engine

    if options.engine == "local":
        return local_engine
    from xscale.render.ray_engine import ray_engine

    return ray_engine(options.address, options.workers, options.split)


def _tell_plan(planned: Planned, chosen: bool) -> None:
    """Report what the camera file says and is not followed, and the samples if we chose them."""
    for line in planned.warnings:
        warn(line)
    samples = planned.job.settings.samples
    if chosen and samples > 1:
        say(f"{samples} x {samples} samples a pixel for distant views (--samples 1 is faster)")


def _tell(summary: Summary) -> None:
    for line in summary.warnings[:3]:
        warn(line)
    if len(summary.warnings) > 3:
        warn(f"and {len(summary.warnings) - 3} more such remarks, see manifest.json")
    say(f"{summary.rendered} frames rendered, {summary.kept} were finished before")


def _check(options: Options, opened: Run) -> int:
    from xscale.errors import IntegrityError
    from xscale.render.render_job import check_job

    folder, found = check_job(opened, options, options.out)
    print_json(found)
    if found["missing"] or found["damaged"]:
        raise IntegrityError(
            f"{len(found['missing'])} frames are missing, {len(found['damaged'])} damaged",
            where=folder,
            advice="render again with --verify",
        )
    return 0

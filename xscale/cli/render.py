"""xscale render."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from xscale.cli._ahead import importing
from xscale.cli._console import parse, print_json, progress_bar, result, say, warn
from xscale.cli._size import parse_pair, parse_size

if TYPE_CHECKING:
    from xscale.io.checkpoints import Checkpoint
    from xscale.render.batch import Engine, Summary
    from xscale.render.job import Job, JobFrame
    from xscale.render.run import Run


@dataclass(frozen=True)
class Options:
    """Render a run's views, or any cameras; needs the run folder only, not the photos.

    Killed and started again it renders what is missing. One bad camera does not stop the others.
    """

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    views: list[str] = field(default_factory=lambda: ["test"])
    """Which photos' cameras to render: test, train, all, or names."""
    cameras: Path | None = None
    """Cameras instead: a camera path (.json, see xscale path), a folder with a COLMAP model, or a
    folder of _cam.txt files."""
    out: Path | None = None
    """Folder for the pictures; default: RUN/renders/VIEWS."""
    size: str | None = None
    """Picture size WxH; the vertical field of view stays. Default: the cameras' own."""
    outputs: list[str] = field(default_factory=lambda: ["colour"])
    """Outputs to write: colour, coverage, depth, depth_map, normal, normal_map, position, face,
    footprint, level, photos (in how many training photos the point is seen: where none, the colour
    is made up), uncertainty (how far off the colour is likely to be), uncertainty_map."""
    side_by_side: bool = False
    """One picture of all outputs, left to right: colour, coverage, and what ends in _map."""
    format: Literal["png", "png16", "jpg", "exr", "tiff", "tiff16"] = "png"
    """File format of colours: 8 or 16 bits sRGB, or exr in linear light."""
    data: Literal["npy", "exr", "tiff"] = "npy"
    """File format of numeric outputs: float32; face ids are int32."""
    photos_at_render: bool = False
    """Correct colours by the nearest training photos, which xscale train --photos-at-render keeps
    in the run."""
    samples: int | Literal["auto"] = "auto"
    """Samples along a pixel's edge; pixels are means of those that hit the mesh. auto takes one,
    and up to four where colours are seen from farther away than the photos were taken."""
    background: Literal["run", "learned", "white", "black"] = "run"
    """Colour of pixels that the mesh does not cover: as the run was trained, or one of these."""
    projection: Literal[
        "camera", "perspective", "fisheye", "equirectangular", "cubemap", "stereo"
    ] = "camera"
    """Lens: as the cameras are, or another one at their place."""
    fov: float | None = None
    """Vertical field of view in degrees, for perspective and fisheye."""
    baseline: float | None = None
    """Distance of the eyes in world units, for stereo."""
    join: bool = False
    """cubemap, stereo: the pictures side by side in one file."""
    video: Literal["mp4", "webm"] | None = None
    """Make a film of the colours when all frames are there."""
    fps: float | None = None
    """Frames a second; default: the camera path's own."""
    shard: str | None = None
    """i/n: only this share of the frames, for many machines and one folder."""
    engine: Literal["local", "ray"] = "local"
    """Who renders: this process, or the workers of a Ray cluster with the same folders."""
    address: str = "auto"
    """Address of the Ray cluster; auto finds the one that runs on this machine."""
    workers: int | None = None
    """Tasks that the cluster does at a time; default: one for each GPU or CPU."""
    split: Literal["auto", "frames", "tiles"] = "auto"
    """Size of a cluster's task: a frame, or rows of one; auto takes rows of pictures that are
    very large, or too few for the workers."""
    rasterizer: str = "auto"
    """Who finds the pixels' faces: auto, xscale, or nvdiffrast where it is installed (GPU only)."""
    encoding: str = "auto"
    """Who looks the hash grid up: auto, xscale, or tcnn (tiny-cuda-nn, GPU only)."""
    device: str = "auto"
    """Where to compute; auto takes the GPU where the kernels run on it."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    overwrite: bool = False
    """Replace another job in the folder."""
    verify: bool = False
    """Read finished frames and compare their hashes; damaged ones are rendered again."""
    check: bool = False
    """Render nothing: list frames that are missing or damaged and files that do not belong."""


def run(argv: list[str]) -> int:
    """Parse the options and render."""
    options = parse(Options, argv, "render")
    with importing("xscale.render.batch"):
        newest = _read_ahead(options.run)
    from xscale import ops
    from xscale.errors import UsageError
    from xscale.render.job import Settings, make_job
    from xscale.render.run import Run

    if options.video and options.format not in ("png", "jpg"):
        raise UsageError("a film is made of 8-bit frames", advice="take --format png or jpg")
    if options.video and not options.side_by_side and "colour" not in options.outputs:
        raise UsageError("a film is made of colours", advice="add colour to --outputs")
    if options.cameras is not None and options.out is None:
        raise UsageError("--cameras needs a folder for the pictures", advice="give --out FOLDER")
    shard = None if options.shard is None else parse_pair(options.shard, "--shard", "i/n", "/")
    device = str(ops.pick_device(options.device, warn))
    opened = Run.open(options.run, device, photos_at_render=options.photos_at_render, newest=newest)
    frames, fps = _frames(options, opened)
    settings = Settings(
        outputs=tuple(options.outputs),
        format=options.format,
        data=options.data,
        samples=_samples(options, opened, frames),
        side_by_side=options.side_by_side,
        background=options.background,
    )
    job = make_job(opened, frames, settings)
    named = "-".join(options.views) if len(options.views) == 1 else "views"
    folder = options.out or opened.folder.pictures(named)
    if options.check:
        return _check(job, folder)
    overwrite = options.overwrite or options.out is None
    engine = None
    if options.engine == "ray":
        from xscale.render.ray_engine import ray_engine

        engine = ray_engine(options.address, options.workers, options.split)
    with ops.use_peers(options.rasterizer, options.encoding):
        summary = render_with_bar(
            opened, job, folder, shard, overwrite, options.verify, fps, engine
        )
    _tell(summary)
    if options.video:
        _film(options, job, folder, summary, fps)
    result(folder)
    return 0


def _read_ahead(run: Path) -> tuple[Checkpoint | None, list[str]] | None:
    """Read what is rendered while PyTorch loads; ``Run`` reports what is wrong with it."""
    from xscale.errors import XscaleError
    from xscale.run.folder import RunFolder

    try:
        return RunFolder(run).load_newest()
    except XscaleError:
        return None


def _frames(options: Options, opened: Run) -> tuple[list[JobFrame], float]:
    """Return the frames to render, and frames a second."""
    from dataclasses import replace

    from xscale.errors import UsageError, XscaleError
    from xscale.geometry.trajectory import resized
    from xscale.render.camera_files import NamedCamera, read_cameras
    from xscale.render.job import JobFrame
    from xscale.render.known import cameras_not_seeing, known_to
    from xscale.render.probe import sees_mesh
    from xscale.render.projections import project

    size = parse_size(options.size) if options.size else None
    fps = 24.0
    if options.cameras is not None:
        path = read_cameras(options.cameras, size, known_to(opened))
        for line in path.warnings:
            warn(line)
        named, fps = list(path.cameras), path.fps
        good = [entry.camera for entry in named if entry.camera is not None]
        if good and not sees_mesh(opened.surface, opened.manifest.origin, good):
            raise cameras_not_seeing(opened, good, options.cameras)
    else:
        named = [NamedCamera(_stem(n), opened.camera(n)) for n in _names(options, opened)]
    if options.fps is not None:
        if not 0 < options.fps <= 1000:
            raise UsageError(f"--fps must be above 0 and at most 1000, got {options.fps:g}")
        fps = options.fps
    frames = []
    for entry in named:
        if entry.camera is None:
            frames.append(JobFrame(entry.name, (), entry.fault))
            continue
        camera = resized(entry.camera, *size) if size else entry.camera
        try:
            parts = project(camera, options.projection, options.fov, options.baseline)
        except UsageError:
            raise
        except XscaleError as error:
            frames.append(JobFrame(entry.name, (), str(error)))
            continue
        if options.join:
            frames.append(JobFrame(entry.name, tuple(parts.values())))
        else:
            whole = JobFrame(entry.name, ())
            frames += [
                replace(whole, name=entry.name + suffix, cameras=(part,))
                for suffix, part in parts.items()
            ]
    return frames, fps


def _samples(options: Options, opened: Run, frames: list[JobFrame]) -> int:
    """Return samples along a pixel's edge, one number for all frames."""
    if options.samples != "auto":
        return options.samples
    if "colour" not in options.outputs:
        return 1
    from xscale.render.sampling import samples_for

    samples = samples_for(opened, [camera for frame in frames for camera in frame.cameras])
    if samples > 1:
        say(f"{samples} x {samples} samples a pixel, as from afar (--samples 1 is faster)")
    return samples


def _names(options: Options, opened: Run) -> list[str]:
    from xscale.errors import UsageError

    if len(options.views) == 1 and options.views[0] in ("test", "train", "all"):
        return opened.names(options.views[0])
    for name in options.views:
        if name not in opened.manifest.cameras:
            raise UsageError(f"the run has no photo {name}", where=options.run)
    return options.views


def _stem(name: str) -> str:
    from xscale.scene.photo import png_name

    return png_name(name).removesuffix(".png")


def render_with_bar(
    opened: Run,
    job: Job,
    folder: Path,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
    verify: bool = False,
    fps: float = 24.0,
    engine: Engine | None = None,
) -> Summary:
    """Render a job with a progress bar that shows frames a second and the time left."""
    from xscale.render.batch import local_engine, render_batch

    with progress_bar() as bar:
        task = bar.add_task("rendering", total=len(job.frames))
        began: list[float | int] = []

        def show(done: int, total: int, name: str) -> None:
            now = time.monotonic()
            if not began:
                began.extend((now, done))
            rate = (done - began[1]) / (now - began[0]) if now > began[0] else 0.0
            text = f"rendering {name}  {rate:.2f} frames/s" if rate else f"rendering {name}"
            bar.update(task, completed=done, total=total, description=text)

        return render_batch(
            opened,
            job,
            folder,
            shard=shard,
            engine=engine or local_engine,
            overwrite=overwrite,
            verify=verify,
            fps=fps,
            on_frame=show,
        )


def _tell(summary: Summary) -> None:
    for line in summary.warnings[:3]:
        warn(line)
    if len(summary.warnings) > 3:
        warn(f"and {len(summary.warnings) - 3} more such remarks, see manifest.json")
    say(f"{summary.rendered} frames rendered, {summary.kept} were there already")


def _film(options: Options, job: Job, folder: Path, summary: Summary, fps: float) -> None:
    from xscale.render.video import write_video

    if not summary.complete:
        say("the film is made when the other shards are done: repeat the command without --shard")
        return
    outputs = list(job.settings.outputs)
    place = 0 if job.settings.side_by_side else outputs.index("colour")
    pictures = [folder / job.paths(frame)[place] for frame in job.frames]
    path = folder / f"video.{options.video}"
    with progress_bar() as bar:
        task = bar.add_task("encoding", total=len(pictures))
        write_video(
            path, pictures, options.video, fps, lambda done: bar.update(task, completed=done)
        )
    result(path)


def _check(job: Job, folder: Path) -> int:
    from xscale.errors import IntegrityError
    from xscale.render.journal import JobFolder

    found = JobFolder(folder, job).check()
    print_json(found)
    if found["missing"] or found["damaged"]:
        raise IntegrityError(
            f"{len(found['missing'])} frames are missing, {len(found['damaged'])} damaged",
            where=folder,
            advice="render again with --verify",
        )
    return 0

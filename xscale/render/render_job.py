"""Render a run's views or any cameras into a folder: what ``xscale render`` does, from Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from xscale.errors import IntegrityError, UsageError, XscaleError
from xscale.geometry.trajectory import resized
from xscale.render.batch import Engine, Summary, local_engine, render_batch
from xscale.render.camera_files import read_cameras
from xscale.render.camera_path import NamedCamera
from xscale.render.job import Job, JobFrame, make_job
from xscale.render.journal import JobFolder
from xscale.render.known import cameras_not_seeing, known_to
from xscale.render.options import RenderOptions
from xscale.render.probe import sees_mesh
from xscale.render.projections import project
from xscale.render.run import Run
from xscale.render.sampling import samples_for
from xscale.render.video import write_video
from xscale.render.views import frame_name

_FPS = 24.0


@dataclass(frozen=True, eq=False)
class Planned:
    """A job that was checked, and where it goes; nothing is rendered yet."""

    run: Run
    job: Job
    folder: Path
    fps: float
    """Frames a second of a film."""
    into_run: bool
    """Whether the folder is the run's own, whose older job is replaced."""
    warnings: tuple[str, ...] = ()
    """Coded lines about the camera file."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """Result of a job."""

    folder: Path
    job: Job
    summary: Summary
    film: Path | None = None
    """The film, where one was asked for and every frame of the whole job is finished."""


def plan_job(
    run: Run | str | Path,
    options: RenderOptions,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
) -> Planned:
    """Return the job that options describe; arguments and errors of ``render_job``."""
    folder = None if out is None else Path(out)
    place = None if isinstance(run, Run) else Path(run)
    options.validate(folder, overwrite=overwrite, run=place)
    run = run if isinstance(run, Run) else Run.open(run)
    named, path_fps, warnings = _cameras(run, options)
    frames = _frames(named, options)
    fps = path_fps if options.fps is None else options.fps
    samples = options.samples
    if samples == "auto":
        cameras = [camera for frame in frames for camera in frame.cameras]
        samples = samples_for(run, cameras) if "colour" in options.outputs else 1
    job = make_job(run, frames, options.settings(samples))
    if folder is not None:
        return Planned(run, job, folder, fps, into_run=False, warnings=warnings)
    name = options.views[0] if len(options.views) == 1 else "views"
    return Planned(run, job, run.folder.pictures(name), fps, into_run=True)


def render_job(
    run: Run | str | Path,
    options: RenderOptions = RenderOptions(),  # noqa: B008 - frozen
    out: str | Path | None = None,
    *,
    engine: Engine = local_engine,
    overwrite: bool = False,
    verify: bool = False,
    on_plan: Callable[[Planned], None] | None = None,
    on_frame: Callable[[int, int, str], None] | None = None,
    on_film: Callable[[int, int], None] | None = None,
) -> Rendered:
    """Render cameras into a folder; frames that are finished there already are kept.

    Options and the folder are checked first, in milliseconds, before the run is read.

    Args:
        run: The run, opened, or its folder.
        options: What to render, and how.
        out: Folder for the pictures. Default: ``renders/VIEWS`` of the run, whose older job is
            replaced.
        engine: Who renders.
        overwrite: Replace another job in the folder.
        verify: Check the hashes of finished frames, not only their sizes; those of a film's
            frames are always checked.
        on_plan: Called once, before the first frame.
        on_frame: Called with (done, of how many, name) after each frame.
        on_film: Called with (done, of how many) while the film is encoded.

    Raises:
        UsageError: An option is impossible, or the run has no such photo.
        OutputExistsError: The folder holds something else.
        InputError: A file is missing or wrong.
        IntegrityError: The run is damaged, or a film's frame of another shard.
        NumericsError: The model has NaN or infinite numbers.
        PartialError: Some frames failed; the others are finished.
        StorageError: A file cannot be written.
    """
    planned = plan_job(run, options, out, overwrite=overwrite)
    if on_plan is not None:
        on_plan(planned)
    summary = render_batch(
        planned.run,
        planned.job,
        planned.folder,
        shard=options.part,
        engine=engine,
        overwrite=overwrite or planned.into_run,
        verify=verify or options.video is not None,
        fps=planned.fps,
        on_frame=on_frame,
    )
    film = None
    if options.video and summary.complete:
        film = _film(planned, options.video, on_film)
    return Rendered(planned.folder, planned.job, summary, film)


def check_job(
    run: Run | str | Path, options: RenderOptions, out: str | Path | None = None
) -> tuple[Path, dict[str, list[str]]]:
    """Compare a folder with the job that options describe; render nothing.

    Returns:
        The folder, and names and files as of ``JobFolder.check``.
    """
    planned = plan_job(run, options, out, overwrite=True)
    return planned.folder, JobFolder(planned.folder, planned.job).check()


def _cameras(run: Run, options: RenderOptions) -> tuple[list[NamedCamera], float, tuple[str, ...]]:
    """Return the cameras that options name, frames a second, and coded lines about their file."""
    if options.cameras is None:
        names = _names(run, options.views)
        return [NamedCamera(frame_name(name), run.camera(name)) for name in names], _FPS, ()
    path = read_cameras(options.cameras, options.width_and_height, known_to(run))
    good = [entry.camera for entry in path.cameras if entry.camera is not None]
    if good and not sees_mesh(run.surface, run.manifest.origin, good):
        raise cameras_not_seeing(run, good, options.cameras)
    return list(path.cameras), path.fps, path.warnings


def _frames(named: list[NamedCamera], options: RenderOptions) -> list[JobFrame]:
    """Return the frames that cameras give, in the options' size and projection."""
    size = options.width_and_height
    frames: list[JobFrame] = []
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
    return frames


def _names(run: Run, views: tuple[str, ...]) -> list[str]:
    if len(views) == 1 and views[0] in ("test", "train", "all"):
        return run.names(views[0])
    for name in views:
        if name not in run.manifest.cameras:
            raise UsageError(f"the run has no photo {name}", where=run.path)
    return list(views)


def _film(planned: Planned, kind: str, on_film: Callable[[int, int], None] | None) -> Path:
    """Encode a job's colours, or its pictures side by side.

    Raises:
        IntegrityError: A picture, of another shard for example, is not the one that was rendered.
    """
    job, settings = planned.job, planned.job.settings
    whole = JobFolder(planned.folder, job).finished(verify=True)
    damaged = [frame.name for index, frame in enumerate(job.frames) if index not in whole]
    if damaged:
        raise IntegrityError(
            f"frame {damaged[0]} changed since it was rendered",
            where=planned.folder,
            advice="render again with --verify",
        )
    place = 0 if settings.side_by_side else settings.outputs.index("colour")
    pictures = [planned.folder / job.paths(frame)[place] for frame in job.frames]
    path = planned.folder / f"video.{kind}"

    def show(done: int) -> None:
        if on_film is not None:
            on_film(done, len(pictures))

    write_video(path, pictures, kind, planned.fps, show)
    return path

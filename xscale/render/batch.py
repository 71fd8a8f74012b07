"""Many pictures: what is missing is rendered and remembered, a bad frame stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from xscale.errors import (
    ClusterError,
    DeviceError,
    PartialError,
    ResourceError,
    StorageError,
    XscaleError,
)
from xscale.io.storage import free_bytes
from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
from xscale.render.job import Bands, Job, render_frame
from xscale.render.journal import JobFolder
from xscale.render.options import check_shard
from xscale.render.run import Run

Outcome = tuple[int, dict | XscaleError]
"""A frame's index with its record, or with why it could not be rendered."""

FATAL = (StorageError, ResourceError, DeviceError, ClusterError)
"""Errors that would meet every other frame too."""

_MOST_COMPRESSED = 1 / 50
"""Share of its bytes that a picture takes at least, unless it is empty."""


class Engine(Protocol):
    """Renders frames somewhere and yields each as it is done, in any order."""

    def __call__(
        self, run: Run, job: Job, pending: Sequence[int], folder: Path
    ) -> Iterable[Outcome]:
        """Yield an outcome for every pending frame."""


@dataclass
class Summary:
    """How a batch went."""

    rendered: int = 0
    kept: int = 0
    """Frames that were finished before."""
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    complete: bool = False
    """Every frame of the whole job (all shards) is there."""


def local_engine(run: Run, job: Job, pending: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """Render here, one frame after another."""
    for index in pending:
        yield index, attempt(run, job, index, folder)


def attempt(
    run: Run, job: Job, index: int, folder: Path, bands: Bands | None = None
) -> dict | XscaleError:
    """Render one frame; return its record or an error that concerns this frame alone.

    Arguments are those of ``render_frame``.

    Raises:
        StorageError: The folder cannot be written; no other frame could be either.
        ResourceError: There is not enough memory, likewise.
        DeviceError: The device is gone, likewise.
        ClusterError: The cluster is, likewise.
    """
    try:
        return render_frame(run, job, index, folder, bands)
    except FATAL:
        raise
    except XscaleError as error:
        return error


def render_batch(
    run: Run,
    job: Job,
    folder: Path,
    *,
    shard: tuple[int, int] | None = None,
    engine: Engine = local_engine,
    overwrite: bool = False,
    verify: bool = False,
    fps: float = 24.0,
    on_frame: Callable[[int, int, str], None] | None = None,
) -> Summary:
    """Render what is missing of a job.

    Frames are published whole, then written into the journal: killed anywhere, the next call
    renders only what is not listed, and the files are the same as without the kill.

    Args:
        run: The opened run.
        job: See ``make_job``.
        folder: Where; must be new, empty, or hold this very job.
        shard: (i, n): only frames i - 1, i - 1 + n, ...; shards share the folder.
        engine: Who renders.
        overwrite: Replace another job's folder.
        verify: Check the hashes of finished frames, not only their sizes.
        fps: For cameras.json.
        on_frame: Called with (done, of how many, name) after each frame.

    Raises:
        PartialError: Some frames failed; the others are done and listed.
        BusyError: Another process renders into the folder.
        OutputExistsError: The folder holds something else.
        StorageError: The disk is full or the like; finished frames are safe and listed.
    """
    if shard is not None:
        check_shard(shard)
    first, step = (0, 1) if shard is None else (shard[0] - 1, shard[1])
    mine = range(first, len(job.frames), step)
    if not folder.exists():
        _check_room(job, mine, folder)
    place = JobFolder(folder, job, shard)
    summary = Summary()
    with place.opened(overwrite):
        _write_cameras(job, folder, fps)
        finished = place.finished(verify)
        pending = [index for index in mine if index not in finished]
        summary.kept = len(mine) - len(pending)
        try:
            _gather(engine(run, job, pending, folder), place, summary, len(mine), on_frame)
        finally:
            manifest = place.write_manifest(summary.failed, run.warnings)
        summary.complete = len(manifest["finished"]) == len(job.frames)
        summary.warnings = [*run.warnings, *_warnings(manifest["finished"])]
    if summary.failed:
        name, error = next(iter(summary.failed.items()))
        raise PartialError(
            f"{len(summary.failed)} of {len(mine)} frames failed, the others are done; first "
            f"{name}: {error}",
            where=folder,
            advice="manifest.json lists them; correct the cameras and render again",
        )
    return summary


def _check_room(job: Job, frames: Iterable[int], folder: Path) -> None:
    """Refuse a job that the disk cannot hold, however well its pictures compress.

    Raises:
        StorageError: It has not the room.
    """
    files, needed = job.settings.files(), 0.0
    for index in frames:
        pixels = sum(camera.width * camera.height for camera in job.frames[index].cameras)
        for file in files:
            share = 1 if file.kind == "npy" else _MOST_COMPRESSED
            needed += pixels * file.across * file.bytes_per_pixel * share
    free = free_bytes(folder)
    if free is not None and needed > free:
        raise StorageError(
            f"the pictures take {needed / 1e6:,.0f} MB at least, {free / 1e6:,.0f} MB are free",
            where=folder,
            advice="choose another folder, a smaller --size, or fewer frames or outputs",
        )


def _gather(
    outcomes: Iterable[Outcome],
    place: JobFolder,
    summary: Summary,
    total: int,
    on_frame: Callable[[int, int, str], None] | None,
) -> None:
    for index, outcome in outcomes:
        name = place.job.frames[index].name
        if isinstance(outcome, XscaleError):
            summary.failed[name] = str(outcome)
        else:
            place.append(outcome)
            summary.rendered += 1
        if on_frame is not None:
            on_frame(summary.kept + summary.rendered + len(summary.failed), total, name)


def _write_cameras(job: Job, folder: Path, fps: float) -> None:
    """Put the job's cameras beside the pictures; cameras that exist are those of this job."""
    if (folder / "cameras.json").exists():
        return
    named = [
        NamedCamera(f.name if len(f.cameras) == 1 else f"{f.name}.{k}", camera)
        for f in job.frames
        for k, camera in enumerate(f.cameras)
    ]
    if named:
        write_camera_path(folder / "cameras.json", CameraPath(tuple(named), fps), overwrite=True)


def _warnings(records: Sequence[dict]) -> list[str]:
    """Gather the frames' remarks, and pictures that equal the one before them."""
    found = [f"{record['name']}: {line}" for record in records for line in record["warnings"]]
    for before, record in pairwise(records):
        same = all(
            record["files"][name]["pixels"] == entry["pixels"]
            for name, entry in before["files"].items()
        )
        if same and record["coverage"] > 0:
            found.append(f"{record['name']}: W-FRAME-SAME: equals {before['name']}")
    return found

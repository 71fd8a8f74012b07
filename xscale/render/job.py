"""A batch of pictures: what is to be rendered, said once and hashed, and one frame's work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch

import xscale
from xscale.errors import CameraError, NumericsError, UsageError
from xscale.geometry.camera import Camera
from xscale.geometry.camera_json import camera_to_json
from xscale.io.hashing import fingerprint_of
from xscale.io.temporaries import TEMPORARY_PREFIX
from xscale.render.options import JobSettings
from xscale.render.outputs import SIDE_BY_SIDE
from xscale.render.picture import Band, bands_of, render_band, write_picture
from xscale.render.probe import is_inside
from xscale.render.run import Run
from xscale.render.sinks import ENDINGS, check_fits

_PREVIEW = 32
_MOST_PREVIEWS = 16


@dataclass(frozen=True, eq=False)
class JobFrame:
    """One picture of a job."""

    name: str
    cameras: tuple[Camera, ...]
    """Side by side, left to right; empty for a bad one."""
    fault: str | None = None
    """Why there is no camera."""


@dataclass(frozen=True, eq=False)
class Job:
    """All pictures of a job; equal jobs have equal hashes, on every machine."""

    frames: tuple[JobFrame, ...]
    settings: JobSettings
    run: str
    """Fingerprint of the run: mesh and checkpoint."""
    depths: tuple[float, float]
    """Nearest and farthest depth of depth maps."""
    run_id: str | None = None
    """Id of the run; not part of the hash, which the run's fingerprint decides."""

    def description(self) -> dict:
        """Return the job as JSON values; their fingerprint is the job's hash."""
        frames = [
            {"name": f.name, "cameras": [camera_to_json(c) for c in f.cameras]} for f in self.frames
        ]
        return {
            "format": 1,
            "xscale": xscale.__version__,
            "run": self.run,
            "settings": self.settings.as_json(),
            "depths": list(self.depths),
            "frames": frames,
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the description."""
        return fingerprint_of(self.description())

    def paths(self, frame: JobFrame) -> list[Path]:
        """Return a frame's files, relative: NAME.png for colours, OUTPUT/NAME.* for the rest."""
        paths = []
        for file in self.settings.files():
            name = PurePosixPath(frame.name + ENDINGS[file.kind])
            paths.append(
                Path(name if file.output in ("colour", SIDE_BY_SIDE) else file.output / name)
            )
        return paths


def make_job(run: Run, frames: Sequence[JobFrame], settings: JobSettings) -> Job:
    """Check a job before any work is done.

    Raises:
        UsageError: No frame, two of one name, impossible settings, or a picture too large for its
            format.
        InputError: The run lacks a file.
        NumericsError: The model has NaN or infinite numbers, so every picture would.
    """
    if not frames:
        raise UsageError("there is nothing to render", advice="give --views or --cameras")
    files = settings.files()
    run.renderer_on(settings.background).check([name for f in files for name in f.needs])
    if any("uncertainty" in file.needs for file in files):
        _ = run.residuals
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            raise UsageError(f"two frames are called {frame.name}")
        if any(p.startswith(TEMPORARY_PREFIX) for p in PurePosixPath(frame.name).parts):
            raise UsageError(
                f"a frame is called {frame.name}: files of such names are removed",
                advice=f"give it a name that does not begin with {TEMPORARY_PREFIX}",
            )
        seen.add(frame.name)
        for file in files if frame.cameras else ():
            width = sum(camera.width for camera in frame.cameras)
            check_fits(
                file.kind, width * file.across, frame.cameras[0].height, file.bytes_per_pixel
            )
    check_model(run)
    depths = _depth_range(run, frames) if any(f.needs_depths for f in files) else (0.0, 0.0)
    return Job(tuple(frames), settings, run.fingerprint, depths, run.manifest.run)


def check_model(run: Run) -> None:
    """Refuse a model that would spoil every picture.

    Raises:
        NumericsError: It has NaN or infinite numbers.
    """
    for name, tensor in run.model.tensors().items():
        # Least and greatest are a tenth of the work, and NaN where there is any.
        if tensor.numel() and not bool(torch.stack(tensor.aminmax()).isfinite().all()):
            raise NumericsError(
                f"tensor {name} of the model has NaN or infinite numbers",
                where=run.path,
                advice="render an earlier checkpoint, or train again",
            )


def _depth_range(run: Run, frames: Sequence[JobFrame]) -> tuple[float, float]:
    """Return depths between which nearly everything lies that the job sees, from small previews."""
    good = [frame.cameras[0] for frame in frames if frame.cameras]
    seen = [np.zeros(0, np.float32)]
    for camera in good[:: max(1, len(good) // _MOST_PREVIEWS)]:
        small = camera.scaled(_PREVIEW, _PREVIEW)
        depth = run.render(small, outputs=("depth",)).depth
        seen.append(depth[torch.isfinite(depth)].cpu().numpy())
    depths = np.concatenate(seen)
    if not len(depths):
        return 1.0, 2.0
    near, far = np.quantile(depths, (0.005, 0.995))
    return float(near), float(far)


Bands = Callable[[int], Iterable[Band]]
"""Gives the bands of a frame by its index."""


def frame_band(run: Run, job: Job, index: int, top: int, rows: int) -> Band:
    """Render some rows of a frame as its files hold them."""
    return render_band(
        run.renderer_on(job.settings.background),
        job.frames[index].cameras,
        job.settings.files(),
        job.depths,
        job.settings.samples,
        top,
        rows,
        smooth=job.settings.edges == "smooth",
    )


def frame_bands(job: Job, index: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of the bands that a frame is made of; none for a bad camera."""
    cameras = job.frames[index].cameras
    return bands_of(cameras, job.settings.samples) if cameras else []


def render_frame(run: Run, job: Job, index: int, folder: Path, bands: Bands | None = None) -> dict:
    """Render and publish one frame; the same on every engine, and may be done twice.

    Args:
        run: The run, opened.
        job: What is rendered.
        index: Of the frame.
        folder: The job's folder.
        bands: Who renders the frame's bands; default: this process.

    Returns:
        The journal's record of it.

    Raises:
        CameraError: The frame's camera is bad.
        StorageError: A file cannot be written.
    """
    frame = job.frames[index]
    if not frame.cameras:
        raise CameraError(frame.fault or "has no camera", where=frame.name)
    start = time.perf_counter()
    if bands is None:
        made = (frame_band(run, job, index, *rows) for rows in frame_bands(job, index))
    else:
        made = bands(index)
    written = write_picture(frame.cameras, job.settings.files(), job.paths(frame), folder, made)
    warnings = []
    if written.coverage == 0:
        warnings.append("W-FRAME-EMPTY: the camera sees nothing of the mesh")
    elif written.coverage > 0.95 and any(
        is_inside(run.surface, run.manifest.origin, c) for c in frame.cameras
    ):
        warnings.append("W-FRAME-INSIDE: the camera sees only backs of faces: inside the mesh?")
    return {
        "index": index,
        "name": frame.name,
        "files": written.files,
        "coverage": round(written.coverage, 6),
        "seconds": round(time.perf_counter() - start, 3),
        "node": os.uname().nodename,
        "device": run.where,
        "warnings": warnings,
    }

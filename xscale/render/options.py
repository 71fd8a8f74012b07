"""Options of a render, for the command line and for Python; checked before a run is opened.

Nothing here imports PyTorch: a mistake is reported in milliseconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import xscale
from xscale.errors import OutputExistsError, StorageError, UsageError, XscaleError
from xscale.io.own_files import read_own_json
from xscale.io.system_errors import as_storage_error
from xscale.io.temporaries import TEMPORARY_PREFIX
from xscale.render.outputs import OutputFile, output_file, side_by_side
from xscale.render.projections import check_projection
from xscale.run.folder import RunFolder

LARGEST = 1 << 20
"""Pixels along an edge; float32 pixel positions stay exact to a sixteenth up to here."""
_MOST_SAMPLES = 16
_MOST_FPS = 1000


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How every frame of a job is rendered and written."""

    outputs: tuple[str, ...] = ("colour",)
    """See ``xscale.render.outputs.output_names``."""
    format: str = "png"
    """File format of colours."""
    data: str = "npy"
    """File format of numbers."""
    samples: int = 1
    """Samples along a pixel's edge."""
    side_by_side: bool = False
    """One picture of all outputs, left to right, instead of a file each."""
    edges: str = "smooth"
    """Whether colours take more samples where the surface breaks off ("smooth") or not."""
    background: str = "run"
    """Background of uncovered pixels: one of ``xscale.render.run.BACKGROUNDS``."""

    def as_json(self) -> dict[str, Any]:
        """Return the settings as job.json keeps them."""
        return asdict(self) | {"outputs": list(self.outputs)}

    def files(self) -> list[OutputFile]:
        """Return the files of a frame.

        Raises:
            UsageError: An output or format does not exist, or an output is named twice.
        """
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise UsageError("--outputs needs at least one output, and each once")
        if not 1 <= self.samples <= _MOST_SAMPLES:
            raise UsageError(f"--samples is 1 to {_MOST_SAMPLES}, got {self.samples}")
        files = [output_file(name, self.format, self.data) for name in self.outputs]
        return [side_by_side(files)] if self.side_by_side else files


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Options of a render: which cameras of a run, and what is written of each."""

    views: tuple[str, ...] = ("test",)
    """Photos whose cameras are rendered: test, train, all, or photo names."""
    cameras: Path | None = None
    """Cameras to render instead of --views: a camera path (.json, see xscale path), a folder with a
    COLMAP model, or a folder of _cam.txt files."""
    size: str | None = None
    """Size of the pictures; the vertical field of view stays; default: the cameras' own size."""
    outputs: tuple[str, ...] = ("colour",)
    """Outputs to write: names of ``xscale.render.outputs.output_names``."""
    side_by_side: bool = False
    """Join all outputs of a frame in one picture, left to right; for colour, coverage and outputs
    that end in _map."""
    format: Literal["png", "png16", "jpg", "exr", "tiff", "tiff16"] = "png"
    """File format of colours: sRGB in 8 or 16 bits, or EXR in linear light."""
    data: Literal["npy", "exr", "tiff"] = "npy"
    """File format of numeric outputs. Numbers are float32; face ids are int32."""
    samples: int | Literal["auto"] = "auto"
    """Samples along a pixel's edge; a pixel is the mean of its samples that hit the mesh. auto
    takes one, and up to four for views from farther away than the photos."""
    edges: Literal["smooth", "hard"] = "smooth"
    """Silhouettes: smooth takes more samples in pixels where the surface breaks off; hard takes the
    pixel's centre only, which is about a tenth faster."""
    background: Literal["run", "learned", "white", "black"] = "run"
    """Background of pixels that the mesh does not cover; run takes that of the training."""
    projection: Literal[
        "camera", "perspective", "fisheye", "equirectangular", "cubemap", "stereo"
    ] = "camera"
    """Lens: the cameras' own, or another one in their place."""
    fov: float | None = None
    """Vertical field of view in degrees, for perspective and fisheye."""
    baseline: float | None = None
    """Distance between the eyes in world units, for stereo."""
    join: bool = False
    """cubemap, stereo: put the pictures side by side into one file."""
    video: Literal["mp4", "webm"] | None = None
    """Make a film of the colours when all frames are finished."""
    fps: float | None = None
    """Frames per second; default: the camera path's own."""
    shard: str | None = None
    """Render share I of N of the frames: many machines can share one folder."""

    def validate(
        self, out: Path | None = None, *, overwrite: bool = False, run: Path | None = None
    ) -> None:
        """Refuse options that cannot be meant, before anything but the manifest is read.

        Args:
            out: The folder for the pictures, where one is given.
            overwrite: Whether another job in it may be replaced.
            run: The run's folder, where it is not open yet.

        Raises:
            UsageError: An option is impossible, or two do not fit together.
            OutputExistsError: The folder holds other things than a job, or a job with other
                settings or of another run.
            StorageError: It is not a folder.
        """
        self.settings(1 if self.samples == "auto" else self.samples).files()
        check_projection(self.projection, self.fov, self.baseline)
        if not self.views:
            raise UsageError("--views needs test, train, all, or names of photos")
        if self.fps is not None and not 0 < self.fps <= _MOST_FPS:
            raise UsageError(f"--fps must be above 0 and at most {_MOST_FPS}, got {self.fps:g}")
        if self.video and self.format not in ("png", "jpg"):
            raise UsageError("a film is made of 8-bit frames", advice="take --format png or jpg")
        if self.video and not self.side_by_side and "colour" not in self.outputs:
            raise UsageError("a film is made of colours", advice="add colour to --outputs")
        if self.cameras is not None and out is None:
            raise UsageError(
                "--cameras needs a folder for the pictures", advice="give --out FOLDER"
            )
        _ = self.width_and_height, self.part
        if out is not None:
            check_folder(out, overwrite=overwrite)
            if not overwrite:
                self._refuse_other_job(out, run)

    def _refuse_other_job(self, out: Path, run: Path | None) -> None:
        """Refuse a job that differs in what is known early; its hash is compared when it begins."""
        try:
            theirs = read_own_json(out / "job.json")
            run_id = None if run is None else RunFolder(run).manifest.run
        except (OSError, XscaleError):
            return  # what is wrong with either is reported where it is read
        settings = self.settings(1 if self.samples == "auto" else self.samples).as_json()
        old = theirs.get("settings")
        changed = []
        if isinstance(old, dict):
            differing = {k for k in settings if old.get(k) != settings[k]}
            if differing - ({"samples"} if self.samples == "auto" else set()):
                changed.append("settings")
        if theirs.get("xscale") not in (None, xscale.__version__):
            changed.append("xscale")
        if run_id is not None and theirs.get("run_id") not in (None, run_id):
            changed.append("run")
        if changed:
            raise other_job(out, changed)

    def settings(self, samples: int) -> JobSettings:
        """Return the settings of every frame, of which ``samples`` may depend on the views."""
        return JobSettings(
            outputs=tuple(self.outputs),
            format=self.format,
            data=self.data,
            samples=samples,
            side_by_side=self.side_by_side,
            edges=self.edges,
            background=self.background,
        )

    @property
    def width_and_height(self) -> tuple[int, int] | None:
        """``size`` as numbers."""
        return None if self.size is None else parse_size(self.size)

    @property
    def part(self) -> tuple[int, int] | None:
        """``shard`` as (i, n), i from 1."""
        if self.shard is None:
            return None
        part = parse_pair(self.shard, "--shard", "i/n", "/")
        check_shard(part)
        return part


def check_shard(part: tuple[int, int]) -> None:
    """Refuse a share of the frames that does not exist.

    Raises:
        UsageError: i is not 1 to n.
    """
    if not 1 <= part[0] <= part[1]:
        raise UsageError(f"--shard is i/n with i from 1 to n, got {part[0]}/{part[1]}")


def check_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that exists and holds other things than a job.

    Raises:
        OutputExistsError: It does, and ``overwrite`` is not given.
        StorageError: It is not a folder.
    """
    with as_storage_error(folder, "be used"):
        if not os.path.lexists(folder):
            # A name that cannot exist is refused now, and not after the run is read.
            folder.exists()
            return
        if not folder.is_dir():
            raise StorageError("is not a folder", where=folder, advice="choose another name")
        names = sorted(entry.name for entry in folder.iterdir())
    others = [
        name
        for name in names
        if name not in ("lock", "shards") and not name.startswith(TEMPORARY_PREFIX)
    ]
    if others and "job.json" not in names and not overwrite:
        raise OutputExistsError(
            f"holds other files ({others[0]})",
            where=folder,
            advice="choose another folder or give --overwrite",
        )


def other_job(folder: Path, changed: Sequence[str]) -> OutputExistsError:
    """Return the error of a folder whose job differs in ``changed``."""
    return OutputExistsError(
        f"holds another job (different: {', '.join(changed) or 'hash'})",
        where=folder,
        advice="choose another folder or give --overwrite",
    )


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of ``WxH``.

    Raises:
        UsageError: It is not a size, or too large.
    """
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text.strip(), re.ASCII)
    if not match or not int(match[1]) or not int(match[2]):
        raise UsageError(f"--size is WxH in pixels, for example 960x540, got {text!r:.40}")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > LARGEST:
        raise UsageError(f"--size is {text:.40}, at most {LARGEST} pixels along an edge")
    return width, height


def parse_pair(text: str, option: str, form: str, separator: str) -> tuple[int, int]:
    """Return two whole numbers around a separator.

    Raises:
        UsageError: They are not.
    """
    match = re.fullmatch(rf"(\d{{1,9}}){re.escape(separator)}(\d{{1,9}})", text.strip(), re.ASCII)
    if not match:
        raise UsageError(f"{option} is {form}, got {text!r:.40}")
    return int(match[1]), int(match[2])

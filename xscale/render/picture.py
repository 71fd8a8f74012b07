"""One picture of any size: rendered in bands of rows that go straight into its files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xscale.errors import UsageError
from xscale.geometry.camera import Camera
from xscale.io.hashing import sha256_file
from xscale.render.frame import Frame
from xscale.render.outputs import OutputFile
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.render.sinks import open_sink

_BAND_SAMPLES = 1 << 21


@dataclass(frozen=True)
class Written:
    """Outcome of one picture."""

    files: dict[str, dict]
    """By output: file (relative), bytes, sha256 of the file and of its pixels."""
    coverage: float
    """Share of the pixels that the mesh covers."""


def render_rows(
    renderer: Renderer,
    cameras: Sequence[Camera],
    outputs: Sequence[str],
    top: int,
    rows: int,
    samples: int = 1,
    *,
    smooth: bool = True,
) -> Frame:
    """Render rows ``top`` to ``top + rows`` of cameras side by side.

    Args:
        renderer: Of the run.
        cameras: One or more of equal height, left to right.
        outputs: See ``Renderer.render``.
        top: First row.
        rows: How many.
        samples: Samples along a pixel's edge.
        smooth: See ``render_resolved``.
    """
    parts = [
        render_resolved(
            renderer, camera, outputs, (0, top, camera.width, rows), samples, smooth=smooth
        )
        for camera in cameras
    ]
    names = parts[0].values()
    return Frame(**{name: torch.cat([getattr(p, name).cpu() for p in parts], 1) for name in names})


@dataclass(frozen=True)
class Band:
    """Rows of a picture as its files hold them."""

    covered: int
    """Pixels that the mesh covers."""
    values: tuple[np.ndarray, ...]
    """One for each file, [rows, W] or [rows, W, channels]."""


def bands_of(cameras: Sequence[Camera], samples: int = 1) -> list[tuple[int, int]]:
    """Return (first row, rows) of the bands that a picture of cameras side by side is made of."""
    height, width = cameras[0].height, sum(camera.width for camera in cameras)
    rows = max(1, _BAND_SAMPLES // (width * samples * samples))
    return [(top, min(rows, height - top)) for top in range(0, height, rows)]


def render_band(
    renderer: Renderer,
    cameras: Sequence[Camera],
    files: Sequence[OutputFile],
    depths: tuple[float, float],
    samples: int,
    top: int,
    rows: int,
    *,
    smooth: bool = True,
) -> Band:
    """Render some rows of cameras side by side into what their files hold.

    Args:
        renderer: Of the run.
        cameras: One or more of equal height, left to right.
        files: What is to be written.
        depths: Nearest and farthest depth of depth maps.
        samples: Samples along a pixel's edge.
        top: First row.
        rows: How many.
        smooth: See ``render_resolved``.
    """
    needs = sorted({name for file in files for name in file.needs})
    frame = render_rows(renderer, cameras, needs, top, rows, samples, smooth=smooth)
    values = tuple(np.ascontiguousarray(file.values(frame, depths)) for file in files)
    return Band(int(frame.coverage.sum()), values)


def write_picture(
    cameras: Sequence[Camera],
    files: Sequence[OutputFile],
    paths: Sequence[Path],
    folder: Path,
    bands: Iterable[Band],
) -> Written:
    """Write a picture's files from its bands; memory does not grow with the picture's height.

    Args:
        cameras: One or more of equal height, left to right.
        files: What to write.
        paths: Where, relative to ``folder``; existing files are replaced.
        folder: The job's folder.
        bands: Of ``bands_of``, in order, whoever renders them.

    Raises:
        UsageError: The cameras' heights differ.
        StorageError: A file cannot be written; none of this picture's is then published.
    """
    height, width = cameras[0].height, sum(camera.width for camera in cameras)
    if any(camera.height != height for camera in cameras):
        raise UsageError("cameras side by side must have the same height")
    digests = [hashlib.sha256() for _ in files]
    covered = 0
    with contextlib.ExitStack() as stack:
        sinks = [
            stack.enter_context(
                open_sink(
                    folder / path, file.kind, width * file.across, height, file.channels, file.dtype
                )
            )
            for file, path in zip(files, paths, strict=True)
        ]
        for band in bands:
            covered += band.covered
            for values, sink, digest in zip(band.values, sinks, digests, strict=True):
                digest.update(values)
                sink.write(values)
    listed = {
        file.output: {
            "file": path.as_posix(),
            "bytes": (folder / path).stat().st_size,
            "sha256": sha256_file(folder / path),
            "pixels": digest.hexdigest(),
        }
        for file, path, digest in zip(files, paths, digests, strict=True)
    }
    return Written(listed, covered / (width * height))

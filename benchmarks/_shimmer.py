"""Scores by the size of a pixel on the surface, and how much pictures change when nothing does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from xscale.geometry.camera import Camera
from xscale.metrics.ssim import RADIUS, ssim_map
from xscale.metrics.variants import colour_fitted
from xscale.render.frame import Frame
from xscale.render.probe import surface_point
from xscale.render.run import Run
from xscale.scene.scene import Scene

FRAMES = 4
SHIFT = 1.37
"""Pixels by which the picture moves from frame to frame: not whole ones."""
SQUARE = 160
_DEEPER = 0.005


def octaves(scene: Scene, run: Run, middle: float) -> dict[int, dict]:
    """Score a run's test views by footprint.

    Args:
        scene: With the photos.
        run: What is scored.
        middle: Footprint of octave 0, world units.

    Returns:
        By octave (negative is closer): share of the covered pixels; PSNR and SSIM over all test
        photos, after each photo's colour fit.
    """
    pixels, squares, similar = [], [], []
    for name in run.names("test"):
        photo = scene.photo(name).read(run.downscale)
        frame = run.render(run.camera(name), outputs=("colour", "footprint"))
        covered = frame.coverage.numpy()
        if not covered.any():
            continue
        fitted = colour_fitted(frame.colour.numpy(), photo, covered)
        filled = np.where(covered[:, :, None], fitted, photo / 255)
        likeness = np.full(covered.shape, np.nan)
        inner = (slice(RADIUS, -RADIUS),) * 2
        likeness[inner] = ssim_map(filled, photo / 255)
        octave = np.round(np.log2(frame.footprint.numpy()[covered] / middle))
        pixels.append(octave.astype(int))
        squares.append(np.square(fitted - photo / 255).mean(2)[covered])
        similar.append(likeness[covered])
    octave, error, likeness = (np.concatenate(part) for part in (pixels, squares, similar))
    return {
        int(k): {
            "share": float((octave == k).mean()),
            "psnr": -10 * math.log10(max(error[octave == k].mean(), 1e-12)),
            "ssim": float(np.nanmean(likeness[octave == k])),
        }
        for k in np.unique(octave)
        if (octave == k).mean() >= 0.005
    }


def middle_footprint(run: Run) -> float:
    """Return the median footprint of the training views, world units."""
    found = []
    for name in run.names("train"):
        footprint = run.render(run.camera(name), outputs=("footprint",)).footprint
        found.append(footprint[footprint > 0][::17])
    return float(torch.cat(found).median())


def approached(run: Run, name: str, factor: float) -> list[Camera]:
    """Return cameras that look as a photo's does, ``factor`` times as far from what it shows.

    From one to the next they step sideways, by what moves the middle of the picture by ``SHIFT``
    pixels.
    """
    camera = run.camera(name)
    origin = run.manifest.origin
    centre = (camera.width / 2, camera.height / 2)
    target = surface_point(run.surface, origin, camera, *centre)
    if target is None:
        points = run.render(camera, outputs=("position",)).position
        target = points[points.isfinite().all(2)].mean(0).numpy() + np.asarray(origin)
    away = (camera.position - target) * factor
    step = camera.R[0] * SHIFT * np.linalg.norm(away) / camera.fx
    found = []
    for k in range(FRAMES):
        position = target + away + k * step
        found.append(replace(camera, t=-camera.R @ position))
    return found


def zoom(run: Run, name: str, distances: Sequence[float]) -> dict[str, list[np.ndarray]]:
    """Return squares of the frames that ``warping_error`` compares, by distance, as a strip each.

    Args:
        run: What is rendered.
        name: The photo approached.
        distances: In units of the photo's.

    Returns:
        By distance uint8 [SQUARE, SQUARE, 3] a frame, around the middle.
    """
    found = {}
    for distance in distances:
        cameras = approached(run, name, distance)
        across, down = (min(SQUARE, side) for side in (cameras[0].width, cameras[0].height))
        corner = ((cameras[0].width - across) // 2, (cameras[0].height - down) // 2)
        found[f"{distance:g}"] = [
            run.render(camera, rect=(*corner, across, down)).colour.numpy() for camera in cameras
        ]
    return found


def warping_error(run: Run, cameras: Sequence[Camera], samples: int = 1) -> float | None:
    """Return by how much neighbouring frames differ at equal surface points.

    Each frame is compared with the next one, looked up bilinearly where the point of each pixel
    stands in it; points that the next frame does not see are left out.

    Args:
        run: What is rendered.
        cameras: One a frame.
        samples: Along a pixel's edge.

    Returns:
        Root of the mean square, in 8-bit values; None where nothing is seen twice.
    """
    # Colours may be means of samples; the point compared is that of the pixel's centre.
    frames = [run.render(camera, outputs=("colour", "position", "depth")) for camera in cameras]
    if samples > 1:
        colours = [run.render(camera, samples=samples).colour for camera in cameras]
        frames = [
            Frame(**{**frame.values(), "colour": colour})
            for frame, colour in zip(frames, colours, strict=True)
        ]
    origin = np.asarray(run.manifest.origin)
    total, count = 0.0, 0
    for one, two, camera in zip(frames[:-1], frames[1:], cameras[1:], strict=True):
        covered = one.coverage.numpy()
        pixel, depth = camera.recentred(origin).project(one.position.numpy()[covered])
        at = np.stack([pixel[:, 1] - 0.5, pixel[:, 0] - 0.5])
        low = np.zeros((2, 1))
        high = np.array([[camera.height - 1], [camera.width - 1]])
        inside = ((at >= low) & (at <= high)).all(0)
        rows, columns = np.round(np.where(inside, at, 0)).astype(int)
        seen = inside & (depth < two.depth.numpy()[rows, columns] * (1 + _DEEPER))
        # Pixels beside the border of the mesh would be mixed with the background.
        whole = ndimage.binary_erosion(two.coverage.numpy(), iterations=2)
        seen &= whole[rows, columns]
        there = np.stack(
            [
                ndimage.map_coordinates(channel.astype(np.float64), at[:, seen], order=1)
                for channel in two.colour.numpy().transpose(2, 0, 1)
            ],
            axis=1,
        )
        here = one.colour.numpy()[covered][seen]
        total += float(np.square(there - here).sum())
        count += there.size
    return math.sqrt(total / count) if count else None

"""Where photos saw sparse points: a check on cameras and photos that asks no mesh."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xscale.scene.layouts.views import Observations, some

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.scene.options import PixelOrigin
    from xscale.scene.photo import Photo

CODE = "W-CAMERA-REPROJECTION"
FAR_PIXELS = 2.0
"""Median distance from which a camera is doubtful, pixels of the photo."""
FAR_SHARE = 1e-3
"""The same as a share of the photo's longer side, where that is more."""
UNLIKE_OTHERS = 4.0
"""And how many times the scene's median it must be."""
_FEW = 10

Seen = dict[str, tuple[np.ndarray, np.ndarray]]
"""By photo name: pixels float64 [N, 2] at the photo's stored size, points float64 [N, 3]."""


def far_pixels(camera: Camera) -> float:
    """Return from which median distance a camera is doubtful, pixels of its photo."""
    return max(FAR_PIXELS, FAR_SHARE * max(camera.width, camera.height))


def seen_in(
    observations: Observations,
    photos: Sequence[Photo],
    unused: Collection[str],
    pixel_origin: PixelOrigin | str,
) -> Seen:
    """Bring what a model says it saw to its photos.

    Args:
        observations: As the model names photos and counts pixels.
        photos: The scene's.
        unused: Names in the model of photos that are missing or left out.
        pixel_origin: What the model's keypoints count from, as its principal points do.

    Raises:
        KeyError: The model names a photo that the scene has not.
    """
    by_name = {photo.name: photo for photo in photos}
    by_name.update({photo.listed_as: photo for photo in photos})
    shift = 0.5 if pixel_origin == "center" else 0.0
    found = {}
    for name, (pixels, points, size) in observations.items():
        if name in unused:
            continue
        photo = by_name[name]
        scale = np.array([photo.camera.width / size[0], photo.camera.height / size[1]])
        found[photo.name] = ((pixels + shift) * scale, points)
    return found


def check_reprojection(seen: Seen, photos: Sequence[Photo]) -> tuple[list[str], list[str]]:
    """Remark on cameras that put points elsewhere than their photos saw them.

    Returns:
        Remarks, and the names of single photos that are unlike the others.
    """
    cameras = {photo.name: photo.camera for photo in photos}
    off = {}
    for name, (pixels, points) in seen.items():
        with np.errstate(over="ignore", invalid="ignore"):
            projected, depth = cameras[name].project(points)
            far = np.linalg.norm(projected - pixels, axis=1)
        # A point behind the camera, or beyond what numbers hold, was seen by none: it is as far off
        # as can be.
        far = np.where((depth > 0) & np.isfinite(far), far, np.inf)
        far = far[np.isfinite(points).all(axis=1)]
        if len(far) >= _FEW:
            off[name] = float(np.median(far))
    if not off:
        return [], []
    usual = float(np.median([*off.values()]))
    far = float(np.median([far_pixels(cameras[name]) for name in off]))
    limit = max(far, UNLIKE_OTHERS * usual)
    worst = sorted((name for name in off if off[name] > limit), key=lambda name: -off[name])
    if usual > far:
        line = (
            f"{CODE}: sparse points land {usual:.1f} pixels from where they were seen (median of "
            f"{len(off)} photos): were the photos resized, turned or undistorted after the "
            "alignment?"
        )
        return [line], []
    if worst:
        line = (
            f"{CODE}: {len(worst)} of {len(off)} photos saw sparse points over {limit:.1f} pixels "
            f"from where their cameras put them: {some(worst)}; align them again, or leave them "
            "out with --drop-outliers"
        )
        return [line], worst
    return [], []

"""Jitter: rays move a little around their pixels and views, so that no photo is learned by heart.

A pixel shows an area and not a point, and a photo shows it from one side only. A model that meets
the same points from the same sides again and again learns each photo exactly, and what lies between
pixels and between photos at random. So a step moves each ray inside its pixel, and turns its view
direction by a share of the angle to the next photo. The colour stays the pixel's. Moves blur what
is not learned yet, so they begin when each pixel was visited some times, and grow from there.

Moves of a ray follow an additive recurrence: over the steps they fill the square and the cube
evenly, without a generator to ask at every step, and alike on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.statistics import SceneStatistics
from xscale.geometry.camera import Camera
from xscale.training.rays import Rays
from xscale.training.settings import OptimSettings

_STRIDES = tuple(math.sqrt(prime) % 1.0 for prime in (2, 3, 7, 11, 13))
"""Steps of the recurrence; irrational, and so is each pair's ratio."""
_NEIGHBOURS = 12
"""Photos, the nearest by their place, among which the one with the smallest angle is looked for."""
_ALONE = 0.5
"""Radians; spacing where no two photos share a point, and the most that is believed."""


class Jitter:
    """Moves rays in their pixels and turns their view directions.

    Args:
        settings: ``pixel_jitter`` and ``direction_jitter``.
        spacing: Float32 [P], see ``photo_spacing``.
        pixels: Covered pixels of all photos.
        seed: Of the moves.
        device: Where rays are moved.
    """

    def __init__(
        self,
        settings: OptimSettings,
        spacing: Tensor,
        pixels: float,
        seed: int,
        device: torch.device | str,
    ) -> None:
        self._after = settings.jitter_after
        self._visits = settings.batch / max(pixels, 1.0)
        self._pixels = settings.pixel_jitter
        # The standard deviation of a uniform number in [-1, 1] is 1 / sqrt(3).
        turn = math.sqrt(3) * settings.direction_jitter * spacing
        self._turn = turn.to(device) if settings.direction_jitter else None
        generator = torch.Generator().manual_seed(seed)
        self._base = torch.rand(settings.batch, len(_STRIDES), generator=generator).to(device)

    def share(self, step: int) -> float:
        """Return how far rays move at a step, as a share of what the settings ask for."""
        visits = step * self._visits
        return 1.0 if not self._after else min(max(visits / self._after - 1, 0.0), 1.0)

    def __call__(self, rays: Rays, step: int) -> Rays:
        """Return the rays of a step, moved; they lie on the jitter's device."""
        share = self.share(step)
        if share == 0:
            return rays
        start = torch.tensor([step * stride % 1.0 for stride in _STRIDES], dtype=torch.float32)
        # From [0, 1) to [-1, 1).
        move = (self._base[: len(rays.pixel)] + start.to(self._base.device)) % 1.0 * 2 - 1
        if self._pixels:
            rays = replace(rays, pixel=rays.pixel + move[:, :2] * (0.5 * share * self._pixels))
        if self._turn is not None:
            spread = share * self._turn.index_select(0, rays.photo.long())
            rays = replace(rays, turn=move[:, 2:] * spread[:, None])
        return rays


def make_jitter(
    settings: OptimSettings,
    statistics: SceneStatistics,
    cameras: Sequence[Camera],
    pixels: float,
    seed: int,
    device: torch.device | str,
) -> Jitter | None:
    """Return what moves a training's rays; None where the settings leave them where they are.

    Args:
        settings: The optimizer's.
        statistics: Surface points that the photos see.
        cameras: Of the training photos, local frame.
        pixels: Covered pixels of these photos.
        seed: Of the moves.
        device: Where rays are moved.
    """
    if not settings.pixel_jitter and not settings.direction_jitter:
        return None
    return Jitter(settings, photo_spacing(statistics, cameras), pixels, seed, device)


def photo_spacing(statistics: SceneStatistics, cameras: Sequence[Camera]) -> Tensor:
    """Return the angle at surface points between each photo and the next one, float32 [P], radians.

    The median over points that a photo sees; points that the other photo has in its frame and on
    its side of the surface count, hidden or not. Photos that were not looked at, and those that
    share nothing, take the median of the others.
    """
    centres = np.stack([camera.position for camera in cameras])
    found = np.full(len(cameras), np.nan)
    for index, samples in zip(statistics.looked_at.tolist(), statistics.samples, strict=True):
        points, normal, direction = (
            x.cpu().double().numpy() for x in (samples.position, samples.normal, samples.direction)
        )
        smallest = np.full(len(points), np.inf)
        order = np.argsort(((centres - centres[index]) ** 2).sum(1), kind="stable")
        for other in order[order != index][:_NEIGHBOURS]:
            camera = cameras[other]
            pixel, depth = camera.project(points)
            with np.errstate(invalid="ignore"):
                seen = (depth > 0) & (pixel >= 0).all(1)
                seen &= (pixel < (camera.width, camera.height)).all(1)
            away = points - centres[other]
            away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
            seen &= (away * normal).sum(1) * (direction * normal).sum(1) > 0
            angle = np.arccos(np.clip((away * direction).sum(1), -1, 1))
            smallest = np.where(seen & (angle < smallest), angle, smallest)
        shared = smallest[np.isfinite(smallest)]
        if len(shared):
            found[index] = np.median(shared)
    known = found[np.isfinite(found)]
    usual = np.median(known) if len(known) else _ALONE
    spacing = np.minimum(np.where(np.isfinite(found), found, usual), _ALONE)
    return torch.from_numpy(spacing.astype(np.float32))

"""Fitting the background to what the mesh leaves of the training photos, before the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xscale.errors import DamagedPhotoError
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.model.background import KINDS, Background, Kind, fitted_texture, look_up, seen_at
from xscale.train.pool import Damaged, TrainPhoto

_ROWS = 1024
_TRIAL_ROWS = 256
_HELD_EVERY = 4
_MOST_PHOTOS = 256
_LEAST_PHOTOS = 32
_MOST_LOOKED_AT = 1 << 27
"""Pixels of all photos that are decoded: seconds on two cores."""
_MOST_PIXELS = 1 << 21


@dataclass(frozen=True)
class Uncovered:
    """Pixels of training photos that the mesh does not cover."""

    photo: Tensor
    """Int32 [N], index of the training photo."""
    direction: Tensor
    """Float32 [N, 3], unit."""
    target: Tensor
    """Uint8 [N, 3]."""


def uncovered_pixels(
    surface: Surface,
    photos: Sequence[TrainPhoto],
    cameras: Sequence[Camera],
    seed: int,
    on_damage: Damaged | None = None,
) -> Uncovered:
    """Return a random sample of the training photos' uncovered pixels; masked ones are left out.

    Args:
        surface: The mesh.
        photos: The training photos; of many, an even spread is looked at.
        cameras: Their cameras in the mesh's local frame, at training size.
        seed: Of the sample.
        on_damage: Called with the name and error of a damaged photo, which is then passed over.
    """
    pixels = sum(photo.width * photo.height for photo in photos)
    most = _MOST_LOOKED_AT * len(photos) // max(pixels, 1)
    count = min(len(photos), max(_LEAST_PHOTOS, min(_MOST_PHOTOS, most)))
    generator = np.random.default_rng(seed)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for index in (k * len(photos) // count for k in range(count)):
        photo, camera = photos[index], cameras[index]
        try:
            opened = photo.open()
        except DamagedPhotoError as error:
            if on_damage is None:
                raise
            on_damage(photo.name, error)
            continue
        covered = visibility(surface, photo.camera, photo.width, photo.height) >= 0
        rgb, mask = opened.rect(0, 0, photo.width, photo.height)
        free = ~covered.cpu().numpy()
        rows, columns = np.nonzero(free if mask is None else free & mask)
        if len(rows) > _MOST_PIXELS // count:
            chosen = generator.choice(len(rows), _MOST_PIXELS // count, replace=False)
            rows, columns = rows[chosen], columns[chosen]
        direction = camera.rays(np.stack([columns + 0.5, rows + 0.5], 1))
        seen = np.isfinite(direction).all(1)
        number = torch.full((int(seen.sum()),), index, dtype=torch.int32)
        target = torch.from_numpy(rgb[rows[seen], columns[seen]])
        parts.append((number, torch.from_numpy(direction[seen]).float(), target))
    nothing = (torch.zeros(0, dtype=torch.int32), torch.zeros(0, 3), torch.zeros(0, 3).byte())
    return Uncovered(*(torch.cat(part) for part in zip(nothing, *parts, strict=True)))


def fit_background(
    surface: Surface,
    photos: Sequence[TrainPhoto],
    cameras: Sequence[Camera],
    seed: int,
    on_damage: Damaged | None = None,
) -> Background:
    """Fit a background to the training photos; the result depends on the arguments alone.

    What rays are looked up by is what predicts every fourth of the photos better from the others.

    Args:
        surface: The mesh.
        photos: The training photos.
        cameras: Their cameras in the mesh's local frame, at training size.
        seed: Of the pixels that are looked at.
        on_damage: As for :func:`uncovered_pixels`.
    """
    device = surface.vertices.device
    centres = torch.from_numpy(np.stack([camera.position for camera in cameras])).float()
    centres = centres.to(device)
    corners = torch.cat([surface.vertices, centres])
    low, high = corners.amin(0), corners.amax(0)
    pixels = uncovered_pixels(surface, photos, cameras, seed, on_damage)
    if not len(pixels.target):
        white = torch.full((2, 4, 3), 255, dtype=torch.uint8, device=device)
        return Background(white, "direction", low, high)
    start = centres[pixels.photo.long()]
    held = (pixels.photo % _HELD_EVERY == _HELD_EVERY - 1).to(device)
    places = {kind: seen_at(kind, low, high, start, pixels.direction.to(device)) for kind in KINDS}
    target = pixels.target.to(device)

    def error(kind: Kind) -> float:
        texture = fitted_texture(places[kind][~held], target[~held], _TRIAL_ROWS)
        found = look_up(texture, places[kind][held])
        return float((found - target[held].float() / 255).abs().sum())

    best = min(KINDS, key=error)
    return Background(fitted_texture(places[best], target, _ROWS), best, low, high)

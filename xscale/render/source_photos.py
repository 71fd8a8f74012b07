"""Source photos: colours corrected by what the nearest training photos show at the same points.

The model fits no photo exactly, and what a photo shows beside the model's own picture of it, its
residual, lies on the surface too: details that the training did not reach, and errors that views
from one side share. A pixel's colour is corrected by the residuals of the training photos that see
its point from nearly the same side, and drawn towards the model's own pictures of those photos,
whose directions were trained.

Nothing is trained for it. A run keeps the two pictures of each photo as JPEG in photos.safetensors,
so that it needs no scene to render. Image-based rendering calls such photos source views.

Source of the weights: Buehler et al., "Unstructured Lumigraph Rendering", 2001.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from xscale.errors import InputError, IntegrityError
from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.io.photo.images import decode_picture, encode_jpeg, encode_png
from xscale.render.sight import Sight
from xscale.run.folder import PHOTOS, RunFolder

_NEAREST = 4
"""Photos that a point is corrected by."""
_CANDIDATES = 16
"""Photos that a picture is corrected by: those that count most at its probes."""
_PROBES = 48
"""Along a picture's longer edge."""
_SMALLEST_ANGLE = 0.02
"""Radians; below it photos do not differ by their angle."""
_BORDER = 0.05
"""Share of a photo's longer edge within which its weight falls to nothing."""
_MOST_DECODED = 64
_ADVICE = "restore the folder from a copy, or xscale train --source-photos again"

ReadPhoto = Callable[[str], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Shares:
    """How much of what photos say is taken; all of both is image-based rendering."""

    residual: float = 0.5
    """Share of the photos' residuals."""
    aside: float = 0.25
    """Share of the difference to the model's own pictures of the photos."""
    least: float = 8.0
    """Sum of weights (1 / radian) from which on the correction is whole: photos from far aside
    add little."""


@dataclass(frozen=True, eq=False)
class Nearby:
    """A training photo that a picture may be corrected by."""

    view: Sight
    """Depths of the mesh that its camera sees; local frame."""
    camera: Camera
    """Local frame, training size."""
    rendered: Tensor
    """Uint8 [3, H, W], the model's own picture of it, under the mean exposure."""
    residual: Tensor
    """Uint8 [3, H, W], photo minus the model's picture under the photo's exposure; 128 is 0."""
    mask: Tensor | None
    """Bool [H, W], true = kept."""


class SourcePhotos:
    """The pictures of a run's training photos.

    Args:
        stored: Arrays by name, as ``source_photo_arrays`` made them.
        surface: The mesh, in its local frame.
        views: What each training camera sees.
        cameras: Of the training photos, local frame, at training size.
    """

    def __init__(
        self,
        stored: Mapping[str, Tensor],
        surface: Surface,
        views: Sequence[Sight],
        cameras: Sequence[Camera],
    ) -> None:
        self._stored = stored
        self._surface = surface
        self._views = views
        self._cameras = cameras
        self.shares = Shares()
        self._decoded = lru_cache(_MOST_DECODED)(self._decode)

    def near(self, camera: Camera) -> list[Nearby]:
        """Return the photos that a picture of the local frame is corrected by.

        They are the same for every part of a picture, so that parts fit together.
        """
        longest = max(camera.width, camera.height)
        small = camera.downscaled(max(1.0, longest / _PROBES))
        packed = torch.from_numpy(small.packed()).to(self._surface.vertices.device)
        probes, _ = build_gbuffer(self._surface, packed, small.width, small.height)
        there = [i for i in range(len(self._cameras)) if f"residual.{i}" in self._stored]
        total = [
            float(weight(probes, camera, self._cameras[i], self._views[i]).sum()) for i in there
        ]
        order = sorted(range(len(there)), key=lambda k: (-total[k], k))[:_CANDIDATES]
        return [self._decoded(there[k]) for k in order if total[k] > 0]

    def _decode(self, index: int) -> Nearby:
        camera = self._cameras[index]

        def picture(name: str) -> Tensor:
            data = self._stored[f"{name}.{index}"].numpy().tobytes()
            try:
                return torch.from_numpy(decode_picture(data, (camera.width, camera.height)))
            except ValueError as error:
                raise IntegrityError(
                    f"is damaged: {name}.{index}: {error}", where=PHOTOS, advice=_ADVICE
                ) from error

        masked = f"mask.{index}" in self._stored
        return Nearby(
            self._views[index],
            camera,
            picture("rendered").permute(2, 0, 1),
            picture("residual").permute(2, 0, 1),
            picture("mask")[:, :, 0] > 127 if masked else None,
        )


def corrected(
    colour: Tensor,
    samples: GBuffer,
    camera: Camera,
    photos: Sequence[Nearby],
    shares: Shares,
) -> Tensor:
    """Return sRGB [N, 3] in [0, 1] of a picture's surface points, corrected by photos.

    Args:
        colour: Float32 [N, 3], the model's.
        samples: The points, local frame, with normals.
        camera: The picture's, local frame.
        photos: See ``SourcePhotos.near``.
        shares: How much is taken.
    """
    if not photos or not len(colour):
        return colour
    weights = torch.stack([weight(samples, camera, p.camera, p.view, p.mask) for p in photos])
    if len(photos) > _NEAREST:
        # The weight of the best photo that is left out is taken from all: they come and go gently.
        weights = (weights - weights.topk(_NEAREST + 1, 0).values[-1]).clamp(min=0)
    weights = weights / weights.sum(0).clamp(min=shares.least)
    total = torch.zeros_like(colour)
    for photo, share in zip(photos, weights, strict=True):
        used = share > 0
        if not used.any():
            continue
        pixel, _ = photo.camera.project(samples.position[used].cpu().numpy())
        pixel = torch.from_numpy(pixel).float()
        own = colour[used]
        residual = _looked_up(photo.residual, pixel).to(own.device) - 128 / 255
        aside = _looked_up(photo.rendered, pixel).to(own.device) - own
        change = shares.residual * residual + shares.aside * aside
        total[used] += share[used, None] * change
    return (colour + total).clamp_(0, 1)


def weight(
    samples: GBuffer, camera: Camera, other: Camera, view: Sight, mask: Tensor | None = None
) -> Tensor:
    """Return how much a photo counts at surface points [N], 1 / radian; 0 where it sees nothing.

    Args:
        samples: The points, local frame.
        camera: Of the picture, local frame.
        other: Of the photo, local frame.
        view: What it sees.
        mask: Bool [H, W], which of its pixels may be used.
    """
    where = samples.position.device
    points = samples.position.cpu().numpy()
    seen = torch.from_numpy(view.sees(points))
    pixel, _ = other.project(points)
    pixel = torch.from_numpy(np.where(seen[:, None], np.nan_to_num(pixel), 0.0)).float()
    away = samples.position - torch.from_numpy(other.position).float().to(where)
    distance = away.norm(dim=1).clamp(min=1e-12)
    own = samples.position - torch.from_numpy(camera.position).float().to(where)
    cosine = (away * samples.direction).sum(1) / distance
    angle = torch.acos(cosine.clamp(-1, 1))
    finer = other.fx / distance / (camera.fx / own.norm(dim=1).clamp(min=1e-12))
    size = torch.tensor([other.width, other.height])
    border = torch.minimum(pixel, size - pixel).amin(1) / (_BORDER * max(other.width, other.height))
    usable = seen.float() * border.clamp(0, 1)
    if mask is not None:
        column, row = pixel.long().clamp(torch.zeros(2).long(), size - 1).unbind(1)
        usable *= mask[row, column]
    return usable.to(where) * finer.clamp(max=1) / (angle + _SMALLEST_ANGLE)


def _looked_up(picture: Tensor, pixel: Tensor) -> Tensor:
    """Return values [N, C] in [0, 1] of a uint8 picture [C, H, W] at (u, v) [N, 2], bilinear."""
    size = torch.tensor([picture.shape[2], picture.shape[1]])
    at = torch.minimum((pixel - 0.5).clamp(min=0), size - 1.0)
    low = torch.minimum(at.floor(), size - 2.0).clamp(min=0)
    (u, v), (left, top) = (at - low).unbind(1), low.long().unbind(1)
    right = (left + 1).clamp(max=picture.shape[2] - 1)
    below = (top + 1).clamp(max=picture.shape[1] - 1)
    upper = picture[:, top, left] * (1 - u) + picture[:, top, right] * u
    lower = picture[:, below, left] * (1 - u) + picture[:, below, right] * u
    return ((upper * (1 - v) + lower * v) / 255).T


def source_photo_arrays(
    names: Sequence[str], render: Callable[[int, bool], Tensor], read: ReadPhoto, step: int
) -> dict[str, np.ndarray]:
    """Return what a run keeps of its training photos: ``photos.safetensors``.

    Args:
        names: Of the training photos.
        render: Takes a photo's number and whether its own exposure is meant, else the mean;
            returns the model's picture of it, float32 sRGB [H, W, 3].
        read: Gives a photo's pixels, uint8 [H, W, 3], and mask, bool [H, W] or None; an
            ``InputError`` leaves the photo out.
        step: Of the checkpoint that the pictures are made with.
    """
    arrays = {"step": np.array([step], np.int64)}
    for number, name in enumerate(names):
        try:
            photo, mask = read(name)
        except InputError:
            continue
        exposed, usual = (render(number, own).cpu().numpy() for own in (True, False))
        residual = np.clip(photo - 255.0 * exposed + 128, 0, 255)
        for kind, picture in (("residual", residual), ("rendered", 255 * usual)):
            data = encode_jpeg((picture + 0.5).astype(np.uint8))
            arrays[f"{kind}.{number}"] = np.frombuffer(data, np.uint8)
        if mask is not None:
            data = encode_png(mask.astype(np.uint8) * 255)
            arrays[f"mask.{number}"] = np.frombuffer(data, np.uint8)
    return arrays


def read_source_photos(run: RunFolder, step: int, photos: int) -> dict[str, Tensor]:
    """Return what ``source_photo_arrays`` made of the photos.

    Args:
        run: The run's folder.
        step: Of the checkpoint that is rendered.
        photos: Training photos of the run.

    Raises:
        InputError: The run keeps no photos, or those of another checkpoint.
        IntegrityError: The file is damaged.
    """
    file = run.path / PHOTOS
    advice = "xscale train with --source-photos, or again with --resume, keeps them"
    stored = run.read(PHOTOS, what="keeps no photos to render with", advice=advice)
    made = stored.pop("step", None)
    known = {f"{kind}.{n}" for kind in ("residual", "rendered", "mask") for n in range(photos)}
    pictures = all(a.dtype == np.uint8 and a.ndim == 1 for a in stored.values())
    if made is None or made.dtype != np.int64 or made.shape != (1,) or not pictures:
        raise IntegrityError("does not hold photos", where=file)
    if set(stored) - known or any(
        f"rendered.{name.removeprefix('residual.')}" not in stored
        for name in stored
        if name.startswith("residual.")
    ):
        raise IntegrityError("holds photos that are not the run's", where=file)
    if int(made[0]) != step:
        raise InputError(f"is of step {int(made[0])}, not of {step}", where=file, advice=advice)
    return {name: torch.from_numpy(array) for name, array in stored.items()}

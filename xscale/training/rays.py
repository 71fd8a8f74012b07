"""Batches that the pool hands to a step: single rays, or squares of photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale import ops


@dataclass(frozen=True)
class Rays:
    """A batch, in the order of tiles and of a space-filling curve inside each."""

    photo: Tensor
    """Int32 [N], index of the training photo."""
    pixel: Tensor
    """Float32 [N, 2], (u, v) of the pixel's centre."""
    face_id: Tensor
    """Int32 [N]."""
    target: Tensor
    """Uint8 [N, 3], the photo's values."""
    turn: Tensor | None = None
    """Float32 [N, 3], added to the view directions, see ``ops.StepRays``; None: nothing is."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Rays:
        """Return the batch with all of its tensors changed."""
        return Rays(*(None if part is None else change(part) for part in vars(self).values()))

    def to(self, device: torch.device) -> Rays:
        """Return the batch on a device; itself where it is on it.

        To a GPU it goes from pinned memory, behind what the GPU is still doing.
        """
        return self.each(lambda part: to_device(part, device))


@dataclass(frozen=True)
class Squares:
    """Squares of photos, and rays through those of their pixels that the mesh covers."""

    rays: Rays
    place: Tensor
    """Int64 [N], each ray's pixel in the squares, counted through squares, rows and columns."""
    target: Tensor
    """Uint8 [P, S, S, 3], the photos' values, also where the mesh covers nothing."""

    def to(self, device: torch.device) -> Squares:
        """Return the squares on a device; themselves where they are on it."""
        return Squares(self.rays.to(device), self.place.to(device), self.target.to(device))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a copy to a GPU is queued behind what that still does."""
    if tensor.device.type == "cpu":
        tensor = ops.pinned(tensor, device)
    return tensor.to(device, non_blocking=True)

"""Photos made small and grey, each decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xscale.io.photo.resample import area_downscale

if TYPE_CHECKING:
    from xscale.scene.photo import Photo

LONGEST = 320
"""Most pixels along a photo that are asked for."""

Decoded = tuple[np.ndarray, np.ndarray | None]
"""Pixels uint8 [H, W, 3] and which of them count, bool [H, W], or None for all."""


class Pictures:
    """Small pictures of photos.

    Args:
        photos: The scene's.
        decoded: Photos by index that were decoded already, at ``LONGEST`` pixels or more.
    """

    def __init__(
        self, photos: Sequence[Photo], decoded: Mapping[int, Decoded] | None = None
    ) -> None:
        self._photos = photos
        self._decoded = dict(decoded or {})
        self._small: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        self.derived: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """Pictures that others derived from these, by the photo's index."""

    def grey(self, index: int, long_side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a photo's brightness, float32 [H, W] in [0, 1], and where it counts.

        Args:
            index: Of the photo.
            long_side: Pixels along its longer side, at most ``LONGEST``.

        Raises:
            PhotoError: The photo is damaged.
        """
        if (index, long_side) not in self._small:
            rgb, mask = self._at_longest(index)
            factor = max(1.0, max(rgb.shape[:2]) / long_side)
            height, width = (max(1, round(n / factor)) for n in rgb.shape[:2])
            small = area_downscale(rgb, width, height)
            known = np.ones((height, width), bool)
            if mask is not None:
                whole = area_downscale(mask[..., None].astype(np.uint8) * 255, width, height)
                known = whole[..., 0] == 255
            grey = small.astype(np.float32) @ np.float32([0.299, 0.587, 0.114]) / 255
            self._small[index, long_side] = grey.astype(np.float32), known
        return self._small[index, long_side]

    def _at_longest(self, index: int) -> Decoded:
        if index not in self._decoded:
            photo = self._photos[index]
            side = max(photo.camera.width, photo.camera.height)
            self._decoded[index] = photo.load(max(1.0, side / LONGEST))
        return self._decoded[index]

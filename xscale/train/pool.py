"""The tile pool: as many photo tiles as memory allows, replaced at fixed steps.

A tile is a rectangle of one training photo: its 8-bit pixels, its face ids and the list of its
covered pixels, 11 bytes a pixel. The tiles of all photos form an endless stream, each epoch in an
order of its own; slot ``p % capacity`` holds stream position ``p``. Which positions are in the pool
at a step is a pure function of (seed, step), so a resumed run draws the same rays whatever the
timing of the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.train.settings import PoolSettings

_BYTES_A_PIXEL = 11
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class TrainPhoto:
    """What the pool needs of a training photo."""

    width: int
    height: int
    camera: Tensor
    """Float64 [32], packed, local frame, training size."""
    read: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    """Decode: uint8 [H, W, 3] and a mask bool [H, W] (False is left out) or None."""


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


class TilePool:
    """Tiles in memory and the rays drawn from them.

    Args:
        surface: The mesh for the face ids.
        photos: The training photos.
        settings: Sizes.
        seed: Of the tile order and the draws.
        first_step: Step at which training (re)starts; the pool is filled as it must be then.
        progress: Called with (tiles done, tiles in all) while the pool is filled.
        capacity: Most tiles to hold; by default what the budget allows.
    """

    def __init__(
        self,
        surface: Surface,
        photos: Sequence[TrainPhoto],
        settings: PoolSettings,
        seed: int,
        first_step: int = 0,
        progress: Callable[[int, int], None] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.surface = surface
        self.photos = photos
        self.settings = settings
        self.seed = seed
        edge = settings.tile
        self._rects = [
            (index, x, y, min(edge, photo.width - x), min(edge, photo.height - y))
            for index, photo in enumerate(photos)
            for y in range(0, photo.height, edge)
            for x in range(0, photo.width, edge)
        ]
        fits = capacity or settings.budget_mb * 2**20 // (edge * edge * _BYTES_A_PIXEL)
        self.capacity = int(min(len(self._rects), max(fits, 1)))
        self.whole = self.capacity == len(self._rects)
        self._replaced = 0 if self.whole else max(1, int(self.capacity * settings.refresh_share))
        slots = self.capacity
        self._rgb = torch.zeros(slots, edge * edge, 3, dtype=torch.uint8)
        self._face = torch.full((slots, edge * edge), -1, dtype=torch.int32)
        self._covered = torch.zeros(slots, edge * edge, dtype=torch.int32)
        self._counts = torch.zeros(slots, dtype=torch.int64)
        self._position = torch.full((slots,), -1, dtype=torch.int64)
        self._rect_of_slot = torch.zeros(slots, 3, dtype=torch.int32)
        self._decoded: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        self._curve = torch.from_numpy(_morton_order(edge))
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="xscale-tiles")
        self._pending: dict[int, Future] = {}
        self._fill(first_step, progress)

    @property
    def covered_pixels(self) -> int:
        """Covered pixels in the pool now."""
        return int(self._counts.sum())

    def close(self) -> None:
        """Stop the workers."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def draw(self, step: int, count: int) -> Rays:
        """Return the rays of a step: stratified over all covered pixels in the pool."""
        self._refresh(step)
        even = self.settings.draw == "even"
        seed = self.seed if even else self.seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(seed)
        ends = torch.cumsum(self._counts, 0)
        total = int(ends[-1])
        # One draw in each of equal strata: uniform, and already in the pool's order, so neighbours
        # in the batch are neighbours on the surface. Each draw takes a run along the curve.
        run = self.settings.run
        draws = -(-count // run)
        spread = torch.rand(draws, generator=generator, dtype=torch.float64)
        if even:
            # Steps of the golden section from a start of its own take a stratum's pixels in turn:
            # none is left out by chance, which is worth about a fifth more rays.
            spread = (spread + step * _GOLDEN) % 1.0
        first = ((torch.arange(draws, dtype=torch.float64) + spread) * (total / draws)).long()
        rank = (first[:, None] + torch.arange(run)).reshape(-1)[:count].clamp_(max=total - 1)
        slot = torch.searchsorted(ends, rank, right=True)
        within = self._covered[slot, rank - (ends - self._counts)[slot]].long()
        place = self._rect_of_slot[slot]
        edge = self.settings.tile
        pixel = torch.stack([place[:, 1] + within % edge, place[:, 2] + within // edge], 1)
        return Rays(
            photo=place[:, 0].contiguous(),
            pixel=pixel.float() + 0.5,
            face_id=self._face[slot, within],
            target=self._rgb[slot, within],
        )

    def _window(self, step: int) -> int:
        """First stream position in the pool at ``step``."""
        return step // self.settings.refresh_steps * self._replaced

    def _rect(self, position: int) -> tuple[int, int, int, int, int]:
        epoch, index = divmod(position, len(self._rects))
        return self._rects[_order(self.seed, epoch, len(self._rects))[index]]

    def _fill(self, step: int, progress: Callable[[int, int], None] | None) -> None:
        first = self._window(step)
        # Photo by photo, so that each is decoded once.
        positions = sorted(range(first, first + self.capacity), key=lambda p: (self._rect(p)[0], p))
        for done, position in enumerate(positions, 1):
            self._put(position, self._load(position))
            if progress is not None:
                progress(done, len(positions))
        self._decoded.clear()

    def _refresh(self, step: int) -> None:
        if self.whole:
            return
        first = self._window(step)
        for position in range(first, first + self.capacity):
            if self._position[position % self.capacity] < position:
                ready = self._pending.pop(position, None)
                self._put(position, ready.result() if ready else self._load(position))
        for position in range(first + self.capacity, first + self.capacity + self._replaced):
            if position not in self._pending:
                self._pending[position] = self._workers.submit(self._load_aside, position)

    def _load_aside(self, position: int) -> tuple[Tensor, Tensor]:
        with ops.limit_threads(1):
            return self._load(position)

    def _load(self, position: int) -> tuple[Tensor, Tensor]:
        """Decode and rasterize one tile: pixels [tile^2, 3] and face ids [tile^2]."""
        index, x, y, width, height = self._rect(position)
        photo = self.photos[index]
        if index not in self._decoded:
            if len(self._decoded) > 1:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[index] = photo.read()
        rgb, mask = self._decoded[index]
        edge = self.settings.tile
        pixels = torch.zeros(edge, edge, 3, dtype=torch.uint8)
        pixels[:height, :width] = torch.from_numpy(rgb[y : y + height, x : x + width])
        faces = torch.full((edge, edge), -1, dtype=torch.int32)
        seen = visibility(
            self.surface, photo.camera, photo.width, photo.height, rect=(x, y, width, height)
        )
        if mask is not None:
            seen = seen.masked_fill(~torch.from_numpy(mask[y : y + height, x : x + width]), -1)
        faces[:height, :width] = seen
        return pixels.reshape(-1, 3), faces.reshape(-1)

    def _put(self, position: int, tile: tuple[Tensor, Tensor]) -> None:
        slot = position % self.capacity
        self._rgb[slot], self._face[slot] = tile
        along = self._curve[self._face[slot][self._curve] >= 0]
        self._covered[slot, : len(along)] = along.int()
        self._counts[slot] = len(along)
        self._position[slot] = position
        index, x, y, _, _ = self._rect(position)
        self._rect_of_slot[slot] = torch.tensor([index, x, y], dtype=torch.int32)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _morton_order(edge: int) -> np.ndarray:
    """Return the pixels of a tile [edge^2] (row * edge + column) along a Z curve."""
    row, column = np.divmod(np.arange(edge * edge, dtype=np.int64), edge)
    key = np.zeros_like(row)
    for bit in range(8):
        key |= (column >> bit & 1) << (2 * bit) | (row >> bit & 1) << (2 * bit + 1)
    return np.argsort(key, kind="stable")

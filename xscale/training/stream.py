"""The endless stream of tiles: every epoch holds each tile once, in an order of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

_GROUP = 4
"""Tiles of one photo that follow each other, so that opening a photo serves several."""
_KEPT_EPOCHS = 3


class Tile(NamedTuple):
    """A rectangle of a photo."""

    photo: int
    left: int
    top: int
    width: int
    height: int


class TileStream:
    """Tiles by stream position, a pure function of the seed.

    Args:
        sizes: (width, height) of each photo.
        edge: Of a tile; those at the right and lower borders are smaller.
        seed: Of the order.
        fits: Tiles that fit into memory. Where all do, each photo's follow each other.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], edge: int, seed: int, fits: int = 0
    ) -> None:
        self._sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
        self._edge = edge
        self._seed = seed
        self._columns = -(-self._sizes[:, 0] // edge)
        counts = self._columns * -(-self._sizes[:, 1] // edge)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self.by_photo = len(self) <= fits
        """Whether each photo's tiles follow each other."""
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Tiles of an epoch."""
        return int(self._first[-1])

    @cached_property
    def photo_ends(self) -> np.ndarray:
        """Position after each photo's last tile, where photos follow each other (``by_photo``)."""
        photos = [self.photo(position) for position in range(len(self))]
        return np.append(np.flatnonzero(np.diff(photos)) + 1, len(self))

    def photo(self, position: int) -> int:
        """Return the photo of a stream position."""
        return int(np.searchsorted(self._first, self._index(position), side="right")) - 1

    def tile(self, position: int) -> Tile:
        """Return the rectangle of a stream position."""
        photo = self.photo(position)
        row, column = divmod(self._index(position) - self._first[photo], self._columns[photo])
        left, top = int(column) * self._edge, int(row) * self._edge
        width, height = (int(side) for side in self._sizes[photo])
        return Tile(photo, left, top, min(self._edge, width - left), min(self._edge, height - top))

    def _index(self, position: int) -> int:
        epoch, at = divmod(position, len(self))
        if epoch not in self._orders:
            self._orders[epoch] = self._order(epoch)
            self._orders.pop(epoch - _KEPT_EPOCHS, None)
        return int(self._orders[epoch][at])

    def _order(self, epoch: int) -> np.ndarray:
        """Shuffle each photo's tiles, cut them into groups, shuffle the groups; or the photos."""
        rng = np.random.default_rng([self._seed, epoch])
        if self.by_photo:
            photos = rng.permutation(len(self._sizes))
            tiles = [np.arange(self._first[p], self._first[p + 1]) for p in photos]
            return np.concatenate(tiles)
        tiles = rng.permutation(len(self))
        photo = np.searchsorted(self._first, tiles, side="right") - 1
        by_photo = np.argsort(photo, kind="stable")
        tiles, photo = tiles[by_photo], photo[by_photo]
        within = (np.arange(len(self)) - self._first[photo]) // _GROUP
        groups = -(-np.diff(self._first) // _GROUP)
        group = np.concatenate([[0], np.cumsum(groups)])[photo] + within
        place = rng.permutation(int(groups.sum()))
        return tiles[np.argsort(place[group], kind="stable")]


def morton_order(edge: int) -> np.ndarray:
    """Return the pixels of a tile [edge^2] (row * edge + column) along a Z curve."""
    row, column = np.divmod(np.arange(edge * edge, dtype=np.int64), edge)
    key = np.zeros_like(row)
    for bit in range(8):
        key |= (column >> bit & 1) << (2 * bit) | (row >> bit & 1) << (2 * bit + 1)
    return np.argsort(key, kind="stable")

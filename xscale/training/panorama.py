"""A picture of all directions, fitted to pixels of many photos: fine where photos agree.

Photos are compared cell by cell, from coarse cells to fine ones. The colour of a cell is that of
the coarser ones around it and a share of its difference from them. The share is that of Wiener's
filter: large where differences exceed what is expected of photos that disagree within a cell,
nothing where they do not. So a sky is plain, what stands at another distance is soft and not grain,
and a horizon that photos agree about is sharp.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xscale import ops

_REACH = 2
"""Cells on each side over which disagreement and differences are averaged."""
_VARIANCE = 1e-3
"""Variance between photos where nothing is known of it, sRGB from 0 to 1."""
_PRIOR = 0.25
"""Photos that the variance of larger cells counts for, in each cell around."""
_CLIPPED = 250
"""8-bit value from which on a photo says only that it was at least so bright."""


class _Cells:
    """Means of each photo's pixels in each cell of one size.

    Args:
        rows: Rows of the picture of such cells; it has twice as many columns.
        key: Int64 [N], cell * photos + photo.
        photos: Number of photos.
        pixels: Float64 [N], pixels that each value stands for.
        value: Float64 [N, 4], colours and weights.
    """

    def __init__(self, rows: int, key: Tensor, photos: int, pixels: Tensor, value: Tensor) -> None:
        self.rows, self._photos = rows, photos
        self._key, place = torch.unique(key, return_inverse=True)
        self._pixels = pixels.new_zeros(len(self._key)).index_add_(0, place, pixels)
        total = value.new_zeros(len(self._key), 4).index_add_(0, place, value * pixels[:, None])
        self._mean = total / self._pixels[:, None]
        self._cell, self._photo = self._key // photos, self._key % photos

    def coarser(self) -> _Cells:
        """Return the cells of twice the size."""
        row, column = self._cell // (2 * self.rows), self._cell % (2 * self.rows)
        key = ((row // 2) * self.rows + column // 2) * self._photos + self._photo
        return _Cells(self.rows // 2, key, self._photos, self._pixels, self._mean)

    def pictures(self, share: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the cells' colours [3, R, 2 R], and sums over photos [3, R, 2 R].

        The sums are of weights, of squared weights, and of squared distances from the colour times
        the weight.

        Args:
            share: Float64 [photos], factors of the photos' weights; None: all 1.
        """
        cells = 2 * self.rows**2
        colour, weight = self._mean[:, :3], self._mean[:, 3]
        if share is not None:
            weight = weight * share[self._photo]
        sums = self._mean.new_zeros(cells, 5)
        parts = [colour * weight[:, None], torch.stack([weight, weight**2], 1)]
        sums.index_add_(0, self._cell, torch.cat(parts, 1))
        mean = sums[:, :3] / sums[:, 3:4].clamp(min=1e-12)
        square = weight * ((colour - mean[self._cell]) ** 2).mean(1)
        squares = sums.new_zeros(cells).index_add_(0, self._cell, square)
        shape = (-1, self.rows, 2 * self.rows)
        return mean.T.reshape(shape), torch.stack([*sums[:, 3:].T, squares]).reshape(shape)


class Panorama:
    """Pixels of photos, from which pictures of all directions are made.

    Args:
        place: Float32 [N, 2], see ``xscale.model.background.seen_at``.
        colour: Float [N, 3], sRGB from 0 to 1, all under one exposure.
        photo: Int [N], the photo of each pixel.
        rows: The pictures' height, a power of two.
        weight: Float [N], above 0, how much pixels count beside other photos': where they fall
            towards the borders of photos, these leave no edges. None: all alike.
    """

    def __init__(
        self, place: Tensor, colour: Tensor, photo: Tensor, rows: int, weight: Tensor | None = None
    ) -> None:
        column = (place[:, 0] * 2 * rows).long().remainder_(2 * rows)
        row = (place[:, 1] * rows).long().clamp_(0, rows - 1)
        photos = int(photo.max()) + 1
        key = (row * 2 * rows + column) * photos + photo.long()
        colour = colour.double()
        weight = torch.ones_like(colour[:, 0]) if weight is None else weight.double()
        value = torch.cat([colour, weight[:, None]], 1)
        self._levels = [_Cells(rows, key, photos, torch.ones_like(weight), value)]
        while self._levels[-1].rows > 2:
            self._levels.append(self._levels[-1].coarser())
        self._mean = colour.mean(0)

    def picture(self, share: Tensor | None = None) -> Tensor:
        """Return the picture, uint8 [rows, 2 rows, 3], without holes.

        Args:
            share: Float64 [P], factors above 0 of the photos' weights; None: all 1.
        """
        picture = self._mean[:, None, None].expand(3, 2, 4)
        variance = picture.new_full((1, 2, 4), _VARIANCE)
        for number, level in enumerate(reversed(self._levels)):
            mean, (weights, squared, scatter) = level.pictures(share)
            base = picture if number == 0 else _finer(picture)
            # Detail fades out towards the edge of what photos show.
            seen = (weights > 0).double()[None]
            inside = (2 * _around(seen) - 1).clamp(min=0) * seen
            freedom = (weights - squared / weights.clamp(min=1e-12)).clamp(min=0)
            # Few photos that agree by chance do not outweigh what is known of larger cells.
            total = _PRIOR * _around(weights[None]) / _around(seen).clamp(min=1e-9)
            wider = variance if number == 0 else _finer(variance)
            variance = (_around(scatter[None]) + wider * total) / (
                _around(freedom[None]) + total
            ).clamp(min=1e-12)
            variance = torch.where(total > 0, variance, wider)
            # A photo counts as much as its weight beside those of the photos around.
            usual = _around(squared[None]) / _around(weights[None]).clamp(min=1e-12)
            photos = (weights / usual.clamp(min=1e-12)).clamp(min=1e-6)
            noise = variance / photos
            counted = photos * seen
            around = _around(counted).clamp(min=1e-12)
            power = _around(((mean - base) ** 2).mean(0, keepdim=True) * counted) / around
            signal = (power - _around(noise * counted) / around).clamp(min=0)
            gain = signal / (signal + noise).clamp(min=1e-12)
            picture = base + gain * inside * (mean - base)
        picture = picture.mul(255).add_(0.5).clamp_(0, 255)
        return picture.to(torch.uint8).permute(1, 2, 0).contiguous()


def _around(picture: Tensor) -> Tensor:
    """Return means over the cells around, joined at the left and right."""
    reach = min(_REACH, picture.shape[1])
    left, right = picture[:, :, -reach:], picture[:, :, :reach]
    joined = torch.cat([left, picture, right], 2)[None]
    joined = functional.pad(joined, (0, 0, reach, reach), mode="replicate")
    return functional.avg_pool2d(joined, 2 * reach + 1, 1)[0]


def _finer(picture: Tensor) -> Tensor:
    """Return a picture [C, R, 2 R] at twice its size, smoothly, joined at its left and right."""
    joined = torch.cat([picture[:, :, -1:], picture, picture[:, :, :1]], 2)
    fine = functional.interpolate(joined[None], scale_factor=2, mode="bilinear")[0]
    return fine[:, :, 2:-2]


def at_mean_exposure(colour: Tensor, photo: Tensor, exposure: Tensor) -> Tensor:
    """Return photos' colours as the mean of all exposures shows them.

    Clipped values stay at least as bright as they are: what was beyond them is not known.

    Args:
        colour: Uint8 [N, 3].
        photo: Int [N], row of ``exposure``.
        exposure: Float32 [P, 12], affine transforms of linear light.

    Returns:
        Float64 [N, 3], sRGB from 0 to 1.
    """
    rows = exposure.double().reshape(-1, 3, 4)
    mean = rows.mean(0)
    sound = torch.linalg.det(rows[:, :, :3]).abs() > 1e-3
    inverse = torch.linalg.inv(torch.where(sound[:, None, None], rows, mean)[:, :, :3])
    # One transform a photo: its own undone, then the mean.
    matrix = mean[:, :3] @ inverse
    shift = mean[:, 3] - (matrix @ rows[:, :, 3:])[:, :, 0]
    photo = photo.long()
    srgb = colour.double() / 255
    light = (matrix[photo] * ops.srgb_to_linear(srgb)[:, None]).sum(2) + shift[photo]
    found = ops.linear_to_srgb(light)
    return torch.where(colour >= _CLIPPED, torch.maximum(found, srgb), found).clamp_(0, 1)

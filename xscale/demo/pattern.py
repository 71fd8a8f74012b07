"""Noise and print: what the demo's surface is painted with, band-limited to the asked spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

_TILE = 256
_FINER = 4


@lru_cache(maxsize=1)
def _tile() -> Tensor:
    """Return smooth noise [1, 1, S, S] that repeats every 256 units, four texels a unit."""
    generator = torch.Generator().manual_seed(7)
    values = torch.rand(1, 1, _TILE, _TILE, generator=generator) * 2 - 1
    wrapped = functional.pad(values, (4, 4, 4, 4), mode="circular")
    finer = functional.interpolate(
        wrapped, scale_factor=_FINER, mode="bicubic", align_corners=False
    )
    # One texel of overlap on the far side, so that bilinear taps never need to wrap.
    edge = 4 * _FINER
    return finer[:, :, edge : edge + _TILE * _FINER + 1, edge : edge + _TILE * _FINER + 1]


def noise(xy: Tensor, wavelength: float, seed: int) -> Tensor:
    """Return value noise in about [-1, 1].

    Args:
        xy: Float32 [N, 2], scene units.
        wavelength: Distance over which it changes, scene units.
        seed: Turns and shifts the pattern.
    """
    angle = 0.7 + 2.4 * seed
    turn = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], device=xy.device
    )
    at = (xy @ turn / wavelength + 37.7 * seed).remainder(_TILE)
    tile = _tile()
    grid = (at * _FINER + 0.5) * (2 / tile.shape[-1]) - 1
    return functional.grid_sample(tile, grid[None, None], mode="bilinear", align_corners=False)[
        0, 0, 0
    ]


def octaves(xy: Tensor, first: float, last: float, spacing: float, seed: int) -> Tensor:
    """Return noise of all wavelengths from ``first`` down to ``last``, ratio 2.

    Wavelengths below four times ``spacing`` fade and those below twice vanish: what samples that
    far apart cannot carry is not there, as in a lens-limited photo.

    Args:
        xy: Float32 [N, 2], scene units.
        first: Longest wavelength.
        last: Shortest wavelength.
        spacing: Distance between samples.
        seed: Another seed is another pattern.
    """
    total = torch.zeros(len(xy), device=xy.device)
    wavelength, strength = first, 0.5
    while wavelength >= last:
        weight = min(max(wavelength / (2 * spacing) - 1, 0.0), 1.0)
        if weight > 0:
            total += weight * strength * noise(xy, wavelength, seed)
        wavelength, strength, seed = wavelength / 2, strength * 0.82, seed + 1
    return total


class Decal:
    """A rectangle of print on the ground.

    Args:
        picture: Uint8 [H, W], 255 = ink.
        centre: Scene x and y.
        width: Scene units.
    """

    def __init__(self, picture: np.ndarray, centre: tuple[float, float], width: float) -> None:
        self.centre = centre
        self.width = width
        self.height = width * picture.shape[0] / picture.shape[1]
        self._texel = width / picture.shape[1]
        level = torch.from_numpy(picture).float()[None, None] / 255
        self._levels = [level]
        while min(level.shape[-2:]) > 8:
            level = functional.avg_pool2d(level, 2)
            self._levels.append(level)

    def sample(self, xy: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
        """Return the ink [N] in [0, 1] and whether a point [N, 2] lies on the decal at all."""
        u = (xy[:, 0] - self.centre[0]) / self.width * 2
        v = (self.centre[1] - xy[:, 1]) / self.height * 2
        on = (u.abs() < 1) & (v.abs() < 1)
        ink = torch.zeros(len(xy), device=xy.device)
        index = on.nonzero().squeeze(1)
        if len(index):
            level = round(math.log2(max(spacing / self._texel, 1.0)))
            picture = self._levels[min(level, len(self._levels) - 1)]
            grid = torch.stack([u[index], v[index]], 1)[None, None]
            ink[index] = functional.grid_sample(
                picture, grid, mode="bilinear", padding_mode="border", align_corners=False
            )[0, 0, 0]
        return ink, on


def print_page(lines: Sequence[tuple[str, int]], width: int, height: int) -> np.ndarray:
    """Set lines of (text, letter height in texels) on a page; uint8 [H, W], 255 = ink."""
    page = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(page)
    y = height // 24
    for text, size in lines:
        font = ImageFont.load_default(size)
        draw.text((width // 2, y), text, fill=255, font=font, anchor="ma")
        y += int(size * 1.32)
        if y > height:
            break
    return np.array(page)

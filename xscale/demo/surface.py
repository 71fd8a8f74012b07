"""The demo's ground: hills, a plaza in their middle, a board with print in the plaza's middle."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.demo.pattern import Decal, noise, octaves, print_page

BOARD = 0.0375
"""Half the width of the board, in scene units; the ground reaches from -1 to 1."""
PLAZA = 0.16
"""Radius of the plaza."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BOARD_TEXT = (
    ("FROM THE WHOLE TO THE PRINT", 104),
    ("photographs and a mesh in, new views out", 72),
    ("a b c d e f g h i j k l m n o p q r s t u v w x y z", 64),
    ("0 1 2 3 4 5 6 7 8 9   A E I O U   @ & % ? !", 64),
    ("One table of features lies on the surface and only there,", 56),
    ("so that letters as small as these can be kept beside hills", 56),
    ("that are ten thousand times their size. Far cameras teach", 56),
    ("the coarse levels of the table, near ones teach the fine.", 56),
    ("The mesh below this board is a little wrong on purpose:", 48),
    ("its points were moved and most of its triangles taken away.", 48),
    ("If this line is sharp, colour has found its place all the same.", 48),
    ("Each photo was taken with an exposure of its own; the scores", 48),
    ("named cc are those after exposures have been made alike.", 48),
    ("Sphinx of black quartz, judge my vow: pack my box with five", 42),
    ("dozen liquor jugs, and quick zephyrs blow, vexing daft Jim.", 42),
    ("The five boxing wizards jump quickly over a lazy brown dog.", 42),
    ("Waltz, bad nymph, for quick jigs vex: 12 34 56 78 90.", 42),
)


def height(xy: Tensor) -> Tensor:
    """Return the ground's height [N] at [N, 2]; scene units."""
    radius = xy.norm(dim=1)
    wild = ((radius - 0.5 * PLAZA) / (0.45 - 0.5 * PLAZA)).clamp(0, 1)
    wild = wild * wild * (3 - 2 * wild)
    hills = 0.20 * noise(xy, 0.55, 11) + 0.09 * noise(xy, 0.24, 12)
    rough = 0.03 * noise(xy, 0.09, 13) + 0.012 * noise(xy, 0.04, 14) + 0.005 * noise(xy, 0.018, 15)
    # The plaza is a shallow bowl, the board bends like paper.
    plaza = 0.25 * radius**2 + 0.0004 * noise(xy, 0.03, 16) + 0.00008 * noise(xy, 0.006, 17)
    return wild * (hills + rough) + plaza


def ground(cells: int, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the ground as triangles, finer towards the middle.

    Args:
        cells: Along a side.
        wrong: How far vertices stray, in units of the local cell.

    Returns:
        Vertices float64 [V, 3] and faces int32 [F, 3].
    """
    along = np.linspace(-1, 1, cells + 1)
    warped = 0.08 * along + 0.92 * np.sign(along) * np.abs(along) ** 2.5
    spacing = np.gradient(warped)
    x, y = np.meshgrid(warped, warped, indexing="xy")
    xy = np.stack([x.ravel(), y.ravel()], 1)
    z = height(torch.from_numpy(xy).float()).double().numpy()
    if wrong:
        cell = np.maximum(*np.meshgrid(spacing, spacing, indexing="xy")).ravel()
        at = torch.from_numpy(np.stack(np.meshgrid(np.arange(cells + 1), np.arange(cells + 1)), 2))
        z = z + wrong * cell * noise(at.reshape(-1, 2).float(), 3.0, 21).double().numpy()
    row = np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)
    a, b, c, d = (row + s for s in (0, 1, cells + 1, cells + 2))
    faces = np.concatenate(
        [np.stack([a, b, d], 2).reshape(-1, 3), np.stack([a, d, c], 2).reshape(-1, 3)]
    )
    return np.column_stack([xy, z]), faces.astype(np.int32)


class Paint:
    """Colour of the ground, at any spacing of samples.

    Args:
        finest: Shortest wavelength, scene units.
    """

    def __init__(self, finest: float = 2e-4) -> None:
        self._finest = finest
        page = print_page(_BOARD_TEXT, 2048, 1536)
        self._board = Decal(page, (0.0, 0.0), 2 * BOARD)
        words = [("NORTH", 120), ("this way to the hills", 56), (" ".join(_LETTERS[:13]), 56)]
        self._sign = Decal(print_page(words, 1024, 320), (0.0, 0.095), 0.16)
        words = [
            (" ".join(_LETTERS[13:]), 56),
            ("read me from the middle", 56),
            ("SOUTH", 120),
        ]
        self._foot = Decal(print_page(words, 1024, 320), (0.0, -0.095), 0.16)
        self._field = Decal(print_page([("XSCALE", 300)], 1280, 400), (0.0, 0.62), 1.5)

    def albedo(self, xy: Tensor, z: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
        """Return linear reflectance [N, 3] and gloss [N] at ground points.

        Args:
            xy: Float32 [N, 2], scene units.
            z: Float32 [N], scene units.
            spacing: Distance between samples; nothing finer is returned.
        """
        grain = octaves(xy, 0.5, self._finest, spacing, 31)
        tint = octaves(xy, 0.35, 0.004, spacing, 51)
        soil, grass, rock = (
            torch.tensor(c) for c in ((0.33, 0.22, 0.12), (0.11, 0.21, 0.06), (0.38, 0.36, 0.34))
        )
        green = (0.5 + 1.6 * tint - 1.5 * z).clamp(0, 1)[:, None]
        stony = (6 * (z - 0.05) + 1.2 * tint).clamp(0, 1)[:, None]
        colour = soil + green * (grass - soil)
        colour = colour + stony * (rock - colour)
        colour = self._plaza(colour, xy, spacing)
        ink, on = self._field.sample(xy, spacing)
        colour = colour + (0.75 * ink)[:, None] * (torch.tensor([0.80, 0.76, 0.66]) - colour)
        for decal in (self._sign, self._foot):
            ink, on = decal.sample(xy, spacing)
            colour = colour + (0.9 * ink)[:, None] * (torch.tensor([0.10, 0.12, 0.32]) - colour)
        colour = colour * (1 + 0.55 * grain).clamp(0.2, 2)[:, None]
        ink, on = self._board.sample(xy, spacing)
        paper = torch.tensor([0.66, 0.63, 0.56]) * (1 + 0.10 * grain)[:, None]
        paper = paper + ink[:, None] * (torch.tensor([0.035, 0.03, 0.04]) - paper)
        colour = torch.where(on[:, None], paper, colour)
        return colour.clamp(0.01, 0.95), torch.where(on, 0.30, 0.04)

    @staticmethod
    def _plaza(colour: Tensor, xy: Tensor, spacing: float) -> Tensor:
        """Lay paving stones, each of its own tone, with joints."""
        side = 0.0125
        cell = (xy / side).floor()
        within = (xy / side - cell - 0.5).abs().amax(1)
        blur = max(spacing / side, 0.02)
        joint = ((within - 0.46) / blur).clamp(0, 1) * min(0.08 / blur, 1.0)
        tone = noise(cell, 1.7, 41) * 0.35 * min(1.0, side / (2 * spacing))
        stone = torch.tensor([0.42, 0.37, 0.31]) * (1 + tone)[:, None]
        stone = stone * (1 - 0.7 * joint)[:, None]
        inside = ((PLAZA - xy.norm(dim=1)) / max(2 * spacing, 0.002)).clamp(0, 1)[:, None]
        return colour + inside * (stone - colour)

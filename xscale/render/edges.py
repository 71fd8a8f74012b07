"""Smooth silhouettes: more samples only in pixels where the surface breaks off.

A pixel's centre ray gives all of its outputs. Where a corner of the pixel lies on another surface
or on none, colours become means over the pixel: the centre counts a half, each corner an eighth.
Corners on the centre's own surface count as the centre. Neighbours share corners, so this takes one
more raster of the frame, and shading in few places. Nothing depends on the rectangle rendered.

Source of the pattern: "Quincunx" multisampling, five samples at the price of two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale.gbuffer.edges import CORNER, Breaks

_SHARE = 0.125
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Rows and columns of a pixel's corners in the grid of corners."""


def smoothed(
    found: Breaks,
    corner: tuple[int, int],
    colour: Tensor,
    corner_colour: Callable[[Tensor, tuple[float, float]], Tensor],
    beyond: Callable[[Tensor], Tensor] | None,
    covered: Tensor,
) -> None:
    """Resolve the colours of pixels in which the surface breaks off, in place.

    Args:
        found: Where that is.
        corner: Left and top pixel of the rectangle.
        colour: Float32 or uint8 [h, w, 3], colours of the pixels' centres.
        corner_colour: Colours [h + 1, w + 1, 3] of face ids at an offset inside their pixels, in
            the unit of ``colour``.
        beyond: Colours [N, 3] of rays through (u, v) [N, 2] that hit nothing, in that unit; None:
            nothing is known of them, so they are left out.
        covered: Bool [h, w], pixels whose centres hit.
    """
    rows, columns = found.flags.nonzero().unbind(1)
    flags, hit = found.flags[rows, columns], covered[rows, columns]
    weights = []
    for bit, (row, column) in enumerate(_PLACES):
        missed = found.missed[rows + row, columns + column]
        # Without a background misses are left out; where the centre misses too, nothing changes.
        used = ~missed & hit if beyond is None else ~missed | hit
        weights.append(_SHARE * ((flags >> bit & 1).bool() & used)[:, None])
    if not len(rows):
        return
    there = corner_colour(found.face_id, CORNER)
    if beyond is not None:
        down, across = found.missed.nonzero().unbind(1)
        if len(down):
            place = torch.stack([across + corner[0], down + corner[1]], 1).double()
            there[down, across] = beyond(place).to(there.dtype)
    centre = colour[rows, columns].float()
    mean = centre.clone()
    for weight, (row, column) in zip(weights, _PLACES, strict=True):
        mean += weight * (there[rows + row, columns + column].float() - centre)
    whole = colour.dtype == torch.uint8
    colour[rows, columns] = (mean + 0.5).to(torch.uint8) if whole else mean

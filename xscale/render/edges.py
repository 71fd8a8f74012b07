"""Smooth silhouettes: more samples only in pixels where the surface breaks off.

A pixel's centre ray gives all of its outputs. Where a corner of the pixel lies on another surface
or on none, colours become means over the pixel: the centre counts a half, each corner an eighth.
Corners on the centre's own surface count as the centre. Neighbours share corners, so this takes one
more raster of the frame, and shading in few places. Nothing depends on the rectangle rendered.

Source of the pattern: "Quincunx" multisampling, five samples at the price of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import Rect, visible
from xscale.gbuffer.gbuffer import Surface

_CORNER = (0.0, 0.0)
"""Offset of the sample at a pixel's upper left corner."""
_SHARE = 0.125
_STEP = 2.0
"""Pixel sizes by which depths differ, beyond what a plane foretells, where surface breaks off."""
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Rows and columns of a pixel's corners in the grid of corners."""


@dataclass(frozen=True)
class Breaks:
    """Corners of a rectangle's pixels that lie on another surface than their pixels' centres."""

    flags: Tensor
    """Uint8 [h, w], bit k for corner k of a pixel, row by row."""
    face_id: Tensor
    """Int32 [h + 1, w + 1], the face at those corners; below 0 at all others and where none is."""
    missed: Tensor
    """Bool [h + 1, w + 1], those of these corners that hit nothing."""


def breaks(
    surface: Surface,
    camera: Tensor,
    size: tuple[int, int],
    rect: Rect,
    face_id: Tensor,
    depth: Tensor,
) -> Breaks:
    """Find the pixels of a rectangle in which the surface breaks off; see ``ops.breaks``.

    Args:
        surface: The mesh.
        camera: Float64 [32], packed, in the surface's frame.
        size: Width and height of the whole picture.
        rect: (left, top, width, height).
        face_id: Int32 [h, w] at the pixels' centres, see ``visible``.
        depth: Float32 [h, w] there.
    """
    left, top, width, height = rect
    # Sides are asked about only where they matter, below.
    corners = visible(
        surface.two_sided(), camera, *size, (left, top, width + 1, height + 1), _CORNER
    )
    step = _STEP / float(camera[12] * camera[13]) ** 0.5
    flags, needed = ops.breaks(face_id, depth, *corners, step=step)
    if surface.sides is not None:
        points = (surface.vertices, surface.faces, surface.normals)
        asked = needed != ops.NOT_NEEDED
        needed = ops.sides(*points, camera, needed, surface.sides, side=False)[1]
        return Breaks(flags, needed, asked & (needed < 0))
    return Breaks(flags, needed, needed == -1)


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
    there = corner_colour(found.face_id, _CORNER)
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

"""Pixels in which the surface breaks off: their corners lie on another surface, or on none."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import Rect, visible
from xscale.gbuffer.gbuffer import Surface

CORNER = (0.0, 0.0)
"""Offset of the sample at a pixel's upper left corner."""
_STEP = 2.0
"""Pixel sizes by which depths differ, beyond what a plane foretells, where surface breaks off."""


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
        surface.two_sided(), camera, *size, (left, top, width + 1, height + 1), CORNER
    )
    step = _STEP / float(camera[12] * camera[13]) ** 0.5
    flags, needed = ops.breaks(face_id, depth, *corners, step=step)
    if surface.sides is not None:
        points = (surface.vertices, surface.faces, surface.normals)
        asked = needed != ops.NOT_NEEDED
        needed = ops.sides(*points, camera, needed, surface.sides, side=False)[1]
        return Breaks(flags, needed, asked & (needed < 0))
    return Breaks(flags, needed, needed == -1)

"""breaks: corners of pixels that lie on another surface than their pixels' centres."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference

NOT_NEEDED = -2
"""In place of a face id, at corners that no pixel asks for."""
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Rows and columns of a pixel's corners, by bit."""


def breaks(
    face_id: Tensor, depth: Tensor, corner_id: Tensor, corner_depth: Tensor, *, step: float
) -> tuple[Tensor, Tensor]:
    """Find the pixels of a rectangle in which the surface breaks off.

    On a plane 1 / z is linear across the picture. A corner lies on another surface where its depth
    differs from the centre's by more than a step, and the opposite corner does not predict it; or
    where one of the two rays hits nothing.

    Args:
        face_id: Int32 [h, w] at the pixels' centres, -1 for none.
        depth: Float32 [h, w] there, +inf for none.
        corner_id: Int32 [h + 1, w + 1] at their corners.
        corner_depth: Float32 [h + 1, w + 1] there.
        step: Least difference, as a share of the depth.

    Returns:
        Flags uint8 [h, w], bit k for corner k of a pixel (row by row); and the face ids int32
        [h + 1, w + 1] of flagged corners, ``NOT_NEEDED`` at all others.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    ids, floats = (torch.int32,), (torch.float32,)
    check_tensor("breaks", "face_id", face_id, ("rows", "columns"), ids)
    (height, width), device = face_id.shape, face_id.device
    check_tensor("breaks", "depth", depth, (height, width), floats, device)
    check_tensor("breaks", "corner_id", corner_id, (height + 1, width + 1), ids, device)
    check_tensor("breaks", "corner_depth", corner_depth, (height + 1, width + 1), floats, device)
    if use_reference("breaks", device):
        return breaks_reference(face_id, depth, corner_id, corner_depth, step=step)
    flags = torch.empty(height, width, dtype=torch.uint8, device=device)
    needed = torch.empty_like(corner_id)
    _ext.call(
        "breaks", device, width=width, height=height, face_id=face_id, depth=depth,
        corner_id=corner_id, corner_depth=corner_depth, step=step, flags=flags, needed=needed,
    )  # fmt: skip
    return flags, needed


def breaks_reference(
    face_id: Tensor, depth: Tensor, corner_id: Tensor, corner_depth: Tensor, *, step: float
) -> tuple[Tensor, Tensor]:
    """Reference of ``breaks``: each corner for all pixels at once."""
    height, width = face_id.shape
    limit = torch.where(face_id < 0, 0.0, depth * step)
    flags = torch.zeros_like(face_id, dtype=torch.uint8)
    asked = torch.zeros_like(corner_id, dtype=torch.bool)

    def at(values: Tensor, down: int, across: int) -> Tensor:
        return values[down : down + height, across : across + width]

    for bit, (down, across) in enumerate(_PLACES):
        other_id, other = at(corner_id, down, across), at(corner_depth, down, across)
        line = 1 / (2 / depth - 1 / at(corner_depth, 1 - down, 1 - across))
        foretold = (line - other).abs() <= step * torch.minimum(other, depth)
        foretold &= (face_id >= 0) & (other_id >= 0)
        found = (other_id != face_id) & ((other - depth).abs() > limit) & ~foretold
        flags |= found.to(torch.uint8) << bit
        at(asked, down, across).logical_or_(found)
    return flags, torch.where(asked, corner_id, NOT_NEEDED)

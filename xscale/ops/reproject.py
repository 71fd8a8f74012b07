"""reproject: colours of a new view, taken from key frames that show the same surface points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xscale.errors import ShapeError
from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._project import camera_pixels
from xscale.ops._rays import camera_rays, dot
from xscale.ops.rasterize import CAMERA_SIZE, cross

_F32 = (torch.float32,)
_I32 = (torch.int32,)
_U8 = (torch.uint8,)
BACKDROP_STEP = 4
"""Pixels between two nodes of a backdrop."""
_LEAST_COSINE = 0.1
"""As in ``interpolate``: the cosine that footprints are computed with is at least this."""


class KeyFrames(NamedTuple):
    """Pictures of the same surface that were rendered in full, never reprojected ones."""

    cameras: Tensor
    """Float64 [K, 32], packed, in the surface's frame."""
    colour: Tensor
    """Uint8 [K, Hk, Wk, 4], sRGB at pixel centres; the fourth channel is not used."""
    depth: Tensor
    """Float32 [K, Hk, Wk], as ``rasterize`` gives it; +inf where nothing is hit."""


class Reprojected(NamedTuple):
    """A picture's rectangle as far as key frames show it."""

    rgba: Tensor
    """Uint8 [height, width, 4], sRGB; 255 where nothing was taken. Alpha is 255 everywhere."""
    missing: Tensor
    """Int32 [height, width], faces of the pixels that are still to be shaded, else -1."""


def reproject(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    depth: Tensor,
    keys: KeyFrames,
    order: Tensor,
    *,
    backdrop: Tensor | None = None,
    corner: tuple[int, int] = (0, 0),
    offset: tuple[float, float] = (0.5, 0.5),
    tolerance: float = 3.0,
    sharper: float = 0.8,
    coarser: float = 2.0,
) -> Reprojected:
    """Take colours of pixels whose faces and depths are known from key frames of the same points.

    The surface point of each pixel is projected into the key frames in the given order. The first
    one that shows it gives the colour, bilinearly between four pixels: all four must lie at the
    point's depth, so that nothing is taken from what stands before or behind it, and the footprint
    ratio must be near 1, so that pictures neither blur nor alias.

    Args:
        vertices: Float32 [V, 3], local frame.
        faces: Int32 [F, 3] in the order that ``face_id`` counts.
        camera: Float64 [32], packed: the new view.
        face_id: Int32 [height, width], -1 for none: what ``rasterize`` gave for the rectangle.
        depth: Float32 [height, width], likewise.
        keys: The key frames.
        order: Int32 [N], rows of ``keys`` in the order in which they are tried.
        backdrop: Uint8 [rows, columns, 4], what pixels that hit nothing show, at the corners of
            every ``BACKDROP_STEP``-th pixel of the picture, bilinear between these nodes; its
            fourth channel is not used. None paints them white.
        corner: Left and top pixel of the rectangle in the picture.
        offset: Sample position inside a pixel.
        tolerance: Largest difference of depths, in footprints of the key frame.
        sharper: Least footprint of the new view over the key frame's; below it the new pixel shows
            more than the key frame knows.
        coarser: Greatest such ratio; above it single pixels of the key frame stand for too much.

    Returns:
        Colours, and what is missing.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    _check(vertices, faces, camera, face_id, depth, keys, order)
    if backdrop is not None:
        _check_backdrop(backdrop, face_id, corner)
    if use_reference("reproject", face_id.device):
        return reproject_reference(
            vertices, faces, camera, face_id, depth, keys, order, backdrop=backdrop,
            corner=corner, offset=offset, tolerance=tolerance, sharper=sharper, coarser=coarser,
        )  # fmt: skip
    height, width = face_id.shape
    out = Reprojected(
        rgba=torch.empty(height, width, 4, dtype=torch.uint8, device=face_id.device),
        missing=torch.empty_like(face_id),
    )
    _ext.call(
        "reproject", face_id.device, vertices=vertices, faces=faces, camera=camera,
        face_id=face_id, view_depth=depth, left=corner[0], top=corner[1], width=width,
        height=height, offset_x=offset[0], offset_y=offset[1], key_cameras=keys.cameras,
        key_colour=keys.colour, key_depth=keys.depth, key_height=keys.depth.shape[1],
        key_width=keys.depth.shape[2], order=order, keys=len(order), tolerance=tolerance,
        sharper=sharper, coarser=coarser, backdrop=backdrop,
        backdrop_width=0 if backdrop is None else backdrop.shape[1], **out._asdict(),
    )  # fmt: skip
    return out


def backdrop_size(width: int, height: int) -> tuple[int, int]:
    """Return the columns and rows of a backdrop's nodes for a picture's size."""
    return -(-width // BACKDROP_STEP) + 1, -(-height // BACKDROP_STEP) + 1


def _check(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    depth: Tensor,
    keys: KeyFrames,
    order: Tensor,
) -> None:
    check_tensor("reproject", "vertices", vertices, ("vertices", 3), _F32)
    device = vertices.device
    doubles = (torch.float64,)
    check_tensor("reproject", "faces", faces, ("faces", 3), _I32, device)
    check_tensor("reproject", "camera", camera, (CAMERA_SIZE,), doubles, device)
    check_tensor("reproject", "face_id", face_id, ("height", "width"), _I32, device)
    check_tensor("reproject", "depth", depth, tuple(face_id.shape), _F32, device)
    shape = ("keys", "key height", "key width")
    check_tensor("reproject", "keys.depth", keys.depth, shape, _F32, device)
    count = len(keys.depth)
    check_tensor("reproject", "keys.cameras", keys.cameras, (count, CAMERA_SIZE), doubles, device)
    check_tensor("reproject", "keys.colour", keys.colour, (*keys.depth.shape, 4), _U8, device)
    check_tensor("reproject", "order", order, ("tried keys",), _I32, device)


def _check_backdrop(backdrop: Tensor, face_id: Tensor, corner: tuple[int, int]) -> None:
    shape = ("rows", "columns", 4)
    check_tensor("reproject", "backdrop", backdrop, shape, _U8, face_id.device)
    height, width = face_id.shape
    columns, rows = backdrop_size(corner[0] + width, corner[1] + height)
    if len(backdrop) < rows or backdrop.shape[1] < columns:
        raise ShapeError(
            f"reproject: backdrop must have at least {rows} x {columns} nodes, "
            f"got {len(backdrop)} x {backdrop.shape[1]}"
        )


def reproject_reference(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    depth: Tensor,
    keys: KeyFrames,
    order: Tensor,
    *,
    backdrop: Tensor | None,
    corner: tuple[int, int],
    offset: tuple[float, float],
    tolerance: float,
    sharper: float,
    coarser: float,
) -> Reprojected:
    """Reference of ``reproject`` in float64."""
    flat = face_id.reshape(-1)
    index = (flat >= 0).nonzero().squeeze(1)
    u = corner[0] + index % max(face_id.shape[1], 1) + offset[0]
    v = corner[1] + index // max(face_id.shape[1], 1) + offset[1]
    ray, solid = camera_rays(camera, u.double(), v.double())
    rotation, centre = camera[:9].reshape(3, 3), _centre(camera)
    away = (ray * depth.reshape(-1)[index, None].double()) @ rotation
    position = centre + away
    a, b, c = vertices[faces[flat[index].long()].long()].double().unbind(1)
    normal = cross(b - a, c - a)
    footprint = (dot(away, away) * solid / _cosine(normal, away)).sqrt()
    shape = (*face_id.shape, 4)
    rgba = torch.full((len(flat), 4), 255, dtype=torch.uint8, device=flat.device)
    if backdrop is not None:
        rgba = _painted(backdrop, face_id.shape, corner, offset).reshape(-1, 4)
        rgba[index] = 255
    missing = flat[index]
    for key in order.long().tolist():
        pixel, seen, key_solid = camera_pixels(keys.cameras[key], position)
        off = position - _centre(keys.cameras[key])
        area = dot(off, off) * key_solid / _cosine(normal, off)
        ratio = footprint / area.sqrt()
        colour, apart = _bilinear(keys.colour[key], keys.depth[key], pixel, seen)
        taken = (missing >= 0) & (apart <= tolerance * area.sqrt())
        taken &= (ratio >= sharper) & (ratio <= coarser)
        rgba[index[taken], :3] = (colour[taken] + 0.5).to(torch.uint8)
        missing = torch.where(taken, -1, missing)
    left = torch.full_like(flat, -1)
    left[index] = missing
    return Reprojected(rgba.reshape(shape), left.reshape(face_id.shape))


def _painted(
    backdrop: Tensor, size: tuple[int, int], corner: tuple[int, int], offset: tuple[float, float]
) -> Tensor:
    """Return what a backdrop shows in a rectangle, uint8 [height, width, 4]."""
    height, width = size

    def places(first: int, count: int, shift: float) -> tuple[Tensor, Tensor]:
        place = first + torch.arange(count, device=backdrop.device)
        node = place // BACKDROP_STEP
        return node, ((place - node * BACKDROP_STEP).double() + shift) / BACKDROP_STEP

    (column, right), (row, down) = (
        places(corner[0], width, offset[0]),
        places(corner[1], height, offset[1]),
    )
    right, down = right[None, :, None], down[:, None, None]
    nodes = backdrop.double()
    upper, lower = nodes[row], nodes[row + 1]
    above = upper[:, column] * (1 - right) + upper[:, column + 1] * right
    below = lower[:, column] * (1 - right) + lower[:, column + 1] * right
    mixed = (above * (1 - down) + below * down + 0.5).to(torch.uint8)
    mixed[..., 3] = 255
    return mixed


def _centre(camera: Tensor) -> Tensor:
    return -(camera[:9].reshape(3, 3) * camera[9:12, None]).sum(0)


def _cosine(normal: Tensor, away: Tensor) -> Tensor:
    """Return the cosine [N] between faces' normals and rays, held as in ``interpolate``."""
    size = (dot(normal, normal) * dot(away, away)).sqrt()
    return torch.where(size > 0, dot(normal, away).abs() / size, 0).clamp(min=_LEAST_COSINE)


def _bilinear(
    colour: Tensor, depth: Tensor, pixel: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Return colours [N, 3] between four pixels, and how far these lie from a depth at most [N].

    Args:
        colour: Uint8 [H, W, 4].
        depth: Float32 [H, W].
        pixel: Float64 [N, 2], continuous (u, v) or NaN.
        wanted: Float64 [N], the depth.

    Returns:
        The distance is +inf where one of the four is outside the picture.
    """
    height, width = depth.shape
    x, y = (pixel - 0.5).unbind(1)
    column, row = x.floor(), y.floor()
    inside = (column >= 0) & (row >= 0) & (column + 1 < width) & (row + 1 < height)
    column, row = torch.where(inside, column, 0).long(), torch.where(inside, row, 0).long()
    fx, fy = torch.where(inside, x, 0) - column, torch.where(inside, y, 0) - row
    total = torch.zeros(len(x), 3, dtype=torch.float64, device=x.device)
    apart = torch.where(inside, 0.0, float("inf"))
    if not inside.any():
        return total, apart
    for down in (0, 1):
        for right in (0, 1):
            at = ((row + down) * width + column + right) * inside
            weight = (fx if right else 1 - fx) * (fy if down else 1 - fy)
            total += weight[:, None] * colour.reshape(-1, 4)[at, :3]
            apart = torch.maximum(apart, (depth.reshape(-1)[at].double() - wanted).abs())
    return total, apart

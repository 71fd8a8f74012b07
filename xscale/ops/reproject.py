"""reproject: colours of a new view, taken from key frames that show the same surface points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._project import camera_pixels
from xscale.ops._rays import dot
from xscale.ops.interpolate import interpolate_reference
from xscale.ops.rasterize import CAMERA_SIZE, cross

_F32 = (torch.float32,)
_I32 = (torch.int32,)
_U8 = (torch.uint8,)
_LEAST_COSINE = 0.1
"""As in ``interpolate``: the cosine that footprints are computed with is at least this."""


class KeyFrames(NamedTuple):
    """Pictures of the same surface that were rendered in full, never reprojected ones."""

    cameras: Tensor
    """Float64 [K, 32], packed, in the surface's frame."""
    colour: Tensor
    """Uint8 [K, Hk, Wk, 3], sRGB at pixel centres."""
    depth: Tensor
    """Float32 [K, Hk, Wk], as ``rasterize`` gives it; +inf where nothing is hit."""


class Reprojected(NamedTuple):
    """A picture's rectangle as far as key frames show it."""

    rgb: Tensor
    """Uint8 [height, width, 3], sRGB; 255 where nothing was taken."""
    depth: Tensor
    """Float32 [height, width], of the new view; +inf where nothing is hit."""
    missing: Tensor
    """Int32 [height, width], faces of the pixels that are still to be shaded, else -1."""


def reproject(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    keys: KeyFrames,
    order: Tensor,
    *,
    corner: tuple[int, int] = (0, 0),
    offset: tuple[float, float] = (0.5, 0.5),
    tolerance: float = 3.0,
    sharper: float = 0.8,
    coarser: float = 2.0,
) -> Reprojected:
    """Take colours of pixels whose faces are known from key frames that show the same points.

    The surface point of each pixel is projected into the key frames in the given order. The first
    one that shows it gives the colour, bilinearly between four pixels: all four must lie at the
    point's depth, so that nothing is taken from what stands before or behind it, and the footprint
    ratio must be near 1, so that pictures neither blur nor alias.

    Args:
        vertices: Float32 [V, 3], local frame.
        faces: Int32 [F, 3] in the order that ``face_id`` counts.
        camera: Float64 [32], packed: the new view.
        face_id: Int32 [height, width], -1 for none: what ``rasterize`` gave for the rectangle.
        keys: The key frames.
        order: Int32 [N], rows of ``keys`` in the order in which they are tried.
        corner: Left and top pixel of the rectangle in the picture.
        offset: Sample position inside a pixel.
        tolerance: Largest difference of depths, in footprints of the key frame.
        sharper: Least footprint of the new view over the key frame's; below it the new pixel shows
            more than the key frame knows.
        coarser: Greatest such ratio; above it single pixels of the key frame stand for too much.

    Returns:
        Colours, depths, and what is missing.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    _check(vertices, faces, camera, face_id, keys, order)
    if use_reference("reproject", face_id.device):
        return reproject_reference(
            vertices, faces, camera, face_id, keys, order, corner=corner, offset=offset,
            tolerance=tolerance, sharper=sharper, coarser=coarser,
        )  # fmt: skip
    height, width = face_id.shape
    out = Reprojected(
        rgb=torch.empty(height, width, 3, dtype=torch.uint8, device=face_id.device),
        depth=torch.empty(height, width, device=face_id.device),
        missing=torch.empty_like(face_id),
    )
    _ext.call(
        "reproject", face_id.device, vertices=vertices, faces=faces, camera=camera,
        face_id=face_id, left=corner[0], top=corner[1], width=width, height=height,
        offset_x=offset[0], offset_y=offset[1], key_cameras=keys.cameras, key_colour=keys.colour,
        key_depth=keys.depth, key_height=keys.depth.shape[1], key_width=keys.depth.shape[2],
        order=order, keys=len(order), tolerance=tolerance, sharper=sharper, coarser=coarser,
        **out._asdict(),
    )  # fmt: skip
    return out


def _check(
    vertices: Tensor, faces: Tensor, camera: Tensor, face_id: Tensor, keys: KeyFrames, order: Tensor
) -> None:
    check_tensor("reproject", "vertices", vertices, ("vertices", 3), _F32)
    device = vertices.device
    doubles = (torch.float64,)
    check_tensor("reproject", "faces", faces, ("faces", 3), _I32, device)
    check_tensor("reproject", "camera", camera, (CAMERA_SIZE,), doubles, device)
    check_tensor("reproject", "face_id", face_id, ("height", "width"), _I32, device)
    shape = ("keys", "key height", "key width")
    check_tensor("reproject", "keys.depth", keys.depth, shape, _F32, device)
    count = len(keys.depth)
    check_tensor("reproject", "keys.cameras", keys.cameras, (count, CAMERA_SIZE), doubles, device)
    check_tensor("reproject", "keys.colour", keys.colour, (*keys.depth.shape, 3), _U8, device)
    check_tensor("reproject", "order", order, ("tried keys",), _I32, device)


def reproject_reference(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    keys: KeyFrames,
    order: Tensor,
    *,
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
    points = interpolate_reference(
        vertices, faces, None, camera[None], torch.zeros_like(index, dtype=torch.int32),
        torch.stack([u, v], 1).float(), flat[index],
    )  # fmt: skip
    hit = points.depth.isfinite()
    position = points.position.double()
    a, b, c = vertices[faces[flat[index].long()].long()].double().unbind(1)
    normal = cross(b - a, c - a)
    rgb = torch.full((len(flat), 3), 255, dtype=torch.uint8, device=flat.device)
    missing = torch.where(hit, flat[index], -1)
    for key in order.long().tolist():
        pixel, depth, solid = camera_pixels(keys.cameras[key], position)
        away = position - _centre(keys.cameras[key])
        area = dot(away, away) * solid / _cosine(normal, away)
        ratio = points.footprint.double() / area.sqrt()
        colour, apart = _bilinear(keys.colour[key], keys.depth[key], pixel, depth)
        taken = (missing >= 0) & (apart <= tolerance * area.sqrt())
        taken &= (ratio >= sharper) & (ratio <= coarser)
        rgb[index[taken]] = (colour[taken] + 0.5).to(torch.uint8)
        missing = torch.where(taken, -1, missing)
    depths = torch.full((len(flat),), float("inf"), device=flat.device)
    depths[index] = points.depth
    left = torch.full_like(flat, -1)
    left[index] = missing.int()
    shape = face_id.shape
    return Reprojected(rgb.reshape(*shape, 3), depths.reshape(shape), left.reshape(shape))


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
        colour: Uint8 [H, W, 3].
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
            total += weight[:, None] * colour.reshape(-1, 3)[at]
            apart = torch.maximum(apart, (depth.reshape(-1)[at].double() - wanted).abs())
    return total, apart

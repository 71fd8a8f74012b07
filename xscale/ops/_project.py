"""Pixels of points in packed cameras, in float64: the inverse of ``_rays.camera_rays``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xscale.ops._rays import _FISHEYE, _distort, dot
from xscale.ops.rasterize import camera_points

_PINHOLE, _FOV, _EQUIRECTANGULAR = 0, 3, 4


def camera_pixels(camera: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where a camera sees points, how deep, and the solid angles of the pixels there.

    Args:
        camera: Float64 [32], packed.
        points: Float64 [N, 3], in the frame that the camera maps.

    Returns:
        Pixels (u, v) float64 [N, 2], NaN where the point is outside the lens's domain or not in
        front of a perspective lens; depths float64 [N], z or for wide lenses the distance; solid
        angles float64 [N] in steradians.
    """
    inside = camera_points(camera, points)
    x, y, z = inside.unbind(1)
    projection = int(camera[18])
    area = camera[12] * camera[13]
    distance = dot(inside, inside).sqrt()
    if projection == _EQUIRECTANGULAR:
        across = torch.hypot(x, z)
        dx, dy, depth = torch.atan2(x, z), torch.atan2(y, across), distance
        solid = across / distance
        good = distance > 0
    elif projection == _FISHEYE:
        across = torch.hypot(x, y)
        theta = torch.atan2(across, z)
        scale = torch.where(across > 0, theta / across, 0)
        dx, dy, determinant, good = _bent(camera, x * scale, y * scale)
        solid = torch.where(theta > 0, theta.sin() / theta, 1) / determinant
        depth, good = distance, good & (distance > 0)
    else:
        qx, qy = x / z, y / z
        length = distance / z
        dx, dy, determinant, good = qx, qy, torch.ones_like(qx), torch.ones_like(qx).bool()
        if projection != _PINHOLE:
            bend = _fov if projection == _FOV else _bent
            dx, dy, determinant, good = bend(camera, qx, qy)
        solid, depth = 1 / (length**3 * determinant), z
        good = good & (z > 0)
    pixel = torch.stack(
        [dx * camera[12] + dy * camera[16] + camera[14], dy * camera[13] + camera[15]], 1
    )
    return torch.where(good[:, None], pixel, math.nan), depth, solid / area


def _bent(camera: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return distorted points, the map's determinant, and whether they are in the lens's domain."""
    c = camera[20:31].unbind(0)
    dx, dy, xx, xy, yx, yy = _distort(c, camera[18] == _FISHEYE, x, y)
    determinant = xx * yy - xy * yx
    return dx, dy, determinant, (torch.hypot(x, y) <= camera[31]) & (determinant > 0)


def _fov(camera: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what ``_bent`` does, for the lens with one angle."""
    omega = camera[20].abs()
    wide = 2 * (omega / 2).tan()
    r = torch.hypot(x, y)
    angle = (r * wide).atan()
    factor = torch.where(r > 0, angle / (omega * r), wide / omega)
    # Derivative along the radius times that across it.
    determinant = wide / (omega * (1 + (r * wide) ** 2)) * factor
    return x * factor, y * factor, determinant, r <= camera[31]

"""Pixel rays of packed cameras in float64: csrc/camera/camera.h in PyTorch, for the references."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PINHOLE, _FISHEYE, _FOV, _EQUIRECTANGULAR = 0, 2, 3, 4
_BISECTIONS = 70
_STEPS = 30
_RESIDUAL = 1e-9


def camera_rays(camera: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return camera-space rays through continuous pixels and the pixels' solid angles.

    Args:
        camera: Float64 [..., 32], packed.
        u: Float64 [...], in pixels.
        v: Float64 [...].

    Returns:
        Rays float64 [..., 3], z = 1 for perspective lenses, unit length for fisheyes and
        equirectangular pictures, zero outside the lens's domain; solid angles float64 [...].
    """
    y = (v - camera[..., 15]) / camera[..., 13]
    x = (u - camera[..., 14] - camera[..., 16] * y) / camera[..., 12]
    area = camera[..., 12] * camera[..., 13]
    kind = camera[..., 18].expand(x.shape)
    rays = torch.stack([x, y, torch.ones_like(x)], -1)
    solid = 1 / (dot(rays, rays) ** 1.5 * area)
    for projection in kind.unique().tolist():
        if projection == _PINHOLE:
            continue
        chosen = kind == projection
        lens = camera.expand(*x.shape, -1)[chosen]
        bent, angle = _bent(int(projection), lens, x[chosen], y[chosen])
        rays[chosen] = bent
        solid[chosen] = angle / area.expand(x.shape)[chosen]
    return rays, solid


def _bent(projection: int, camera: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return rays [N, 3] and solid angles a unit of the distorted plane [N] of one projection."""
    if projection == _EQUIRECTANGULAR:
        rays = torch.stack([y.cos() * x.sin(), y.sin(), y.cos() * x.cos()], -1)
        good = y.abs() <= math.pi / 2
        return rays * good[:, None], y.cos() * good
    if projection == _FOV:
        qx, qy, determinant, good = _undo_fov(camera, x, y)
    else:
        qx, qy, determinant, good = _undistort(camera, x, y)
    r = torch.hypot(qx, qy)
    if projection == _FISHEYE:
        scale = torch.where(r > 0, r.sin() / r, 1)
        rays = torch.stack([qx * scale, qy * scale, r.cos()], -1)
        solid = scale / determinant
    else:
        rays = torch.stack([qx, qy, torch.ones_like(qx)], -1)
        solid = 1 / ((1 + r * r) ** 1.5 * determinant)
    good = good[:, None]
    return torch.where(good, rays, 0), torch.where(good[:, 0], solid, 0)


def _undo_fov(camera: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    omega = camera[:, 20].abs()
    wide = 2 * (omega / 2).tan()
    r = torch.hypot(x, y)
    angle = r * omega
    factor = torch.where(r > 0, angle.tan() / (r * wide), omega / wide)
    good = (angle < math.pi / 2) & (r * factor <= camera[:, 31])
    return x * factor, y * factor, wide * angle.cos() ** 2 / (omega * factor), good


def _undistort(camera: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Undo polynomial distortion: bisection along the radius, then Newton's method for all."""
    c, most = camera[:, 20:31].unbind(1), camera[:, 31]
    fisheye = camera[:, 18] == _FISHEYE
    wanted = torch.hypot(x, y)
    low, high = torch.zeros_like(x), most.clone()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = middle * _radial(c, middle * middle)[0] > wanted
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    scale = torch.where(wanted > 0, low / wanted, 1)
    qx, qy = x * scale, y * scale
    for _ in range(_STEPS):
        dx, dy, xx, xy, yx, yy = _distort(c, fisheye, qx, qy)
        determinant = xx * yy - xy * yx
        qx = qx - (yy * (dx - x) - xy * (dy - y)) / determinant
        qy = qy - (xx * (dy - y) - yx * (dx - x)) / determinant
    dx, dy, xx, xy, yx, yy = _distort(c, fisheye, qx, qy)
    determinant = xx * yy - xy * yx
    good = torch.hypot(dx - x, dy - y) <= _RESIDUAL * (1 + wanted)
    good &= (determinant > 0) & (torch.hypot(qx, qy) <= most)
    return qx, qy, determinant, good


def _distort(c: tuple[Tensor, ...], fisheye: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Return distorted (x, y) and the derivatives xx, xy, yx, yy."""
    p1, p2 = c[7:9]
    e1, e2 = torch.where(fisheye, 0.0, c[9]), torch.where(fisheye, 0.0, c[10])
    sx, sy = torch.where(fisheye, c[9], 0.0), torch.where(fisheye, c[10], 0.0)
    s = x * x + y * y
    f, slope = _radial(c, s)
    g, growth = 1 + s * (e1 + s * e2), 2 * (e1 + 2 * s * e2)
    tx = 2 * p1 * x * y + p2 * (s + 2 * x * x)
    ty = 2 * p2 * x * y + p1 * (s + 2 * y * y)
    both = 2 * x * y * slope + g * (2 * p1 * x + 2 * p2 * y)
    return (
        x * f + g * tx + sx * s,
        y * f + g * ty + sy * s,
        f + 2 * x * x * slope + g * (2 * p1 * y + 6 * p2 * x) + x * growth * tx + 2 * sx * x,
        both + y * growth * tx + 2 * sx * y,
        both + x * growth * ty + 2 * sy * x,
        f + 2 * y * y * slope + g * (2 * p2 * x + 6 * p1 * y) + y * growth * ty + 2 * sy * y,
    )


def _radial(c: tuple[Tensor, ...], s: Tensor) -> tuple[Tensor, Tensor]:
    """Return the radial factor at s and its derivative by s."""
    over = 1 + s * (c[0] + s * (c[1] + s * (c[2] + s * c[3])))
    under = 1 + s * (c[4] + s * (c[5] + s * c[6]))
    over_slope = c[0] + s * (2 * c[1] + s * (3 * c[2] + s * (4 * c[3])))
    under_slope = c[4] + s * (2 * c[5] + s * (3 * c[6]))
    f = over / under
    return f, (over_slope - f * under_slope) / under


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return a . b, summed in order."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]

"""Lenses: which ray of the camera's frame belongs to which point of the picture, and back.

A lens maps a ray (x, y, z) to a point of the picture plane, which K then maps to pixels. The ray
first becomes a flat point q: ``(x, y) / z`` for perspective lenses, ``theta (x, y) / |(x, y)|``
for fisheyes, theta the angle to the axis. Distortion then bends q, with s = |q|^2:

    d = q N(s) / D(s) + E(s) (2 p1 qx qy + p2 (s + 2 qx^2), 2 p2 qx qy + p1 (s + 2 qy^2))
        + (sx, sy) s
    N(s) = 1 + n1 s + n2 s^2 + n3 s^3 + n4 s^4,   D(s) = 1 + d1 s + d2 s^2 + d3 s^3
    E(s) = 1 + e1 s + e2 s^2

where only perspective lenses have e1, e2 and only fisheyes sx, sy.

Far from the axis such a polynomial turns back and one d has several q. A lens ends before that: q
belongs to its domain while |q| is below the first radius at which the radial part stops growing,
and the whole map keeps its orientation. Points outside have no pixel, pixels outside no ray.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

RESIDUAL = 1e-9
"""Largest error of an inverse, in normalised coordinates, relative above 1."""
STEEPEST = 1e3
"""Largest tangent of the angle to the axis that a perspective lens shows (89.94 degrees)."""
COEFFICIENTS = 11
"""n1 n2 n3 n4, d1 d2 d3, p1 p2, then e1 e2 or sx sy; a FOV lens has omega in place of n1."""
_BISECTIONS = 70
_STEPS = 30


class Projection(IntEnum):
    """Kinds of lenses; the numbers are those of packed cameras."""

    PINHOLE = 0
    """Perspective without distortion."""
    PERSPECTIVE = 1
    """Perspective with polynomial distortion."""
    FISHEYE = 2
    """Equidistant with polynomial distortion; sees beyond 180 degrees."""
    FOV = 3
    """Perspective, d = q atan(2 |q| tan(omega / 2)) / (|q| omega) (Devernay and Faugeras 2001)."""
    EQUIRECTANGULAR = 4
    """d = (longitude, latitude), from the axis to the right and downwards; sees everything."""

    @property
    def wide(self) -> bool:
        """Whether rays may point backwards, so that depth is the distance and not z."""
        return self in (Projection.FISHEYE, Projection.EQUIRECTANGULAR)


@dataclass(frozen=True, eq=False)
class Lens:
    """One lens."""

    projection: Projection
    coefficients: np.ndarray = field(default_factory=lambda: np.zeros(COEFFICIENTS))
    """float64 [11]."""

    @cached_property
    def domain(self) -> float:
        """Largest |q| of the domain."""
        most = np.pi if self.projection is Projection.FISHEYE else STEEPEST
        if self.projection not in (Projection.PERSPECTIVE, Projection.FISHEYE):
            return most
        n, d = _polynomials(self.coefficients)
        # The radial part r N / D stops growing where (N + 2 s N') D - 2 s N D' is zero, and is
        # broken where D is.
        s = np.polynomial.Polynomial([0.0, 1.0])
        turns = (n + 2 * s * n.deriv()) * d - 2 * s * n * d.deriv()
        roots = np.concatenate([turns.trim().roots(), d.trim().roots()])
        roots = roots.real[np.abs(roots.imag) <= 1e-9 * np.abs(roots)]
        roots = roots[roots > 0]
        return min(most, float(np.sqrt(roots.min())) * (1 - 1e-9)) if len(roots) else most

    @property
    def turning(self) -> bool:
        """Whether distortion is more than radial."""
        return bool(self.coefficients[7:].any())

    def rays(self, distorted: np.ndarray) -> np.ndarray:
        """Return the rays of distorted normalised points [N, 2].

        Returns:
            float64 [N, 3] in the camera's frame, z = 1 for perspective lenses and of unit length
            for wide ones; NaN outside the domain.
        """
        x, y = np.asarray(distorted, np.float64).T
        if self.projection is Projection.EQUIRECTANGULAR:
            rays = np.stack([np.cos(y) * np.sin(x), np.sin(y), np.cos(y) * np.cos(x)], 1)
            return np.where((np.abs(y) <= np.pi / 2)[:, None], rays, np.nan)
        if self.projection is Projection.FOV:
            q = self._undo_fov(distorted)
        elif self.projection is Projection.PINHOLE:
            q = np.stack([x, y], 1)
        else:
            q = self._undistort(np.stack([x, y], 1))
        if self.projection is not Projection.FISHEYE:
            return np.concatenate([q, np.where(np.isnan(q[:, :1]), np.nan, 1.0)], 1)
        theta = np.hypot(*q.T)
        # np.sinc is sin(pi x) / (pi x).
        return np.concatenate([q * np.sinc(theta / np.pi)[:, None], np.cos(theta)[:, None]], 1)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points [N, 3] of the camera's frame are seen.

        Returns:
            Distorted normalised points float64 [N, 2], NaN outside the domain, and depths float64
            [N]: z, or for wide lenses the distance.
        """
        points = np.asarray(points, np.float64)
        x, y, z = points.T
        depth = np.linalg.norm(points, axis=1) if self.projection.wide else z
        if self.projection is Projection.EQUIRECTANGULAR:
            seen = np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], 1)
            return np.where((depth > 0)[:, None], seen, np.nan), depth
        if self.projection is Projection.FISHEYE:
            across = np.hypot(x, y)
            theta = np.arctan2(across, z)
            # On the axis itself the direction does not matter: ahead it is the centre.
            scale = np.divide(theta, across, out=np.zeros_like(theta), where=across > 0)
            q = np.where((depth > 0)[:, None], points[:, :2] * scale[:, None], np.nan)
        else:
            q = points[:, :2] / np.where(z > 0, z, np.nan)[:, None]
        if self.projection is Projection.PINHOLE:
            return q, depth
        if self.projection is Projection.FOV:
            omega = abs(self.coefficients[0])
            r = np.hypot(*q.T)
            wide = 2 * np.tan(omega / 2)
            factor = np.where(r > 0, np.arctan(r * wide) / np.where(r > 0, r, 1), wide) / omega
            seen = q * factor[:, None]
            return np.where((r <= self.domain)[:, None], seen, np.nan), depth
        seen, jacobian = self._distort(q)
        inside = (np.hypot(*q.T) <= self.domain) & (_determinant(jacobian) > 0)
        return np.where(inside[:, None], seen, np.nan), depth

    def _distort(self, q: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return d [N, 2] and its derivatives (xx, xy, yx, yy), each [N]."""
        p1, p2, e1, e2 = self.coefficients[7:]
        sx = sy = 0.0
        if self.projection is Projection.FISHEYE:
            sx, sy, e1, e2 = e1, e2, 0.0, 0.0
        x, y = q.T
        s = x * x + y * y
        f, slope = _radial(self.coefficients, s)
        g, growth = 1 + s * (e1 + s * e2), 2 * (e1 + 2 * s * e2)
        tx = 2 * p1 * x * y + p2 * (s + 2 * x * x)
        ty = 2 * p2 * x * y + p1 * (s + 2 * y * y)
        bent = [x * f + g * tx + sx * s, y * f + g * ty + sy * s]
        both = 2 * x * y * slope + g * (2 * p1 * x + 2 * p2 * y)
        xx = f + 2 * x * x * slope + g * (2 * p1 * y + 6 * p2 * x) + x * growth * tx + 2 * sx * x
        yy = f + 2 * y * y * slope + g * (2 * p2 * x + 6 * p1 * y) + y * growth * ty + 2 * sy * y
        xy = both + y * growth * tx + 2 * sx * y
        yx = both + x * growth * ty + 2 * sy * x
        return np.stack(bent, 1), (xx, xy, yx, yy)

    def _undistort(self, d: np.ndarray) -> np.ndarray:
        """Invert ``_distort``: the radial part by bisection, all of it by Newton's method."""
        wanted = np.hypot(*d.T)
        low, high = np.zeros(len(d)), np.full(len(d), self.domain)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            beyond = middle * _radial(self.coefficients, middle**2)[0] > wanted
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        q = d * np.divide(low, wanted, out=np.ones_like(low), where=wanted > 0)[:, None]
        with np.errstate(all="ignore"):
            for _ in range(_STEPS):
                bent, jacobian = self._distort(q)
                xx, xy, yx, yy = jacobian
                ex, ey = (bent - d).T
                step = np.stack([yy * ex - xy * ey, xx * ey - yx * ex], 1)
                step /= _determinant(jacobian)[:, None]
                if not np.nanmax(np.abs(step), initial=0.0) > 1e-16:
                    break
                q = q - step
            bent, jacobian = self._distort(q)
            off = np.hypot(*(bent - d).T)
            good = (off <= RESIDUAL * (1 + wanted)) & (_determinant(jacobian) > 0)
            good &= np.hypot(*q.T) <= self.domain
        return np.where(good[:, None], q, np.nan)

    def _undo_fov(self, distorted: np.ndarray) -> np.ndarray:
        omega = abs(self.coefficients[0])
        d = np.asarray(distorted, np.float64)
        r = np.hypot(*d.T)
        wide = 2 * np.tan(omega / 2)
        angle = np.minimum(r * omega, np.pi / 2)
        factor = np.where(r > 0, np.tan(angle) / np.where(r > 0, r, 1), omega) / wide
        good = (r * omega < np.pi / 2) & (r * factor <= self.domain)
        return np.where(good[:, None], d * factor[:, None], np.nan)


def _polynomials(
    coefficients: np.ndarray,
) -> tuple[np.polynomial.Polynomial, np.polynomial.Polynomial]:
    """Return N and D as polynomials of s."""
    return (
        np.polynomial.Polynomial([1.0, *coefficients[:4]]),
        np.polynomial.Polynomial([1.0, *coefficients[4:7]]),
    )


def _radial(c: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return N / D at s and its derivative by s."""
    over = 1 + s * (c[0] + s * (c[1] + s * (c[2] + s * c[3])))
    under = 1 + s * (c[4] + s * (c[5] + s * c[6]))
    over_slope = c[0] + s * (2 * c[1] + s * (3 * c[2] + s * 4 * c[3]))
    under_slope = c[4] + s * (2 * c[5] + s * 3 * c[6])
    f = over / under
    return f, (over_slope - f * under_slope) / under


def _determinant(jacobian: tuple[np.ndarray, ...]) -> np.ndarray:
    xx, xy, yx, yy = jacobian
    return xx * yy - xy * yx

"""Curves through key cameras: smooth in place, direction and lens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np

from xscale.errors import SetupError, UsageError
from xscale.geometry.camera import Camera

_SAMPLES = 64
"""Points a span is measured at, so that frames are equally far apart."""


class Curve:
    """A smooth way through key cameras.

    Positions follow a cubic spline and rotations a rotation spline, so that neither speed nor
    turning rate jumps; the field of view follows a monotone cubic of its logarithm. Its length is
    measured by the way gone and the angle turned together.

    Args:
        keys: Two cameras at least, undistorted; the first gives the size of the pictures.
        closed: Return to the first key.

    Raises:
        UsageError: Fewer than two keys, or a key with distortion.
    """

    def __init__(self, keys: Sequence[Camera], closed: bool = False) -> None:
        if len(keys) < 2:
            raise UsageError(f"interpolation needs two key cameras at least, got {len(keys)}")
        if any(len(camera.distortion) for camera in keys):
            raise UsageError("key cameras with lens distortion cannot be interpolated")
        curves, transform = scipy_modules()
        self._first = first = keys[0]
        keys = [camera.scaled(first.width, first.height) for camera in keys]
        self._near = min(camera.near for camera in keys)
        if closed:
            # The curve is laid through the neighbours of its seam too, so that it is smooth there.
            ring = list(keys)
            before = [ring[-2 % len(ring)], ring[-1]]
            keys = [*before, *ring, *ring[:1], ring[1 % len(ring)], ring[2 % len(ring)]]
            inner = (2, 2 + len(ring))
        else:
            inner = (0, len(keys) - 1)
        positions = np.stack([camera.position for camera in keys])
        rotations = transform.Rotation.from_matrix(np.stack([camera.R for camera in keys]))
        way = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        turned = (rotations[1:] * rotations[:-1].inv()).magnitude()
        scale = max(float(np.mean(way)), 1e-12)
        # Centripetal knots: a curve through unevenly spaced keys neither loops nor overshoots.
        knots = np.concatenate([[0], np.cumsum(np.sqrt(np.maximum(way / scale + turned, 1e-6)))])
        self._place = curves.CubicSpline(knots, positions, bc_type="natural")
        self._turn = transform.RotationSpline(knots, rotations)
        self._lens = curves.PchipInterpolator(knots, np.stack([_lens(camera) for camera in keys]))
        begin, end = knots[inner[0]], knots[inner[1]]
        fine = np.linspace(begin, end, _SAMPLES * (inner[1] - inner[0]) + 1)
        at = self._turn(fine)
        gone = np.linalg.norm(np.diff(self._place(fine), axis=0), axis=1) / scale
        gone = gone + (at[1:] * at[:-1].inv()).magnitude()
        length = np.concatenate([[0], np.cumsum(np.maximum(gone, 1e-12))])
        self._moment = curves.PchipInterpolator(length, fine)
        self._ends = (begin, end)
        self.length = float(length[-1])
        """Length of the whole curve."""
        between = knots[inner[0] + 1 : inner[1]]
        inside = [self._moment.solve(knot, extrapolate=False)[0] for knot in between]
        self.at_keys = np.array([0.0, *inside, self.length])
        """Lengths at which the keys lie, rising, float64; of a closed curve with its end."""

    def paced(self, times: np.ndarray, moments: np.ndarray, *, ease: bool = False) -> np.ndarray:
        """Return the lengths at moments, float64 [N], of a pace that reaches each key at its time.

        The speed neither jumps nor falls to zero at a key between the ends.

        Args:
            times: Of the keys, rising, float64 [K].
            moments: Float64 [N], between the first and the last of them.
            ease: Begin and end gently, from rest to rest; times of the keys between then shift.
        """
        curves, _ = scipy_modules()
        first, last = float(times[0]), float(times[-1])
        share = np.clip((np.asarray(moments, float) - first) / (last - first), 0, 1)
        if ease:
            share = share * share * (3 - 2 * share)
        pace = curves.PchipInterpolator(times, self.at_keys)
        return pace(first + share * (last - first)).clip(0, self.length)

    def cameras(self, lengths: np.ndarray) -> list[Camera]:
        """Return the cameras at lengths [N] along the curve."""
        moments = self._moment(lengths).clip(*self._ends)
        matrices, where = self._turn(moments).as_matrix(), self._place(moments)
        lenses = self._lens(moments)
        return [
            replace(
                self._first,
                model="PINHOLE",
                K=_intrinsics(lens),
                R=matrix,
                t=-matrix @ place,
                near=self._near,
            )
            for matrix, place, lens in zip(matrices, where, lenses, strict=True)
        ]


def _lens(camera: Camera) -> np.ndarray:
    """Return what is interpolated of K: log focal lengths, principal point, skew."""
    return np.array([math.log(camera.fx), math.log(camera.fy), camera.cx, camera.cy, camera.skew])


def _intrinsics(lens: np.ndarray) -> np.ndarray:
    return np.array(
        [[math.exp(lens[0]), lens[4], lens[2]], [0, math.exp(lens[1]), lens[3]], [0, 0, 1]]
    )


def scipy_modules() -> tuple[ModuleType, ModuleType]:
    """Import scipy's curves and rotations; only paths need them."""
    try:
        from scipy import interpolate as curves
        from scipy.spatial import transform
    except ImportError as error:
        raise SetupError(
            "smooth camera paths need scipy", advice="pip install xscale[render]"
        ) from error
    return curves, transform

"""A camera: where it stands, and which ray belongs to which pixel.

Pixels are continuous coordinates (u right, v down) with the origin at the outer corner of the
top-left pixel: pixel (row i, column j) has its centre at ``(j + 0.5, i + 0.5)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.lens import COEFFICIENTS, Lens
from xscale.geometry.models import BY_NAME, known_model

FARTHEST = 1e12
"""Largest coordinate of t; beyond it distances lose all meaning."""
PACKED_SIZE = 32
"""Numbers in a packed camera."""


def downscaled_size(width: int, height: int, downscale: float) -> tuple[int, int]:
    """Return ``(width, height)`` of a photo reduced by ``downscale``, at least one pixel each.

    Halves round to even, as Python's ``round`` does.
    """
    if not downscale >= 1:
        raise ValueError(f"downscale must be at least 1, got {downscale}")
    return max(1, round(width / downscale)), max(1, round(height / downscale))


def _frozen(values: object, shape: tuple[int, ...]) -> np.ndarray:
    """Copy into a read-only float64 array of the given shape."""
    array = np.array(values, dtype=np.float64).reshape(shape)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Camera:
    """One posed, calibrated camera. Arrays are copied and read-only."""

    model: str
    """COLMAP's name of the camera model, for example ``PINHOLE``."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""
    K: np.ndarray
    """float64 [3, 3]: ``[fx, skew, cx; 0, fy, cy; 0, 0, 1]`` in pixels, corner origin."""
    R: np.ndarray
    """float64 [3, 3]: rotation from world to camera (OpenCV axes: x right, y down, z forward)."""
    t: np.ndarray
    """float64 [3], world units: ``x_c = R x_w + t``."""
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 [n]: distortion parameters in COLMAP's order; empty for a pinhole."""
    near: float = 0.0
    """Nothing closer than this depth is seen, in world units; 0 where it is not set. Depth is the
    camera's z, or the distance where rays may point backwards (fisheyes, equirectangular)."""

    def __post_init__(self) -> None:
        """Check sizes and numbers.

        Raises:
            CameraError: The model is unknown or has another number of distortion parameters, a
                size or focal length is not positive, or a number is not finite.
        """
        object.__setattr__(self, "K", _frozen(self.K, (3, 3)))
        object.__setattr__(self, "R", _frozen(self.R, (3, 3)))
        object.__setattr__(self, "t", _frozen(self.t, (3,)))
        object.__setattr__(self, "distortion", _frozen(self.distortion, (-1,)))
        model = known_model(self.model, "camera")
        if len(self.distortion) != len(model.bending):
            raise CameraError(
                f"camera model {model.name} has {len(model.bending)} distortion parameters, "
                f"got {len(self.distortion)}"
            )
        if self.width < 1 or self.height < 1:
            raise CameraError(f"the image size is {self.width} x {self.height}, both must be >= 1")
        for name, values in (
            ("K", self.K),
            ("R", self.R),
            ("t", self.t),
            ("distortion", self.distortion),
        ):
            if not np.isfinite(values).all():
                raise CameraError(f"{name} of the camera has NaN or infinite numbers")
        if np.abs(self.t).max() > FARTHEST:
            raise CameraError(f"the camera is {np.abs(self.t).max():.3g} units from the origin")
        if not (self.fx > 0 and self.fy > 0):
            raise CameraError(f"focal lengths must be above 0, got {self.fx:g} and {self.fy:g}")

    @property
    def fx(self) -> float:
        """Horizontal focal length in pixels."""
        return float(self.K[0, 0])

    @property
    def fy(self) -> float:
        """Vertical focal length in pixels."""
        return float(self.K[1, 1])

    @property
    def cx(self) -> float:
        """Principal point, pixels from the left edge."""
        return float(self.K[0, 2])

    @property
    def cy(self) -> float:
        """Principal point, pixels from the top edge."""
        return float(self.K[1, 2])

    @property
    def skew(self) -> float:
        """Change of u with the normalised y, in pixels."""
        return float(self.K[0, 1])

    @property
    def position(self) -> np.ndarray:
        """Centre of projection, float64 [3], in the frame that R and t refer to."""
        return -self.R.T @ self.t

    @property
    def camera_from_world(self) -> np.ndarray:
        """Extrinsic matrix, float64 [4, 4]."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.R
        matrix[:3, 3] = self.t
        return matrix

    def recentred(self, origin: np.ndarray) -> Camera:
        """Return the same camera in coordinates ``x - origin``.

        Args:
            origin: float64 [3], in the frame that R and t refer to now.
        """
        return replace(self, t=self.t + self.R @ np.asarray(origin, dtype=np.float64))

    def scaled(self, width: int, height: int) -> Camera:
        """Return the camera of the same picture resampled to another size.

        Only corner-origin pixels allow this by multiplication alone.
        """
        K = np.array(self.K)
        K[0] *= width / self.width
        K[1] *= height / self.height
        return replace(self, width=width, height=height, K=K)

    def downscaled(self, downscale: float) -> Camera:
        """Return the camera of the photo reduced by ``downscale`` (at least 1)."""
        return self.scaled(*downscaled_size(self.width, self.height, downscale))

    def rays(self, pixel: np.ndarray) -> np.ndarray:
        """Return the direction in which each pixel looks.

        Args:
            pixel: [N, 2], (u, v) in pixels, corner origin; may lie outside the image.

        Returns:
            Unit directions from camera to scene, float64 [N, 3], in the world's axes; NaN for
            pixels outside the lens's domain, which see nothing.

        Raises:
            CameraError: The model is not supported.
        """
        pixel = np.asarray(pixel, dtype=np.float64)
        y = (pixel[:, 1] - self.cy) / self.fy
        x = (pixel[:, 0] - self.cx - self.skew * y) / self.fx
        direction = self.lens.rays(np.stack([x, y], axis=1)) @ self.R
        return direction / np.linalg.norm(direction, axis=1, keepdims=True)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points are seen.

        Args:
            points: [N, 3] in the frame that R and t refer to.

        Returns:
            Pixels (u, v), float64 [N, 2], NaN where the point is outside the lens's domain or, for
            perspective lenses, not in front of the camera; and depths float64 [N] in world units:
            camera z, or the distance for fisheyes and equirectangular pictures.

        Raises:
            CameraError: The model is not supported.
        """
        camera_points = np.asarray(points, dtype=np.float64) @ self.R.T + self.t
        distorted, depth = self.lens.project(camera_points)
        return distorted @ self.K[:2, :2].T + self.K[:2, 2], depth

    def packed(self) -> np.ndarray:
        """Return the camera as the ops take it.

        R and t must refer to the mesh's local frame already (:meth:`recentred`).

        Returns:
            float64 [32]: 0-8 R by rows, 9-11 t, 12-16 fx fy cx cy skew, 17 near, 18 projection
            (0 pinhole), 19 whether distortion is more than radial, 20-30 coefficients, 31 domain
            of the lens (:mod:`xscale.geometry.lens`).

        Raises:
            CameraError: The model is not supported.
        """
        lens = self.lens
        packed = np.zeros(PACKED_SIZE)
        packed[0:9] = self.R.reshape(9)
        packed[9:12] = self.t
        packed[12:18] = self.fx, self.fy, self.cx, self.cy, self.skew, self.near
        if lens.projection:
            packed[18] = lens.projection
            packed[19] = lens.turning
            packed[20 : 20 + COEFFICIENTS] = lens.coefficients
            packed[31] = lens.domain
        return packed

    @cached_property
    def lens(self) -> Lens:
        """The lens: the function that bends the rays.

        Raises:
            CameraError: The model is not supported.
        """
        return BY_NAME[self.model].lens(self.distortion)

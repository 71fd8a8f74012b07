"""Rotations between frames, made exact or refused.

World to camera is ``x_c = R x_w + t`` with OpenCV axes: x right, y down, z forward.
"""

from __future__ import annotations

import math

import numpy as np

from xscale.errors import CameraError

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
"""Turns OpenGL's camera axes (y up, z backwards) into OpenCV's; it is its own inverse."""
ROTATION_TOLERANCE = 1e-3
"""Largest entry-wise distance from a rotation that is taken for rounding and removed."""
QUIET_QUATERNION = 1e-3
"""Largest distance of a quaternion's norm from 1 that is normalised without a remark."""
LOUD_QUATERNION = 0.1
"""Largest distance of a quaternion's norm from 1 that is normalised with a warning."""
_EXACT = 1e-14
_ABSURD = 1e6


def rotation_from_quaternion(quaternion: np.ndarray, where: object) -> tuple[np.ndarray, bool]:
    """Turn a quaternion ``(w, x, y, z)`` into a rotation matrix.

    Args:
        quaternion: float64 [4], Hamilton convention as COLMAP writes it; any sign.
        where: File and record, for the error.

    Returns:
        The rotation, float64 [3, 3], and whether the norm was far enough from 1 for a warning.

    Raises:
        CameraError: A component is not finite, or the norm is off by more than 0.1.
    """
    quaternion = np.asarray(quaternion, dtype=np.float64)
    _check_finite(quaternion, where)
    norm = math.hypot(*quaternion)
    if abs(norm - 1.0) > LOUD_QUATERNION:
        raise CameraError(
            f"the rotation quaternion has length {norm:.6g}, it must be 1",
            where=where,
            advice="export the model again; a length of 0 means a photo without pose",
        )
    w, x, y, z = quaternion / norm
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return R, abs(norm - 1.0) > QUIET_QUATERNION


def quaternion_from_rotation(R: np.ndarray) -> np.ndarray:
    """Turn a rotation matrix into a quaternion ``(w, x, y, z)``, w not below 0.

    R gives the products of all pairs of components; the row of the largest one is divided by it,
    which is stable for every angle and keeps the digits of small components.

    Args:
        R: float64 [3, 3], orthonormal, determinant +1.

    Returns:
        float64 [4], of length 1.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(R, dtype=np.longdouble)
    symmetric = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    products = symmetric + np.eye(4)
    largest = int(np.argmax(np.diag(products)))
    found = products[largest] / np.sqrt(products[largest, largest])
    found /= np.sqrt((found * found).sum())
    return np.asarray(-found if found[0] < 0 else found, dtype=np.float64)


def nearest_rotation(R: np.ndarray, where: object) -> np.ndarray:
    """Return the rotation nearest to a matrix that is one up to rounding.

    Args:
        R: float64 [3, 3], within 1e-3 of orthonormal in every entry.
        where: File and record, for the error.

    Returns:
        float64 [3, 3], orthonormal to rounding, determinant +1.

    Raises:
        CameraError: The matrix is not finite, mirrors, scales, or is not near a rotation.
    """
    R = np.asarray(R, dtype=np.float64)
    _check_finite(R, where)
    if np.abs(R).max() > _ABSURD:
        raise CameraError(
            f"the rotation matrix has entries as large as {np.abs(R).max():.3g}",
            where=where,
            advice="check that it is the world-to-camera matrix and export it again",
        )
    left, scales, right = np.linalg.svd(R)
    if np.linalg.det(R) < 0:
        raise CameraError(
            "the rotation matrix mirrors (determinant below 0)",
            where=where,
            advice="one axis is flipped: write OpenCV axes, x right, y down, z forward",
        )
    nearest = left @ right
    deviation = float(np.abs(R - nearest).max())
    if deviation < _EXACT:
        return R  # what was written from a rotation is read as the same rotation, bit for bit
    if deviation > ROTATION_TOLERANCE:
        if 0 < scales.max() < (1 + ROTATION_TOLERANCE) * scales.min():
            raise CameraError(
                f"the rotation matrix scales by {scales.mean():.6g}",
                where=where,
                advice="divide rotation and translation by that factor and export again",
            )
        raise CameraError(
            f"the rotation matrix is {deviation:.3g} away from orthonormal, "
            f"allowed is {ROTATION_TOLERANCE:g}",
            where=where,
            advice="check that it is the world-to-camera matrix and export it again",
        )
    return nearest


def _check_finite(rotation: np.ndarray, where: object) -> None:
    if not np.isfinite(rotation).all():
        raise CameraError(
            "the rotation has NaN or infinite numbers",
            where=where,
            advice="take this photo out of the model and export it again",
        )

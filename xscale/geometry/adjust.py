"""Small changes of a camera: turned, moved, its focal length and principal point shifted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xscale.geometry.camera import Camera

POSE = 6
NUMBERS = 9
"""Numbers of an adjustment: 0-2 turn about the camera's axes (radians), 3-5 shift along them (world
units), 6 logarithm of the focal length's factor, 7-8 shift of the principal point as shares of the
picture's width and height. They hold at every size of the picture and in every frame that is a
shift of the world's."""


def adjusted(camera: Camera, numbers: np.ndarray) -> Camera:
    """Return a camera changed by an adjustment, float64 [NUMBERS]; zeros leave it as it is.

    The camera turns about its centre, R' = exp([turn]) R, and the centre moves along the axes of
    the camera as it was.
    """
    numbers = np.asarray(numbers, np.float64)
    if not numbers.any():
        return camera
    R = rotation(numbers[:3]) @ camera.R
    centre = camera.position + camera.R.T @ numbers[3:6]
    K = np.array(camera.K)
    K[:2, :2] *= np.exp(numbers[6])
    K[:2, 2] += numbers[7:9] * (camera.width, camera.height)
    return replace(camera, R=R, t=-R @ centre, K=K)


def rotation(turn: np.ndarray) -> np.ndarray:
    """Return the rotation matrix [3, 3] of a rotation vector [3] in radians (Rodrigues)."""
    angle = float(np.linalg.norm(turn))
    across = cross_matrix(turn)
    if angle < 1e-8:
        return np.eye(3) + across
    flat = (1 - np.cos(angle)) / angle**2
    return np.eye(3) + np.sin(angle) / angle * across + flat * across @ across


def cross_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the matrix [3, 3] that takes x to the cross product of a vector [3] and x."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])

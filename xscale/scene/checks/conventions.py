"""Conventions of a camera's matrix: its direction, and where its axes point."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from xscale.geometry.frames import OPENCV_FROM_OPENGL

Convention = Literal[
    "world-to-camera",
    "world-to-camera-opengl",
    "camera-to-world",
    "camera-to-world-opengl",
    "world-to-camera-centre",
]
"""OpenCV's axes (x right, y down, z forward) unless OpenGL's (x right, y up, z backwards) are
named."""

PoseConvention = Literal["layout", Convention]
"""``layout`` is what the files' makers document."""

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
WORDS: dict[Convention, str] = {
    "world-to-camera": "going from world to camera",
    "world-to-camera-opengl": "OpenGL's, with y up and z backwards",
    "camera-to-world": "going from camera to world",
    "camera-to-world-opengl": "going from camera to world, with y up and z backwards",
    "world-to-camera-centre": "rotations from world to camera, with the cameras' centres",
}

_Pose = tuple[np.ndarray, np.ndarray]


def reread(R: np.ndarray, t: np.ndarray, own: Convention, meant: Convention) -> _Pose:
    """Return the pose that a file's matrix has when it means something else.

    Args:
        R: float64 [3, 3], camera from world, as it was read.
        t: float64 [3].
        own: The convention by which it was read.
        meant: The convention that it follows.
    """
    if own == meant:
        return R, t
    return _pose(*_matrix(R, t, own), meant)


def _matrix(R: np.ndarray, t: np.ndarray, convention: Convention) -> _Pose:
    """Return what a file holds of a pose."""
    flip = OPENCV_FROM_OPENGL if convention.endswith("opengl") else np.eye(3)
    if convention == "world-to-camera-centre":
        return R, -R.T @ t
    if convention.startswith("world"):
        return flip @ R, flip @ t
    return R.T @ flip, -R.T @ t


def _pose(A: np.ndarray, b: np.ndarray, convention: Convention) -> _Pose:
    """Return the pose that a file's rotation and translation stand for."""
    flip = OPENCV_FROM_OPENGL if convention.endswith("opengl") else np.eye(3)
    if convention == "world-to-camera-centre":
        return A, -A @ b
    if convention.startswith("world"):
        return flip @ A, flip @ b
    return flip @ A.T, -flip @ A.T @ b

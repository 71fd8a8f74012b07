"""An adjustment is the same change of a camera at every size and in every frame."""

from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.geometry.adjust import NUMBERS, adjusted, rotation
from xscale.geometry.camera import Camera

CHANGE = np.array([0.01, -0.02, 0.015, 0.03, -0.05, 0.02, 0.01, 0.004, -0.003])


@pytest.fixture
def camera():
    R, t = builders.look_at((0.4, -0.7, 3.0), (0.1, 0.2, 0.0))
    K = np.array([[95.0, 0.3, 49.0], [0, 88.0, 36.5], [0, 0, 1]])
    return Camera("OPENCV", 112, 64, K, R, t, [-0.1, 0.02, 0.001, -0.002])


def _same(one, two):
    for name in ("K", "R", "t"):
        assert np.allclose(getattr(one, name), getattr(two, name), rtol=1e-12, atol=1e-12), name


def test_zeros_leave_a_camera_as_it_is(camera):
    assert adjusted(camera, np.zeros(NUMBERS)) is camera


def test_an_adjustment_is_the_same_in_another_frame_and_at_another_size(camera):
    origin = np.array([500.0, -80.0, 3.0])
    _same(adjusted(camera, CHANGE).recentred(origin), adjusted(camera.recentred(origin), CHANGE))
    _same(adjusted(camera, CHANGE).scaled(56, 32), adjusted(camera.scaled(56, 32), CHANGE))


def test_turn_keeps_the_centre_and_shift_goes_along_the_cameras_axes(camera):
    turned = adjusted(camera, np.r_[0.1, 0.2, -0.1, np.zeros(6)])
    assert np.allclose(turned.position, camera.position)
    assert np.allclose(turned.R @ turned.R.T, np.eye(3))
    # What lay straight ahead of a camera that turned right by an angle lies left by its tangent.
    right = adjusted(replace(camera, distortion=np.zeros(4)), np.r_[0, -0.1, 0, np.zeros(6)])
    ahead = camera.position + camera.R.T @ [0, 0, 2.0]
    pixel, _ = right.project(ahead[None])
    assert pixel[0, 0] == pytest.approx(camera.cx - camera.fx * np.tan(0.1))
    shifted = adjusted(camera, np.r_[np.zeros(3), 0, 0, 0.5, np.zeros(3)])
    assert np.allclose(shifted.position - camera.position, 0.5 * camera.R[2])


def test_rotation_is_right_handed_and_smooth_at_zero():
    assert np.allclose(rotation(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0])
    small = np.array([3e-9, -2e-9, 1e-9])
    assert np.allclose(rotation(small), rotation(small * 10) ** 1.0, atol=1e-7)

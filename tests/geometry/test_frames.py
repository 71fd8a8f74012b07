import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError
from xscale.geometry.frames import nearest_rotation, rotation_from_quaternion


def test_quarter_turn_about_z_takes_x_to_y():
    R, loud = rotation_from_quaternion(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]), "f")
    np.testing.assert_allclose(R @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    assert not loud


def test_quaternion_round_trip_of_random_rotations(rng):
    for _ in range(20):
        q = rng.normal(size=4)
        q /= np.linalg.norm(q)
        R, _ = rotation_from_quaternion(q, "f")
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)
        assert np.linalg.det(R) == pytest.approx(1)
        np.testing.assert_allclose(abs(builders.quaternion(R) @ q), 1, atol=1e-12)


@pytest.mark.parametrize(("length", "loud"), [(1.0005, False), (0.95, True), (1.09, True)])
def test_quaternion_length_near_one_is_normalised(length, loud):
    R, warned = rotation_from_quaternion(np.array([length, 0, 0, 0]), "f")
    np.testing.assert_allclose(R, np.eye(3))
    assert warned is loud


@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [1.2, 0, 0, 0], [0.3, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_quaternion_that_is_no_rotation_is_refused(bad):
    with pytest.raises(CameraError):
        rotation_from_quaternion(np.array(bad), "images.bin: image 3")


def test_rotation_with_rounding_is_made_orthonormal():
    R, _ = builders.look_at((1.0, 2, 3), (0, 0, 0))
    fixed = nearest_rotation(np.round(R, 4), "f")
    np.testing.assert_allclose(fixed @ fixed.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(fixed, R, atol=2e-4)


@pytest.mark.parametrize(
    ("R", "word"),
    [
        (np.diag([1.0, 1, -1]), "mirrors"),
        (2 * np.eye(3), "scales by 2"),
        (np.eye(3) + 0.01 * np.eye(3)[::-1], "orthonormal"),
        (np.full((3, 3), np.inf), "NaN or infinite"),
        (np.zeros((3, 3)), "orthonormal"),
    ],
)
def test_matrix_that_is_no_rotation_is_refused_by_its_cause(R, word):
    with pytest.raises(CameraError, match=word):
        nearest_rotation(R, "f")

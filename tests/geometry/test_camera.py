"""Cameras: conventions by hand-computed pixels, and properties of the maps."""

from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError
from xscale.geometry.camera import Camera, downscaled_size

K = np.array([[100.0, 0, 30], [0, 80, 20], [0, 0, 1]])


def _camera(**changes):
    return Camera(**{"model": "PINHOLE", "width": 70, "height": 40, "K": K, "R": np.eye(3),
                     "t": np.zeros(3), **changes})  # fmt: skip


def test_point_right_and_below_lands_right_and_below_of_the_principal_point():
    pixel, depth = _camera().project(np.array([[0.1, 0.2, 2.0]]))
    np.testing.assert_allclose(pixel, [[30 + 5, 20 + 8]])
    assert depth == [2.0]


def test_point_behind_has_no_pixel_and_negative_depth():
    pixel, depth = _camera().project(np.array([[0.0, 0, -1], [0, 0, 0]]))
    assert np.isnan(pixel).all()
    assert depth.tolist() == [-1, 0]


def test_position_is_minus_r_transposed_t():
    R, t = builders.look_at((1.0, 2, 3), (0, 0, 0))
    np.testing.assert_allclose(_camera(R=R, t=t).position, (1, 2, 3), atol=1e-12)


def test_skew_moves_u_with_normalised_y():
    skewed = np.array(K)
    skewed[0, 1] = 7
    pixel, _ = _camera(K=skewed).project(np.array([[0.0, 1, 1]]))
    np.testing.assert_allclose(pixel, [[37, 100]])


def test_rays_invert_projection_of_every_asymmetric_camera(asymmetric, rng):
    for camera in asymmetric.cameras.values():
        skewed = np.array(camera.K)
        skewed[0, 1] = 3.5
        camera = replace(camera, K=skewed)
        pixel = rng.uniform((-20, -20), (140, 90), (50, 2))
        rays = camera.rays(pixel)
        np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-12)
        back, depth = camera.project(camera.position + 3.0 * rays)
        assert (depth > 0).all()
        np.testing.assert_allclose(back, pixel, atol=1e-9)


def test_recentring_camera_and_points_together_changes_no_pixel(asymmetric, rng):
    camera = asymmetric.cameras["view_02.png"]
    origin = np.array([5e6, -3e6, 120.0])
    far = asymmetric.moved(origin).cameras["view_02.png"]
    points = rng.uniform(-1, 1, (40, 3))
    before, _ = camera.project(points)
    after, _ = far.recentred(origin).project(points)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_scaling_keeps_the_same_place_of_the_picture(rng):
    camera, points = _camera(), rng.uniform((-1, -1, 2), (1, 1, 3), (20, 3))
    before, _ = camera.project(points)
    after, _ = camera.scaled(35, 10).project(points)
    np.testing.assert_allclose(after, before * (0.5, 0.25))


def test_downscaled_size_rounds_halves_to_even_and_never_to_zero():
    assert downscaled_size(1009, 1011, 2) == (504, 506)
    assert downscaled_size(3, 100, 8) == (1, 12)
    assert downscaled_size(11, 7, 1) == (11, 7)


def test_packed_layout_is_the_documented_one():
    R, t = builders.look_at((1.0, 2, 3), (0, 0, 0))
    packed = _camera(R=R, t=t, near=0.25).packed()
    assert packed.shape == (32,)
    assert packed.dtype == np.float64
    np.testing.assert_array_equal(packed[:9], R.reshape(-1))
    np.testing.assert_array_equal(packed[9:12], t)
    assert packed[12:20].tolist() == [100, 80, 30, 20, 0, 0.25, 0, 0]
    assert not packed[20:].any()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"t": [0, np.nan, 0]}, "NaN"),
        ({"K": np.diag([-1.0, 1, 1])}, "focal"),
        ({"t": [0, 0, 1e13]}, "units from the origin"),
        ({"width": 0}, "image size"),
        ({"model": "PINHOLLE"}, "unknown"),
        ({"model": "OPENCV", "distortion": [0.1]}, "OPENCV has 4 distortion parameters, got 1"),
        ({"model": "SIMPLE_RADIAL", "distortion": [np.inf]}, "distortion of the camera has NaN"),
    ],
)
def test_impossible_camera_is_refused(changes, word):
    with pytest.raises(CameraError, match=word):
        _camera(**changes)


def test_unsupported_model_gives_no_rays_and_names_the_way_out():
    camera = _camera(model="EUCM", distortion=np.zeros(2))
    with pytest.raises(CameraError, match=r"EUCM.*image_undistorter"):
        camera.rays(np.zeros((1, 2)))


def test_arrays_of_a_camera_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        _camera().K[0, 0] = 1

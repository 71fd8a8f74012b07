"""Lenses: COLMAP's formulas written out, inverses, domains, directions by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.lenses import DISTORTIONS, MODELS, WIDE, camera_of
from xscale.geometry.camera import Camera
from xscale.geometry.lens import Lens, Projection
from xscale.geometry.models import BY_NAME


def colmap_pixel(model, K, k, x, y, z):
    """COLMAP's documented formulas, one model after the other, for one point."""
    u, v = x / z, y / z
    r = np.hypot(u, v)
    if "FISHEYE" in model:
        theta = np.arctan2(np.hypot(x, y), z)
        u, v = theta * x / np.hypot(x, y), theta * y / np.hypot(x, y)
        r = theta
    r2 = r * r
    if model in ("SIMPLE_RADIAL", "SIMPLE_RADIAL_FISHEYE"):
        du, dv = u * k[0] * r2, v * k[0] * r2
    elif model in ("RADIAL", "RADIAL_FISHEYE"):
        du, dv = (c * (k[0] * r2 + k[1] * r2**2) for c in (u, v))
    elif model == "OPENCV":
        radial = k[0] * r2 + k[1] * r2**2
        du = u * radial + 2 * k[2] * u * v + k[3] * (r2 + 2 * u * u)
        dv = v * radial + 2 * k[3] * u * v + k[2] * (r2 + 2 * v * v)
    elif model == "FULL_OPENCV":
        k1, k2, p1, p2, k3, k4, k5, k6 = k
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u) - u
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v) - v
    elif model == "OPENCV_FISHEYE":
        radial = k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + k[3] * r2**4
        du, dv = u * radial, v * radial
    elif model == "BROWN":
        k1, k2, p1, p2, k3, k4 = k
        radial = k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v)
    elif model == "METASHAPE":
        k1, k2, p1, p2, k3, k4, p3, p4 = k
        radial = k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
        more = 1 + p3 * r2 + p4 * r2**2
        du = u * radial + (2 * p1 * u * v + p2 * (r2 + 2 * u * u)) * more
        dv = v * radial + (2 * p2 * u * v + p1 * (r2 + 2 * v * v)) * more
    elif model == "FOV":
        factor = np.arctan(r * 2 * np.tan(k[0] / 2)) / (r * k[0])
        du, dv = u * factor - u, v * factor - v
    elif model == "THIN_PRISM_FISHEYE":
        k1, k2, p1, p2, k3, k4, sx1, sy1 = k
        radial = k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u) + sx1 * r2
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v) + sy1 * r2
    elif model == "EQUIRECTANGULAR":
        u, v, du, dv = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z)), 0, 0
    else:
        du, dv = 0, 0
    return K[0, 0] * (u + du) + K[0, 2], K[1, 1] * (v + dv) + K[1, 2]


@pytest.mark.parametrize("model", MODELS)
def test_projection_is_colmaps_formula(model, rng):
    camera = camera_of(model)
    points = rng.uniform((-1, -1, 1.2), (1, 1, 3), (200, 3))
    if model in WIDE:
        points[:, 2] = rng.uniform(-0.5, 2, 200)
    pixel, _ = camera.project(points)
    seen = ~np.isnan(pixel[:, 0])
    assert seen.mean() > 0.9
    wanted = [colmap_pixel(model, camera.K, DISTORTIONS[model], *p) for p in points[seen]]
    np.testing.assert_allclose(pixel[seen], wanted, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_rays_and_projection_undo_each_other_on_the_whole_picture(model, rng):
    camera = camera_of(model, 1310, 900)
    pixel = rng.uniform((0, 0), (1310, 900), (5000, 2))
    rays = camera.rays(pixel)
    seen = ~np.isnan(rays[:, 0])
    assert seen.mean() > 0.85
    np.testing.assert_allclose(np.linalg.norm(rays[seen], axis=1), 1, atol=1e-12)
    back, _ = camera.project(3.0 * rays[seen])
    np.testing.assert_allclose(back, pixel[seen], atol=1e-9)
    # And from the other side: what is seen within the picture is found again.
    points = rays[seen] * rng.uniform(0.1, 50, (seen.sum(), 1))
    np.testing.assert_allclose(camera.rays(camera.project(points)[0]), rays[seen], atol=1e-12)


def test_a_pixel_where_the_polynomial_has_turned_back_has_no_ray():
    camera = Camera("SIMPLE_RADIAL", 400, 400, [[100, 0, 200], [0, 100, 200], [0, 0, 1]],
                    np.eye(3), np.zeros(3), [-0.3])  # fmt: skip
    # r (1 - 0.3 r^2) is largest at r = sqrt(1 / 0.9), where it is 0.7027.
    turn = (1 / 0.9) ** 0.5
    far = 100 * turn * (1 - 0.3 * turn**2)
    rays = camera.rays(np.array([[200 + far - 0.01, 200], [200 + far + 0.01, 200]]))
    assert rays[0, 0] / rays[0, 2] < turn
    assert np.isnan(rays[1]).all()
    # The point that would come back into the picture on the far side of the turn is not seen.
    pixel, depth = camera.project(np.array([[turn * 1.01, 0, 1], [turn * 0.99, 0, 1]]))
    assert np.isnan(pixel[0]).all()
    assert not np.isnan(pixel[1]).any()
    assert depth.tolist() == [1, 1]


def test_rational_lens_ends_before_its_pole():
    lens = BY_NAME["FULL_OPENCV"].lens([0.5, 0, 0, 0, 0, -0.25, 0, 0])
    assert lens.domain == pytest.approx(2.0, rel=1e-6)


def test_fisheye_sees_behind_the_camera_and_depth_is_the_distance():
    camera = replace(camera_of("RADIAL_FISHEYE"), distortion=[0.0, 0.0])
    pixel = np.array([[66.3 + 42 * 2.0, 44.8]])
    rays = camera.rays(pixel)
    np.testing.assert_allclose(rays, [[np.sin(2.0), 0, np.cos(2.0)]], atol=1e-12)
    assert rays[0, 2] < 0
    back, depth = camera.project(5 * rays)
    np.testing.assert_allclose(back, pixel, atol=1e-9)
    np.testing.assert_allclose(depth, 5)
    assert np.isnan(camera.rays(np.array([[66.3 + 42 * 3.2, 44.8]]))).all()


def test_equirectangular_directions_by_hand():
    camera = camera_of("EQUIRECTANGULAR", 360, 180)
    pixel = np.array([[180, 90], [270, 90], [90, 90], [180, 135], [0.0, 90]])
    half = 0.5**0.5
    wanted = [[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, half, half], [0, 0, -1]]
    np.testing.assert_allclose(camera.rays(pixel), wanted, atol=1e-12)
    back, depth = camera.project(np.array([[2.0, 0, 0], [0, 3, 0.0]]))
    np.testing.assert_allclose(back, [[270, 90], [180, 180]], atol=1e-9)
    assert depth.tolist() == [2, 3]


def test_zero_distortion_is_a_pinhole_to_the_kernels():
    lens = BY_NAME["OPENCV"].lens(np.zeros(4))
    assert lens.projection is Projection.PINHOLE
    assert BY_NAME["OPENCV_FISHEYE"].lens(np.zeros(4)).projection is Projection.FISHEYE


def test_every_documented_model_is_supported():
    assert {name for name, model in BY_NAME.items() if model.supported} == set(MODELS)


def test_domain_of_a_monotone_lens_is_the_whole_half_space():
    assert Lens(Projection.PERSPECTIVE, np.array([0.1, *[0.0] * 10])).domain == 1e3

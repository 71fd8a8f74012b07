"""Paths are smooth, pass through what they should, and look where they should."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.errors import UsageError
from xscale.geometry import trajectory
from xscale.geometry.camera import Camera
from xscale.geometry.curve import Curve

pytest.importorskip("scipy")
UP = np.array([0.0, 0, 1])


@pytest.fixture(scope="module")
def keys(asymmetric):
    cameras = [c for name, c in asymmetric.cameras.items() if name != "view_01.png"]
    # The field of view changes along the way too.
    return [replace(c, K=c.K * [[1 + k / 4], [1 + k / 4], [1]]) for k, c in enumerate(cameras)]


def _angle(a, b):
    return np.arccos(np.clip((np.trace(a.R @ b.R.T) - 1) / 2, -1, 1))


def test_interpolation_begins_and_ends_with_its_keys_and_passes_the_others(keys):
    path = trajectory.interpolate(keys, 2001)
    for key, camera in ((keys[0], path[0]), (keys[-1], path[-1])):
        np.testing.assert_allclose(camera.position, key.position, atol=1e-9)
        np.testing.assert_allclose(camera.R, key.R, atol=1e-9)
        np.testing.assert_allclose(camera.K, key.K, rtol=1e-9)
    places = np.stack([camera.position for camera in path])
    for key in keys:
        nearest = path[np.linalg.norm(places - key.position, axis=1).argmin()]
        assert np.linalg.norm(nearest.position - key.position) < 3e-3
        assert _angle(nearest, key) < 3e-3
        assert abs(np.log(nearest.fx / key.fx)) < 3e-3


@pytest.mark.parametrize("closed", [False, True])
def test_interpolation_jumps_neither_in_speed_nor_in_turning_nor_in_lens(keys, closed):
    frames = 600
    path = trajectory.interpolate(keys, frames, closed)
    if closed:
        path = [*path, *path[:3]]
    places = np.stack([camera.position for camera in path])
    speed = np.diff(places, axis=0)
    turned = [_angle(a, b) for a, b in itertools.pairwise(path)]
    lens = np.diff([np.log(camera.fx) for camera in path])
    # A corner of the path would show as a change of velocity as large as the velocity itself.
    assert (
        np.linalg.norm(np.diff(speed, axis=0), axis=1).max()
        < 0.08 * np.linalg.norm(speed, axis=1).max()
    )
    assert np.abs(np.diff(turned)).max() < 0.08 * max(turned)
    assert np.abs(np.diff(lens)).max() < 0.1 * np.abs(lens).max()
    pace = np.linalg.norm(speed, axis=1) / np.mean(
        [np.linalg.norm(a.position - b.position) for a, b in itertools.pairwise(keys)]
    ) + np.array(turned)
    assert pace.max() < 1.6 * pace.min()


@pytest.mark.parametrize("closed", [False, True])
def test_a_curve_knows_where_its_keys_lie(keys, closed):
    curve = Curve(keys, closed)
    ring = [*keys, keys[0]] if closed else keys
    assert (np.diff(curve.at_keys) > 0).all()
    for key, camera in zip(ring, curve.cameras(curve.at_keys), strict=True):
        np.testing.assert_allclose(camera.position, key.position, atol=1e-9)
        np.testing.assert_allclose(camera.R, key.R, atol=1e-7)
        np.testing.assert_allclose(camera.K, key.K, rtol=1e-9)


def test_a_pace_reaches_keys_at_their_times(keys):
    curve = Curve(keys)
    times = np.array([0, 0.2, 3, 3.5, 9, 10.0])[: len(keys)]
    np.testing.assert_allclose(curve.paced(times, times), curve.at_keys, atol=1e-9)
    gentle = curve.paced(times, np.linspace(0, times[-1], 101), ease=True)
    assert (np.diff(gentle) > 0).all()
    assert (gentle[0], gentle[-1]) == (0, pytest.approx(curve.length))


def test_orbit_keeps_its_distance_and_its_target_in_the_middle(keys):
    centre = np.array([0.2, 0.1, 0])
    path = trajectory.orbit(keys[0], centre, UP, 48, radius=3.0, height=1.5)
    steps = [np.linalg.norm(a.position - b.position) for a, b in itertools.pairwise(path)]
    # A full circle closes without repeating its first frame.
    steps.append(np.linalg.norm(path[-1].position - path[0].position))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    for camera in path:
        np.testing.assert_allclose(np.hypot(*(camera.position - centre)[:2]), 3.0)
        pixel, depth = camera.project(centre[None])
        np.testing.assert_allclose(pixel[0], (camera.cx, camera.cy), atol=1e-9)
        assert depth[0] == pytest.approx(np.hypot(3, 1.5))
        assert camera.R[1] @ UP < 0  # the picture's lower edge is below


def test_spiral_stays_in_its_size(keys):
    path = trajectory.spiral(keys[0], np.zeros(3), UP, 40, (0.3, 0.2, 0.1))
    moved = np.stack([keys[0].R @ (camera.position - keys[0].position) for camera in path])
    np.testing.assert_allclose(np.abs(moved).max(0), (0.3, 0.2, 0.1), rtol=0.02)
    assert all(abs(c.project(np.zeros((1, 3)))[0][0, 0] - c.cx) < 1e-9 for c in path)


def test_zoom_comes_nearer_by_a_factor_and_centres_its_target(keys):
    target = np.array([0.4, -0.3, 0])
    path = trajectory.zoom(keys[0], target, UP, 101, closest=0.02)
    distance = np.array([np.linalg.norm(camera.position - target) for camera in path])
    np.testing.assert_allclose(path[0].R, keys[0].R, atol=1e-12)
    assert distance[-1] == pytest.approx(0.02)
    assert (np.diff(distance) < 0).all()
    middle = distance[50] / distance[0]
    assert middle == pytest.approx(np.sqrt(0.02 / distance[0]))
    pixel, _ = path[-1].project(target[None])
    np.testing.assert_allclose(pixel[0], (keys[0].cx, keys[0].cy), atol=1e-6)


def test_another_size_keeps_the_vertical_field_of_view(keys):
    wide = trajectory.resized(keys[0], 300, 128)
    assert wide.fy / wide.height == pytest.approx(keys[0].fy / keys[0].height)
    assert wide.fx / wide.fy == pytest.approx(keys[0].fx / keys[0].fy)
    point = keys[0].position + 2 * keys[0].R[2] + 0.3 * keys[0].R[0]
    before, after = (c.project(point[None])[0][0] for c in (keys[0], wide))
    assert after[0] - 150 == pytest.approx(2 * (before[0] - 56))
    assert after[1] == pytest.approx(2 * before[1])


def test_impossible_paths_are_refused(keys):
    with pytest.raises(UsageError, match="two key cameras"):
        trajectory.interpolate(keys[:1], 10)
    with pytest.raises(UsageError, match="two frames"):
        trajectory.orbit(keys[0], np.zeros(3), UP, 1)
    with pytest.raises(UsageError, match="above 0"):
        trajectory.zoom(keys[0], np.zeros(3), UP, 5, closest=0)


def test_look_at_agrees_with_the_builders():
    R, _ = builders.look_at((1, 2, 3), (0.5, 0, 0), (0, 0, -1))
    np.testing.assert_allclose(trajectory.look_at(np.array([1, 2, 3]), (0.5, 0, 0), UP), R)
    down = trajectory.look_at(np.array([0, 0, 5.0]), np.zeros(3), UP)
    np.testing.assert_allclose(down @ down.T, np.eye(3), atol=1e-12)


def test_an_orbit_of_rings_takes_the_outermost_ring():
    up = np.array([0.0, 0, 1])
    rings = []
    for radius, height, count in ((0.1, 0.05, 12), (1.0, 0.5, 12), (8.0, 3.0, 12)):
        for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
            place = (radius * np.cos(angle), radius * np.sin(angle), height)
            R, t = builders.look_at(place, (0, 0, 0))
            rings.append(Camera("PINHOLE", 64, 64, np.diag([50.0, 50, 1]), R, t))
    assert trajectory.outer_arm(rings, np.zeros(3), up) == pytest.approx((8.0, 3.0))
    assert trajectory.outer_arm(rings[12:24], np.zeros(3), up) == pytest.approx((1.0, 0.5))

"""Navigation holds the surface point under the cursor, and never loses the user."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from xscale_viewer import navigation
from xscale_viewer.history import History
from xscale_viewer.navigation import View, look_at

UP = np.array([0.0, 0, 1])
SIZE = (640, 480)


def view() -> View:
    return look_at(np.array([3.0, -7.0, 2.5]), np.array([0.2, 0.1, 0.4]), UP, 55.0)


def pixel(v: View, point: np.ndarray) -> np.ndarray:
    return v.camera(*SIZE).project(point[None])[0][0]


@pytest.mark.parametrize(("yaw", "pitch"), [(0.4, 0.0), (0.0, 0.3), (-1.2, -0.2), (3.0, 0.1)])
def test_orbit_keeps_the_pivot_at_its_pixel_and_distance(yaw, pitch):
    v, pivot = view(), np.array([0.9, -0.4, 0.8])
    after = navigation.orbit(v, pivot, yaw, pitch, UP)
    assert np.allclose(pixel(after, pivot), pixel(v, pivot), atol=1e-6)
    assert np.isclose(np.linalg.norm(after.position - pivot), np.linalg.norm(v.position - pivot))


def test_orbit_to_the_right_moves_the_eye_to_the_left():
    v, pivot = view(), np.array([0.2, 0.1, 0.4])
    after = navigation.orbit(v, pivot, 0.3, 0.0, UP)
    assert (after.position - v.position) @ v.R[0] < 0


def test_orbit_keeps_the_horizon_and_stops_at_the_pole():
    v, pivot = view(), np.zeros(3)
    for _ in range(100):
        v = navigation.orbit(v, pivot, 0.05, 0.1, UP)
    assert abs(v.R[0] @ UP) < 1e-9
    assert v.R[1] @ UP < 0  # never upside down


def test_pan_keeps_the_point_under_the_cursor():
    v, point = view(), np.array([0.9, -0.4, 0.8])
    after = navigation.pan(v, point, (37.0, -21.0), SIZE[1])
    assert np.allclose(pixel(after, point), pixel(v, point) + np.array([37, -21]), atol=1e-6)


def test_dolly_keeps_the_point_at_its_pixel_and_never_passes_it():
    v, point = view(), np.array([0.9, -0.4, 0.8])
    for _ in range(60):
        v = navigation.dolly(v, point, 0.7, margin=0.01)
        assert np.allclose(pixel(v, point), pixel(view(), point), atol=1e-4)
    assert np.isclose(np.linalg.norm(v.position - point), 0.01)


def test_orthographic_view_keeps_the_size_of_what_it_looks_at():
    v, point = view(), np.array([0.2, 0.1, 0.4])
    flat = navigation.toggled_parallel(v, point)
    assert flat.parallel is not None
    beside = point + 0.1 * v.R[0]
    wide = np.linalg.norm(pixel(flat, beside) - pixel(flat, point))
    assert np.isclose(wide, np.linalg.norm(pixel(v, beside) - pixel(v, point)), rtol=0.01)
    # Parallel lines stay parallel: depth changes the size by well under a percent.
    behind = point + 2 * v.forward
    deep = np.linalg.norm(pixel(flat, behind + 0.1 * v.R[0]) - pixel(flat, behind))
    assert np.isclose(deep, wide, rtol=0.01)
    back = navigation.toggled_parallel(flat, point)
    assert np.allclose(back.position, v.position, atol=1e-9)


@pytest.mark.parametrize("name", navigation.AXES)
@pytest.mark.parametrize("up", [(0, 0, 1), (0, -1, 0), (0.1, 0.2, 0.97)])
def test_axis_views_show_the_whole_box(name, up):
    up = np.array(up, float) / np.linalg.norm(up)
    low, high = np.array([-1.0, 2, 3]), np.array([4.0, 5, 9])
    v = navigation.axis_view(view(), name, low, high, up)
    assert navigation.is_usable(v)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    at, depth = v.camera(600, 600).project(corners)
    assert (depth > 0).all()
    assert (at >= 0).all()
    assert (at <= 600).all()
    along = {"top": -1, "bottom": 1}.get(name, 0)
    assert np.isclose(v.forward @ up, along, atol=1e-9)


def test_level_takes_the_roll_out_and_keeps_the_direction():
    rolled = navigation.from_angles(view(), 30, 10, 25, UP)
    flat = navigation.level(rolled, UP)
    assert np.allclose(flat.forward, rolled.forward)
    assert abs(flat.R[0] @ UP) < 1e-12


@pytest.mark.parametrize("numbers", [(30, 10, 25), (-170, -60, -5), (0, 0, 0), (90, 45, 179)])
def test_angles_come_back_as_they_were_given(numbers):
    assert np.allclose(navigation.angles(navigation.from_angles(view(), *numbers, UP), UP), numbers)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_angles_that_are_not_finite_give_no_usable_view(bad):
    for place in range(3):
        numbers = [0.0, 0.0, 0.0]
        numbers[place] = bad
        assert not navigation.is_usable(navigation.from_angles(view(), *numbers, UP))


def test_a_wider_orthographic_view_shows_more():
    seen = view()
    flat = navigation.toggled_parallel(seen, seen.position + 3 * seen.forward)
    assert navigation.zoomed(flat, 5).parallel > flat.parallel > 0
    assert navigation.zoomed(flat, 5).fov == flat.fov


def test_speed_follows_the_distance_from_kilometres_to_millimetres():
    speeds = [navigation.speed(clear, 2000.0) for clear in (1000.0, 1.0, 0.005)]
    assert np.allclose(np.divide(speeds, (1000.0, 1.0, 0.005)), speeds[0] / 1000)
    assert np.isfinite(navigation.speed(float("inf"), 2000.0))


def test_a_step_ends_before_the_surface():
    step = np.array([0.0, 5, 0])
    assert np.allclose(navigation.stopped(step, 2.0, 0.5), (0, 1.5, 0))
    assert np.allclose(navigation.stopped(step, 9.0, 0.5), step)
    assert np.allclose(navigation.stopped(step, 0.2, 0.5), 0)


@pytest.mark.parametrize("position", [(np.nan, 0, 0), (np.inf, 0, 0), (1e300, 0, 0)])
def test_views_that_make_no_sense_are_known(position):
    v = view()
    assert navigation.is_usable(v)
    assert not navigation.is_usable(View(np.array(position), v.R, v.fov))
    assert not navigation.is_usable(View(v.position, np.zeros((3, 3)), v.fov))
    assert not navigation.is_usable(View(v.position, v.R, 0.0))


def test_up_is_the_photos_own_or_an_axis_near_it(asymmetric):
    cameras = [look_at(np.array([5.0, k, 1]), np.zeros(3), UP).camera(*SIZE) for k in range(4)]
    assert np.array_equal(navigation.up_of(cameras), UP)
    down = -UP
    over = [look_at(np.array([5.0, k, 1]), np.zeros(3), down).camera(*SIZE) for k in range(4)]
    assert np.array_equal(navigation.up_of(over), down)
    assert np.array_equal(navigation.up_of([]), UP)


def test_undo_and_redo_walk_through_the_views():
    history, views = History(), [view() for _ in range(4)]
    for v in views[:3]:
        history.push(v)
    assert history.undo() is views[1]
    assert history.undo() is views[0]
    assert history.undo() is None
    assert history.redo() is views[1]
    history.push(views[3])
    assert history.redo() is None
    assert history.undo() is views[1]


def test_lines_of_sight_of_an_orthographic_view_are_parallel():
    flat = look_at(np.array([0.0, -8, 2]), np.array([0.0, 0, 2]), UP)
    flat = View(flat.position, flat.R, parallel=4.0)
    camera = flat.camera(1280, 720)
    # Points of a line along the sight, a picture's height apart in depth, at the picture's corner.
    near = flat.position + flat.R[0] * 3.5 - flat.R[1] * 1.9
    pixels, _ = camera.project(np.array([near, near + flat.forward * 4.0]))
    assert np.linalg.norm(pixels[1] - pixels[0]) < 0.25
    # A length across the sight has its size in pixels: 720 rows show 4 units.
    ends, _ = camera.project(np.array([flat.position, flat.position + flat.R[0]]))
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(180, abs=1e-3)


def flight(spread, forward=(0, 0, 1), count=20):
    """Cameras that all look along one direction, from places spread (across, aside) around it."""
    rng = np.random.default_rng(2)
    places = rng.uniform(-1, 1, (count, 2)) * spread
    forward = np.array(forward, float)
    side = np.array([1.0, 0, 0])
    other = np.cross(forward, side)
    return [
        look_at(-10 * forward + a * side + b * other, a * side + b * other, -other).camera(80, 60)
        for a, b in places
    ]


def test_of_a_flight_over_ground_up_is_where_the_photos_were_taken():
    middle = np.zeros(3)
    for forward in ((0, 0, 1), (0, 0, -1), (0, 1, 0)):
        up = navigation.up_of(flight((6, 5), forward), middle)
        assert np.allclose(up, -np.array(forward, float))
    # A row of photos may be those of a wall; so may a few from one place.
    for spread in ((6, 0.2), (0.5, 0.5)):
        cameras = flight(spread)
        assert np.allclose(navigation.up_of(cameras, middle), navigation.up_of(cameras))
    assert navigation.up_of(flight((6, 5), (0, 1, 0)), middle, z_is_up=True).tolist() == [0, 0, 1]

"""A camera path passes its keys at their times, smoothly, and comes back from its file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")
pytest.importorskip("scipy")

from xscale.errors import InputError
from xscale.render.camera_path import (
    CameraPath,
    KeyCamera,
    NamedCamera,
    camera_path_document,
    parse_camera_path,
)
from xscale_viewer.navigation import look_at
from xscale_viewer.track import STEP, Track

UP = np.array([0.0, 0, 1])
PLACES = ((-3.0, -3, 1), (0, -4, 1.5), (3, -3, 1), (3.5, 0, 2))


@pytest.fixture
def track():
    found = Track(near=0.01)
    found.size = (96, 64)
    for number, place in enumerate(PLACES):
        found.add(look_at(np.array(place), np.zeros(3), UP, 40.0 + 5 * number))
    return found


def _angle(a, b):
    return float(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1)))


def test_the_path_passes_each_key_at_its_time(track):
    track.set_time(1, 1.0)  # 0, 1, 4, 6 seconds
    frames = track.frames()
    assert len(frames) == round(6 * track.fps) + 1
    for key in track.keys:
        camera = frames[track.frame_at(key.seconds)]
        assert np.allclose(camera.position, key.view.position, atol=1e-9)
        assert _angle(camera.R, key.view.R) < 1e-6
        assert camera.fy == pytest.approx(track.camera_of(key).fy)
        assert (camera.width, camera.height, camera.near) == (96, 64, 0.01)


def test_neither_place_nor_turning_nor_lens_stops_or_jumps_at_a_key(track):
    track.set_time(1, 0.7)
    track.fps = 100.0
    frames = track.frames()
    speed = np.linalg.norm(np.diff([c.position for c in frames], axis=0), axis=1)
    turn = np.array([_angle(a.R, b.R) for a, b in pairwise(frames)])
    zoom = np.diff([np.log(c.fy) for c in frames])
    for key in track.keys[1:-1]:
        at = track.frame_at(key.seconds)
        assert speed[at - 3 : at + 3].min() > 0.3 * np.median(speed)
        assert turn[at - 3 : at + 3].min() > 0.3 * np.median(turn)
    for rate in (speed, turn, zoom):
        assert np.abs(np.diff(rate)).max() < 0.1 * np.abs(rate).max()


def test_gentle_ends_are_off_by_default_and_begin_from_rest(track):
    assert not track.ease
    plain = np.array([c.position for c in track.frames()])
    track.ease = True
    gentle = np.array([c.position for c in track.frames()])
    first = [np.linalg.norm(way[1] - way[0]) for way in (plain, gentle)]
    last = [np.linalg.norm(way[-1] - way[-2]) for way in (plain, gentle)]
    assert first[1] < 0.1 * first[0]
    assert last[1] < 0.1 * last[0]
    assert np.allclose(gentle[[0, -1]], plain[[0, -1]])


def test_the_same_pace_everywhere_moves_keys_in_time_only(track):
    before = [key.view for key in track.keys]
    track.set_time(1, 0.5)
    track.even()
    assert [key.view for key in track.keys] == before
    assert track.duration == pytest.approx(3 * STEP)
    frames = track.frames()
    ways = np.linalg.norm(np.diff([c.position for c in frames], axis=0), axis=1)
    turns = np.array([_angle(a.R, b.R) for a, b in pairwise(frames)])
    scale = np.mean(np.linalg.norm(np.diff(PLACES, axis=0), axis=1))
    pace = ways / scale + turns
    assert pace.max() < 1.1 * pace.min()


def test_a_view_added_inside_the_path_goes_between_its_keys(track):
    view = look_at(np.array([1.5, -3.8, 1.2]), np.zeros(3), UP)
    track.seconds = 3.0
    assert track.add(view) == 2
    assert [key.seconds for key in track.keys] == [0, 2, 3, 4, 6]
    again = look_at(np.array([1.5, -3.7, 1.2]), np.zeros(3), UP)
    assert track.add(again) == 2  # on a key: it takes its place
    assert track.keys[2].view is again
    assert len(track.keys) == 5


def test_keys_stay_in_order_and_the_first_at_the_beginning(track):
    track.set_time(2, -7.0)
    track.set_time(1, 100.0)
    track.set_time(0, 3.0)
    track.set_time(3, float("nan"))
    times = [key.seconds for key in track.keys]
    assert times[0] == 0
    assert all(b > a for a, b in pairwise(times))
    track.seconds = track.duration
    track.set_time(3, track.duration - 0.5)
    assert track.seconds == track.duration
    track.remove(0)
    assert track.keys[0].seconds == 0
    track.set_duration(5.0)
    assert track.duration == pytest.approx(5.0)
    track.set_duration(float("inf"))
    assert track.duration == pytest.approx(5.0)
    for _ in range(3):
        track.remove(0)
    assert (track.keys, track.selected, track.count, track.go(1.0)) == ([], None, 0, None)


def _document(track):
    named = tuple(NamedCamera(f"{k:05d}", c) for k, c in enumerate(track.frames()))
    keys = tuple(KeyCamera(track.camera_of(key), key.seconds) for key in track.keys)
    return camera_path_document(CameraPath(named, track.fps, keys=keys))


@pytest.mark.parametrize("ease", [False, True])
def test_a_saved_path_comes_back_with_its_keys(track, ease):
    track.set_time(1, 1.25)
    track.ease, track.fps = ease, 30.0
    read = parse_camera_path(_document(track), "test")
    assert read.warnings == ()
    again = Track()
    line = again.load(
        [named.camera for named in read.cameras],
        read.fps,
        [(k.camera, k.seconds) for k in read.keys],
    )
    assert line == "4 keys, 181 frames"
    assert (again.ease, again.fps, again.size) == (ease, 30.0, (96, 64))
    assert [k.seconds for k in again.keys] == pytest.approx([k.seconds for k in track.keys])
    for a, b in zip(again.frames(), track.frames(), strict=True):
        assert np.allclose(a.position, b.position)
        assert np.allclose(a.K, b.K)


@pytest.mark.parametrize(
    "damage",
    [
        lambda keys: keys[1].update(matrix="[1, 0, 0]"),
        lambda keys: keys[1].update(override_transition_sec=-1.0),
        lambda keys: keys[1].update(fov=200),
        lambda keys: keys.insert(1, 7),
    ],
)
def test_keys_that_make_no_sense_are_left_out_and_the_frames_stay(track, damage):
    document = _document(track)
    damage(document["keyframes"])
    read = parse_camera_path(document, "test")
    assert read.keys == ()
    assert len(read.cameras) == track.count


def test_of_a_path_without_keys_some_cameras_become_keys(track):
    cameras = track.frames()
    again = Track()
    line = again.load(cameras, 24.0, [])
    assert line == f"24 of {len(cameras)} cameras became keys"
    assert again.duration == pytest.approx(track.duration)
    for camera, other in zip(again.frames()[::7], cameras[::7], strict=True):
        assert np.linalg.norm(camera.position - other.position) < 0.02
    assert again.load(cameras[:3], 24.0, []) == "3 cameras became keys"


def test_other_frames_than_the_keys_give_are_told_of(track):
    keys = [(track.camera_of(key), key.seconds) for key in track.keys]
    frames = track.frames()
    track.set_time(1, 0.5)
    assert "other frames than the file's" in Track().load(track.frames(), 24.0, keys)
    assert "4 keys, " in Track().load(frames, 24.0, keys)


def test_a_path_of_one_key_is_not_written(track):
    from tests.viewer.fakes import FakeService, FakeSource
    from xscale_viewer.paths import PathCommands
    from xscale_viewer.session import Session

    session = Session(opener=FakeSource, make_service=FakeService)
    with pytest.raises(InputError, match="two keys"):
        PathCommands(session).document()

"""A session asks for the right pictures, survives bad input, and keeps what the user did."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from tests.viewer.fakes import UP, FakeService, FakeSource
from xscale.errors import InputError
from xscale.render.camera_path import parse_camera_path
from xscale_viewer import keys, navigation, settings, share
from xscale_viewer.commands import Commands
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion
from xscale_viewer.navigation import View
from xscale_viewer.session import REST_AFTER, Session


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XSCALE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def until(session, done):
    limit = time.monotonic() + 20
    while not done():
        session.poll()
        assert time.monotonic() < limit, session.status
        time.sleep(0.005)


@pytest.fixture
def session():
    s = Session(opener=FakeSource, make_service=FakeService)
    s.open(Path("fake"))
    until(s, lambda: s.source is not None)
    s.size = (320, 200)
    yield s
    s.close()


@pytest.fixture
def user(session):
    """Session, motion and commands, with a picture at rest."""
    motion = Motion(session)
    copied = []
    commands = Commands(
        session, motion, Inspector(session, motion), copied.append, lambda: copied[-1]
    )
    session.tick(0.0)
    session._service.answer()
    session.tick(REST_AFTER)
    session._service.answer()
    session.poll()
    return session, motion, commands, copied


def test_a_change_asks_for_a_moving_picture_and_rest_for_an_exact_one(session):
    service = session._service
    assert session.tick(0.0)
    assert session.tick(REST_AFTER / 2)
    assert not session.tick(REST_AFTER + 0.01)
    assert not session.tick(9.0)
    assert [r.moving for r in service.requests] == [True, False]
    assert [r.samples for r in service.requests] == [1, session.settings.samples]
    session.go(navigation.look(session.view, 0.1, 0, UP))
    session.tick(9.1)
    assert service.requests[-1].moving
    assert service.requests[-1].camera.width == 320


def test_low_power_moves_at_half_size_with_one_sample_at_rest(session):
    session.settings.low_power = True
    session.tick(0.0)
    session.tick(1.0)
    moving, rest = session._service.requests
    assert (moving.camera.width, rest.camera.width, rest.samples) == (160, 320, 1)


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (0, 300)])
def test_a_window_without_room_asks_for_nothing(session, size):
    session.tick(0.0)
    session.size = size
    assert not session.tick(1.0)
    assert not session.tick(2.0)
    assert len(session._service.requests) == 1
    assert session._service.idled == 1
    session.size = (64, 48)
    session.tick(3.0)
    assert session._service.requests[-1].camera.width == 64


def test_views_at_nan_are_refused_with_a_line(session):
    before = session.view
    session.go(View(np.full(3, np.nan), before.R, before.fov))
    assert session.view is before
    assert "makes no sense" in session.status


def test_what_cannot_be_opened_is_a_line_and_what_is_open_stays(session):
    source = session.source

    def refuse(path):
        raise InputError("is neither a run nor a scene", where=path)

    session._opener = refuse
    session.open(Path("nothing"))
    until(session, lambda: session.opening is None)
    assert session.status == "nothing: is neither a run nor a scene"
    assert session.source is source

    def crash(path):
        raise KeyError("odd")

    session._opener = crash
    session.open(Path("odd"))
    until(session, lambda: session.opening is None)
    assert "cannot be opened: KeyError" in session.status
    session.tick(0.0)
    assert session._service.requests


def test_an_error_of_the_renderer_is_a_line(session):
    session._service.on_error("mesh.safetensors: is missing")
    session.poll()
    assert session.status == "mesh.safetensors: is missing"


def test_opening_another_run_closes_the_service_and_drops_old_pictures(session):
    old = session._service
    session.tick(0.0)
    old.answer()
    session.open(Path("other"))
    until(session, lambda: session.source.path == Path("other"))
    limit = time.monotonic() + 5
    while not old.closed and time.monotonic() < limit:
        time.sleep(0.01)
    assert old.closed
    assert session.picture is None


def test_the_copied_view_is_the_one_that_was_rendered(user):
    session, _, commands, copied = user
    rendered = session._service.requests[-1].camera
    commands.run("copy_json")
    document = json.loads(copied[-1])
    again = parse_camera_path(document, "test").cameras[0].camera
    assert again.packed().tobytes() == rendered.packed().tobytes()
    commands.run("copy_command")
    assert "xscale render" in copied[-1]
    assert "--samples 2 --background run" in copied[-1]
    text = copied[-1]
    assert json.loads(text[text.index("{") : text.rindex("}") + 1]) == document


def test_a_pasted_view_is_gone_to_and_nonsense_is_a_line(user):
    session, _, commands, copied = user
    commands.run("copy_json")
    before = session.view
    commands.run("axis_top")
    commands.run("paste")
    assert np.allclose(session.view.position, before.position)
    copied.append("[1, 2")
    commands.run("paste")
    assert "no camera path" in session.status


def test_every_key_has_an_action_and_none_is_there_twice(user):
    session, _, commands, _ = user
    assert len({key.key.lower() for key in keys.KEYS}) == len(keys.KEYS)
    assert not {key.key for key in keys.KEYS} & set(keys.FLY)
    for key in keys.KEYS:
        if key.action != "screenshot":
            commands.run(key.action)
            assert navigation.is_usable(session.view)
            assert keys.shown(key)


def test_without_anything_open_no_key_fails():
    session = Session(opener=FakeSource, make_service=FakeService)
    motion = Motion(session)
    commands = Commands(session, motion, Inspector(session, motion))
    for key in keys.KEYS:
        commands.run(key.action)
    session.tick(0.0)
    session.close()


def test_another_direction_can_be_taken_as_upward(user):
    session, _, commands, _ = user
    session.source.found_up = session.source.up
    for name, expected in (("-y", (0, -1, 0)), ("+z", (0, 0, 1)), ("as found", tuple(UP))):
        commands.set_up(name)
        assert tuple(session.source.up) == expected
    commands.set_up("towards me")
    assert np.allclose(session.source.up, -session.view.forward)
    assert "towards me" in session.status


def test_undo_goes_back_to_where_the_view_rested(user):
    session, _, commands, _ = user
    first = session.view
    commands.run("axis_top")
    session.tick(10.0)
    session.tick(11.0)
    session._service.answer()
    session.poll()
    commands.run("undo")
    assert session.view is first
    commands.run("redo")
    assert session.view.forward @ UP < -0.99


def test_photos_are_walked_through_and_the_nearest_is_found(user):
    session, _, commands, _ = user
    commands.run("photo_next")
    assert session.photo == "a.jpg"
    commands.run("photo_next")
    assert session.photo == "b.jpg"
    assert "test" in session.status
    commands.run("photo_next")
    assert session.photo == "a.jpg"
    session.go(navigation.view_of(session.source.cameras["b.jpg"]))
    assert session.photo is None
    commands.run("photo_nearest")
    assert session.photo == "b.jpg"
    camera = session.camera()
    assert (camera.width, camera.height) == (300, 200)  # the photo's shape, as large as fits


def test_a_wipe_takes_the_photos_exposure_and_leaves_with_escape(user):
    session, _, commands, _ = user
    commands.run("wipe")
    assert session.photo is not None
    session.tick(20.0)
    assert session._service.requests[-1].photo == session.photo
    commands.run("escape")
    assert session.photo is None
    assert not session.wipe


def test_flying_stops_before_the_surface_in_view(user):
    session, motion, *_ = user
    distance = motion.distance()
    assert np.isclose(distance, 4.0)
    start, forward = session.view.position, session.view.forward
    for _ in range(300):
        motion.fly((0, 0, 1), 0.05, 4.0)
    travelled = (session.view.position - start) @ forward
    assert 3.5 < travelled < 4.0
    session.settings.collision = False
    for _ in range(50):
        motion.fly((0, 0, 1), 0.05, 4.0)
    assert (session.view.position - start) @ forward > 4.0


def test_the_wheel_moves_towards_the_point_under_the_cursor(user):
    session, motion, *_ = user
    point = motion.surface_at((40.0, 150.0))
    before = session.camera().project(point[None])[0][0]
    motion.wheel((40.0, 150.0), 2)
    assert np.allclose(session.camera().project(point[None])[0][0], before, atol=1e-3)
    assert np.linalg.norm(session.view.position - point) < 4.0


def test_a_drag_holds_the_point_under_the_cursor(user):
    session, motion, *_ = user
    point = motion.surface_at((100.0, 60.0))
    motion.press((100.0, 60.0), "pan")
    motion.drag((12.0, 7.0))
    motion.release()
    at = session.camera().project(point[None])[0][0]
    assert np.allclose(at, (112.5, 67.5), atol=0.01)


def test_settings_and_measurements_are_kept_in_the_users_folder(user, user_folder):
    session, _, commands, _ = user
    session.settings.theme = "light"
    commands.keep_settings()
    assert settings.load_settings().theme == "light"
    from xscale_viewer.measure import pick

    for x in (0.0, 1.0):
        session.measurements.add(pick(np.array([x, 0, 0]), 0.01, 1.0))
    session.measurements.finish()
    session.keep_measurements()
    again = Session(opener=FakeSource, make_service=FakeService)
    again.open(Path("fake"))
    until(again, lambda: again.source is not None)
    assert [m.length for m in again.measurements.all] == [1.0]
    again.close()
    assert {p.name for p in user_folder.iterdir()} == {"viewer.json", "measurements"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scale": "x", "recent": [3], "samples": 99}'])
def test_damaged_settings_are_the_defaults(user_folder, text):
    user_folder.mkdir()
    (user_folder / "viewer.json").write_text(text)
    found = settings.load_settings()
    assert (found.scale, found.recent) == (1.0, [])
    assert 1 <= found.samples <= 8


def test_photos_that_are_missing_are_said_to_be(session):
    assert session.photos.thumbnail("a.jpg") is None
    until(session, lambda: session.photos.fault is not None)
    assert session.photos.fault == "gone: the photos' folder is not there"


def test_share_refuses_what_is_no_camera():
    with pytest.raises(InputError):
        share.camera_from_text("hello")

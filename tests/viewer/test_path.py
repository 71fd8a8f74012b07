"""A camera path in a session: played, checked against the surface, saved, and rendered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")
pytest.importorskip("scipy")

from PIL import Image

from tests.render.conftest import write_tiny_run
from tests.viewer.test_session import session, until, user, user_folder  # noqa: F401
from xscale.render.service import RenderService
from xscale_viewer import navigation, picking
from xscale_viewer.commands import Commands
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion
from xscale_viewer.rendering import PathRender
from xscale_viewer.session import Session
from xscale_viewer.source import open_source

SIZE = (96, 62)


@pytest.fixture(scope="module")
def run_folder(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("path") / "run")


class Opened:
    """A session on a real run, with a path of three keys."""

    def __init__(self, folder, out):
        self.session = Session(opener=open_source, make_service=RenderService, threads=1)
        motion = Motion(self.session)
        self.commands = Commands(self.session, motion, Inspector(self.session, motion))
        self.paths = self.commands.paths
        self.paths.path = str(out / "way.json")
        self.session.size = SIZE
        self.session.open(folder)
        self.until(lambda: self.session.source is not None)
        middle = (self.session.source.low + self.session.source.high) / 2
        for turn in (0.0, 0.3, 0.4):
            view = navigation.orbit(self.session.view, middle, turn, 0.1, self.session.source.up)
            self.session.go(navigation.zoomed(view, 20 * turn))
            self.commands.run("path_add")
        self.session.track.set_duration(0.5)

    def until(self, done, seconds=240):
        limit = time.monotonic() + seconds
        while not done():
            self.session.poll()
            self.session.tick(time.monotonic())
            self.paths.check()
            assert time.monotonic() < limit, self.session.status
            time.sleep(0.005)

    def rendered(self, video=None, overwrite=False):
        self.paths.render(video, overwrite)
        self.until(lambda: self.paths.rendering.done)
        return self.paths.rendering


@pytest.fixture
def opened(run_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    found = Opened(folder, tmp_path)
    yield found
    found.paths.close()
    found.session.close()


def test_the_saved_path_renders_to_the_frames_that_were_shown_at_rest(opened, tmp_path):
    track, s = opened.session.track, opened.session
    assert track.size == SIZE
    shown = {}
    for number in (0, 5, 12):
        s.go_along(track.duration * number / (track.count - 1))
        s.tick(time.monotonic())
        opened.until(lambda: not s.busy())
        assert (s.picture.stage, s.picture.samples) == ("refined", 2)
        shown[number] = s.picture.rgba[..., :3].copy()
    assert opened.paths.save() == tmp_path / "way.json"
    done = subprocess.run(
        [sys.executable, "-m", "xscale", "render", str(s.source.path), "--cameras",
         str(tmp_path / "way.json"), "--out", str(tmp_path / "cli"), "--samples", "2"],
        env=os.environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    frames = sorted((tmp_path / "cli").glob("*.png"))
    assert len(frames) == track.count == 13
    for number, picture in shown.items():
        assert np.array_equal(np.asarray(Image.open(frames[number]))[..., :3], picture)
    assert not np.array_equal(shown[0], shown[12])

    # The window's own rendering is the same job: it finds every frame finished.
    shutil.move(tmp_path / "cli", tmp_path / "way")
    rendering = opened.rendered()
    assert rendering.result["kept"] == 13
    assert rendering.result["rendered"] == 0
    assert "13 were finished before" in s.status

    # Another path is not rendered over it unless that is asked for, nor is another run.
    track.set_view(1, s.view)
    assert opened.rendered().result is None
    assert "holds another job" in s.status
    manifest = s.source.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    assert opened.rendered(overwrite=True).result is None
    assert s.status != ""
    assert len(list((tmp_path / "way").glob("*.png"))) == 13


def test_a_rendering_that_is_given_up_goes_on_where_it_was(opened, tmp_path):
    track = opened.session.track
    track.size, track.fps = (320, 200), 40.0
    opened.paths.render(None)
    rendering = opened.paths.rendering
    opened.paths.render(None)
    assert "is being rendered" in opened.session.status
    opened.until(lambda: rendering.share > 0)
    rendering.cancel()
    opened.until(lambda: rendering.done)
    finished = len(list((tmp_path / "way").glob("*.png")))
    assert 0 < finished < track.count
    assert rendering.result is None
    assert "the next rendering makes the others" in rendering.line
    again = opened.rendered("mp4")
    assert again.result["kept"] >= finished - 1
    assert again.result["kept"] + again.result["rendered"] == track.count
    assert (tmp_path / "way/video.mp4").stat().st_size > 1000


def test_a_way_through_the_surface_is_found(opened):
    s, track = opened.session, opened.session.track
    opened.until(lambda: opened.paths._next >= track.count - 1)
    assert track.blocked == set()
    # The last key on the other side of what the first one looks at.
    first = track.keys[0].view
    camera = track.camera_of(track.keys[0])
    depth = s.source.run.render(camera, ("depth",)).depth.numpy()
    point = picking.nearest_around(camera, depth, (SIZE[0] / 2, SIZE[1] / 2))
    track.set_view(2, replace(first, position=2 * point - first.position))
    track.remove(1)
    opened.paths.check()
    opened.until(lambda: opened.paths._next >= track.count - 1 and not opened.paths._asking)
    from xscale.render.probe import check_path

    met = check_path(s.source.run.surface, s.source.origin, track.frames())
    assert track.blocked == {m.frame for m in met if m.crosses} != set()


def test_a_path_is_loaded_again_and_what_is_none_is_a_line(opened, tmp_path):
    paths, s = opened.paths, opened.session
    paths.save()
    places = [key.view.position for key in s.track.keys]

    def load(path):
        paths.path = str(path)
        paths.load()
        opened.until(lambda: not s.status.startswith("Reading"))
        return s.status

    s.track.clear()
    assert "3 keys, 13 frames" in load(tmp_path / "way.json")
    assert np.allclose([key.view.position for key in s.track.keys], places)
    assert s.held is not None
    kept = list(s.track.keys)

    text = (tmp_path / "way.json").read_text()
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    (tmp_path / "odd.json").write_text('{"camera_path": [], "render_width": 5, "render_height": 5}')
    document = json.loads(text)
    for entry in document["camera_path"]:
        entry["camera_to_world"][3] += 1e6
    (tmp_path / "far.json").write_text(json.dumps(document))
    for name, words in (
        ("nothing.json", "nothing.json"), ("cut.json", "cut.json"), ("odd.json", "empty"),
        ("far.json", "none of the 13 cameras sees the mesh"),
    ):  # fmt: skip
        assert words in load(tmp_path / name)
        assert s.track.keys == kept

    # A file that is something else is not written over.
    (tmp_path / "transforms.json").write_text('{"frames": []}')
    paths.path = str(tmp_path / "transforms.json")
    assert paths.save() is None
    assert "is not a camera path" in s.status
    assert (tmp_path / "transforms.json").read_text() == '{"frames": []}'
    paths.path = str(tmp_path / "missing" / "way.json")
    paths.save()
    paths.path = str(tmp_path / "plain")
    assert paths.save() == tmp_path / "plain.json"


def test_playing_runs_to_the_end_and_a_move_of_the_user_ends_it(user):  # noqa: F811
    s, motion, commands, _ = user
    commands.run("path_play")
    assert "two keys" in s.status
    commands.run("path_add")
    s.go(navigation.fly(s.view, (1, 0, 0), s.source.up))
    commands.run("path_add")
    assert s.track.size == (320, 200)
    commands.run("path_play")
    start = s.view
    for _ in range(4):
        commands.paths.advance(0.1)
    assert s.track.seconds == pytest.approx(0.4, abs=1 / 24)
    assert s.held is not None
    assert s.view is not start
    assert (s.camera().width, s.camera().height) == (320, 200)
    motion.press((10, 10), "pan")
    motion.drag((5, 5))
    assert not s.track.playing
    assert s.held is None
    commands.run("path_play")
    for _ in range(30):
        commands.paths.advance(0.2)
    assert not s.track.playing
    assert s.track.seconds == pytest.approx(2.0)
    commands.run("escape")
    assert s.held is None
    commands.run("path_play")  # from the beginning again
    assert s.track.seconds == 0
    s.go_to_photo("a.jpg")
    assert not s.track.playing


def test_an_orthographic_view_is_no_key(user):  # noqa: F811
    s, _, commands, _ = user
    commands.run("parallel")
    commands.run("path_add")
    assert s.track.keys == []
    assert "orthographic" in s.status


def test_a_scene_renders_no_path(user):  # noqa: F811
    s, _, commands, _ = user
    commands.run("path_add")
    s.go(navigation.fly(s.view, (1, 0, 0), s.source.up))
    commands.run("path_add")
    s.source.kind = "scene"
    commands.paths.render(None)
    assert "after training" in s.status
    assert commands.paths.rendering is None


def test_a_rendering_whose_process_dies_is_a_line(user, monkeypatch, tmp_path):  # noqa: F811
    from types import SimpleNamespace

    from xscale_viewer import rendering

    s = user[0]
    s.source.run = SimpleNamespace(manifest=SimpleNamespace(run="x"))
    monkeypatch.setattr(rendering, "COMMAND", ("-m", "xscale_viewer.not_there"))
    found = PathRender(s, tmp_path / "a.json", tmp_path / "a")
    until(s, lambda: found.done)
    assert "ended by itself (code 1)" in s.status

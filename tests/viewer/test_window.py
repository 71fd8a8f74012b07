"""The window under Xvfb, used as a user does: mouse and keys in, pixels and an exit code out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.render.conftest import write_tiny_run
from tests.viewer import desktop

pytest.importorskip("imgui_bundle")
pytestmark = pytest.mark.skipif(
    bool(desktop.missing()), reason=f"not installed: {', '.join(desktop.missing())}"
)

_VIEW = np.s_[60:480, 20:400]
"""A part of the screen that only the picture covers."""


@pytest.fixture(scope="module")
def run_folder(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("window") / "run")


@pytest.fixture
def screen(tmp_path):
    with desktop.desktop(tmp_path) as environment:
        yield environment


def changed(before, after):
    """Share of the view's pixels that differ."""
    return float((before[_VIEW] != after[_VIEW]).any(2).mean())


def test_a_user_walks_through_a_run(screen, run_folder, tmp_path):
    files = {p: p.stat().st_mtime_ns for p in run_folder.rglob("*")}
    with desktop.viewer(screen, tmp_path, run_folder, "--unit", "m") as v:
        first = v.picture()
        v.wait(lambda: changed(first, v.picture()) > 0.3, "picture")
        home = v.settled()
        assert len(np.unique(home[_VIEW].reshape(-1, 3), axis=0)) > 200
        v.save("home")

        # Orbit about the point under the cursor.
        v.do("mousemove", 300, 300)
        v.do("mousedown", 1)
        for _ in range(8):
            v.do("mousemove_relative", "--", 8, 2)
        v.do("mouseup", 1)
        orbited = v.settled()
        assert changed(home, orbited) > 0.3
        v.save("orbit")

        # A double click centres the point that it hits, from nearer.
        v.do("click", "--repeat", 2, "--delay", 80, 1)
        centred = v.settled()
        assert changed(orbited, centred) > 0.3
        v.save("centred")
        v.key("Escape")  # the first click has marked the point
        orbited = v.settled()

        # Fly, and home again: the same pixels as at first.
        v.do("keydown", "s")
        time.sleep(0.4)
        v.do("keyup", "s")
        flown = v.settled()
        assert changed(orbited, flown) > 0.2
        v.key("Home")
        v.do("mousemove", 960, 680)  # the screen shows the mouse too
        v.wait(lambda: changed(home, v.picture()) == 0, "the first picture again")

        # A photo, and the wipe (this run's photos are nowhere: a line says so).
        v.key("bracketright")
        v.key("b")
        wiped = v.settled()
        assert changed(home, wiped) > 0.2
        v.save("wipe")
        v.key("Escape")

        # Measure between two clicks.
        v.key("Home")
        v.settled()
        v.key("m")
        for x, y in ((200, 300), (320, 280)):
            v.do("mousemove", x, y)
            time.sleep(0.5)
            v.do("click", 1)
            time.sleep(0.5)
        measured = v.settled()
        yellow = (np.abs(measured[_VIEW].astype(int) - (255, 230, 26)) < 12).all(2).sum()
        assert yellow > 100, "no line between the picks"
        v.save("measure")
        v.key("Return")
        v.key("m")

        # A screenshot is a file; F1 covers the view with the keys.
        v.key("F12")
        v.wait(lambda: list(tmp_path.glob("run-*.png")), "screenshot")
        v.key("F1")
        assert changed(measured, v.settled()) > 0.5
        v.save("help")
        v.key("F1")

        # The smallest window, minimised, and back.
        v.do("windowsize", v.window, 1, 1)
        time.sleep(0.5)
        v.do("windowsize", v.window, 700, 500)
        v.do("windowminimize", v.window)
        time.sleep(0.5)
        v.do("windowactivate", "--sync", v.window)
        v.settled()
        v.save("small")

        # Closed while a picture is being rendered.
        v.do("keydown", "a")
        time.sleep(0.2)
        assert v.close() == 0
        v.do("keyup", "a")
        assert v.process.stderr.read() == ""
    kept = json.loads((tmp_path / "config/viewer.json").read_text())
    assert kept["recent"] == [str(run_folder)]
    assert {p: p.stat().st_mtime_ns for p in run_folder.rglob("*")} == files


def test_a_wipe_is_dragged_and_a_run_that_vanishes_stays_on_the_screen(
    screen, run_folder, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(run_folder, folder)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/viewer.json").write_text(json.dumps({"background": "black"}))
    with desktop.viewer(screen, tmp_path, folder, "--photo", "view_02.png") as v:
        first = v.picture()
        v.wait(lambda: changed(first, v.picture()) > 0.3, "picture")
        v.settled()
        v.key("b")
        v.settled()

        def line() -> int:
            """Column of the wipe's line, white all along the photo; 0: there is none."""
            white = (v.picture()[240:440, 60:620] > 200).all(2).mean(0)
            return int(np.argmax(white)) + 60 if white.max() > 0.95 else 0

        v.wait(lambda: line() > 0, "line")
        before = line()
        v.do("mousemove", before, 330)
        v.do("mousedown", 1)
        for _ in range(10):
            v.do("mousemove_relative", "--", -9, 0)
        v.do("mouseup", 1)
        v.do("mousemove", 960, 680)  # the screen shows the mouse too
        v.wait(lambda: before - line() == 90, "line where it was dragged to", 30)
        v.save("wipe-dragged")

        # The folder vanishes: what is open is looked at on, also in a mode not shown before.
        v.key("Escape")
        shutil.rmtree(folder)
        v.key("Home")
        held = v.settled()
        v.key("v")
        v.wait(lambda: changed(held, v.picture()) > 0.3, "another mode")
        v.key("n")  # the tour needs a file of the run
        v.settled()
        v.save("deleted")
        assert v.close() == 0
        assert v.process.stderr.read() == ""


def _middle(picture, rgb):
    """Middle (x, y) of what has a colour, None where nothing has it."""
    rows, columns = (np.abs(picture.astype(int) - rgb) < 12).all(2).nonzero()
    return (float(columns.mean()), float(rows.mean())) if len(rows) > 9 else None


def test_a_camera_path_is_made_by_hand(screen, run_folder, tmp_path):
    chosen, way = (255, 128, 26), (76, 230, 128)
    with desktop.viewer(screen, tmp_path, run_folder, "--low-power") as v:
        first = v.picture()
        v.wait(lambda: changed(first, v.picture()) > 0.3, "picture")
        v.settled()
        v.key("y")
        v.wait(lambda: _middle(v.picture(), chosen) is not None, "a key on the timeline")
        v.do("mousemove", 300, 300)
        v.do("mousedown", 1)
        v.do("mousemove_relative", "--", 80, 10)
        v.do("mouseup", 1)
        v.settled()
        v.key("y")
        v.wait(lambda: _middle(v.picture()[560:], way) is not None, "a way on the timeline")

        # The last key is dragged to an earlier moment.
        v.do("mousemove", 960, 690)
        x, y = _middle(v.settled()[560:], chosen)
        v.do("mousemove", int(x), int(y) + 560)
        v.do("mousedown", 1)
        v.do("mousemove_relative", "--", -100, 0)
        v.do("mouseup", 1)
        v.do("mousemove", 960, 690)

        def moved():
            there = _middle(v.picture()[560:], chosen)
            return there is not None and abs(there[0] - x + 100) < 2

        v.wait(moved, "the key at another moment", 60)

        # From farther away the keys stand in the scene, and are dragged there.
        v.do("mousemove", 300, 300)
        for _ in range(3):
            v.do("click", 5)
        v.key("2")
        v.wait(lambda: _middle(v.picture()[60:540], chosen) is not None, "the key in the scene", 60)
        v.save("path")
        x, y = _middle(v.settled()[60:540], chosen)
        v.do("mousemove", int(x), int(y) + 60)
        v.do("mousedown", 1)
        v.do("mousemove_relative", "--", -30, 20)
        v.do("mouseup", 1)
        v.do("mousemove", 960, 690)

        def dragged():
            there = _middle(v.picture()[60:540], chosen)
            return there is not None and abs(there[0] - x + 30) < 5 and abs(there[1] - y - 20) < 5

        v.wait(dragged, "the key where it was dragged to", 60)
        before = v.picture()
        v.key("space")
        v.wait(lambda: changed(before, v.picture()) > 0.3, "the path's first frame")
        v.key("space")
        v.settled()
        v.save("path-held")
        assert v.close() == 0
        assert v.process.stderr.read() == ""


def test_the_window_ends_with_the_command_that_opened_it(screen, run_folder, tmp_path):
    with desktop.viewer(screen, tmp_path, run_folder) as v:
        children = Path(f"/proc/{v.process.pid}/task/{v.process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(v.process.pid, signal.SIGKILL)
        limit = time.monotonic() + 30
        while v.do("search", "--onlyvisible", "--name", "^xscale view$").split():
            assert time.monotonic() < limit, "the window stayed"
            time.sleep(0.1)


def test_the_first_screen_opens_what_is_typed_and_says_what_is_wrong(screen, run_folder, tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    recent = [str(run_folder), str(tmp_path / "gone")]
    (config / "viewer.json").write_text(json.dumps({"recent": recent, "theme": "light"}))
    with desktop.viewer(screen, tmp_path) as v:
        v.settled()
        v.save("first")
        # A folder that is not there: a line, and the window stays.
        v.do("type", "--delay", 30, str(tmp_path / "gone"))
        before = v.settled()
        v.key("Return")
        assert (before != v.settled()).any(), "no line about the folder"
        assert v.process.poll() is None
        v.save("gone")
        # What is typed next takes the place of what was wrong.
        v.do("type", "--delay", 30, str(run_folder))
        before = v.picture()
        v.key("Return")
        v.wait(lambda: changed(before, v.picture()) > 0.3, "picture")
        v.settled()
        assert v.close() == 0
        assert v.process.stderr.read() == ""


def test_a_scene_opens_before_any_training(screen, asymmetric_folder, tmp_path):
    with desktop.viewer(screen, tmp_path, asymmetric_folder) as v:
        first = v.picture()
        v.wait(lambda: changed(first, v.picture()) > 0.3, "picture")
        plain = v.settled()
        for _ in range(4):
            v.key("v")
        footprint = v.settled()
        assert changed(plain, footprint) > 0.3
        v.save("footprint")
        assert v.close() == 0
        assert v.process.stderr.read() == ""


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        (("-extension", "GLX"), {}, "has no OpenGL 3.3"),
        ((), {"MESA_GL_VERSION_OVERRIDE": "2.1"}, "has no OpenGL 3.3"),
        ((), {"DISPLAY": ":987"}, "the display cannot be opened"),
    ],
    ids=["no GLX", "OpenGL 2.1", "no server"],
)
def test_a_display_that_will_not_do_is_one_line(options, variables, words, tmp_path):
    with desktop.desktop(tmp_path, *options) as environment:
        done = subprocess.run(
            [sys.executable, "-m", "xscale", "view"],
            env={**environment, **variables}, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    assert done.returncode == 13
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


@pytest.mark.slow
def test_a_lost_display_is_one_line(tmp_path, run_folder):
    with (
        desktop.desktop(tmp_path) as environment,
        desktop.viewer(environment, tmp_path, run_folder) as v,
    ):
        first = v.picture()
        v.wait(lambda: changed(first, v.picture()) > 0.3, "picture")
        os.kill(int(environment[desktop.SERVER]), signal.SIGKILL)
        assert v.process.wait(30) == 13
        error = v.process.stderr.read().splitlines()
    assert error[-1].startswith("xscale: error: the window's process ended by itself")

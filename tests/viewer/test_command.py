"""``xscale view``: one line and a documented exit code where no window can be opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.render.conftest import write_tiny_run
from xscale.cli import _viewer, view
from xscale.cli.main import main
from xscale.errors import InputError, SetupError, UsageError
from xscale.scene.options import SceneOptions


def test_old_python_is_one_line_with_advice():
    with pytest.raises(SetupError, match=r"needs Python 3\.11 or newer, this is 3\.10; install"):
        _viewer.check_packages((3, 10))


def test_a_missing_package_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(_viewer, "_OLDEST", (3, 0))
    monkeypatch.setattr(_viewer, "_LIBRARIES", ("no_such_package_here",))
    monkeypatch.setattr(_viewer, "PACKAGE", "xscale")
    assert main(["view"]) == 13
    line = capsys.readouterr().err
    assert line == (
        "xscale: error: the viewer's package no_such_package_here is missing; "
        "pip install 'xscale[viewer]'\n"
    )
    assert _viewer.describe() == line.removeprefix("xscale: error: ").strip()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--scale", "9"], UsageError),
        (["--size", "wide"], UsageError),
        (["--threads", "0"], UsageError),
        (["no/such/folder"], InputError),
        (["--images", "photos"], UsageError),
    ],
)
def test_bad_options_are_refused_before_a_window_opens(arguments, error, monkeypatch):
    monkeypatch.setattr(_viewer, "check_packages", lambda: None)
    with pytest.raises(error):
        view.run(arguments)


def test_options_of_a_scene_reach_the_window_and_are_refused_for_a_run(
    asymmetric, tmp_path, monkeypatch
):
    run = write_tiny_run(asymmetric, tmp_path / "run")
    passed = []

    def command(*words):
        passed.append(words)
        return [sys.executable, "-c", "pass"]

    monkeypatch.setattr(_viewer, "check_packages", lambda: None)
    monkeypatch.setattr(_viewer, "command", command)
    words = [str(tmp_path), "--images", "photos", "--mesh", "a.ply", "--mesh", "b.ply"]
    assert view.run([*words, "--drop-outliers", "--layout-scale", "2"]) == 0
    start = json.loads(passed[0][1])
    assert SceneOptions.of(start["reading"]) == SceneOptions(
        images=Path("photos"),
        mesh=(Path("a.ply"), Path("b.ply")),
        drop_outliers=True,
        layout_scale=2.0,
    )
    with pytest.raises(UsageError, match="is a run, which remembers it"):
        view.run([str(run), "--images", "photos"])
    assert len(passed) == 1


def test_a_process_that_dies_is_one_line(monkeypatch):
    monkeypatch.setattr(_viewer, "check_packages", lambda: None)
    monkeypatch.setattr(_viewer, "command", lambda *_: [sys.executable, "-c", "exit(1)"])
    with pytest.raises(SetupError, match="display was lost"):
        view.run([])
    monkeypatch.setattr(_viewer, "command", lambda *_: [sys.executable, "-c", "exit(13)"])
    assert view.run([]) == 13


def test_without_a_display_there_is_one_line_and_doctor_says_the_same():
    pytest.importorskip("imgui_bundle")
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-m", "xscale", "view"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 13
    assert done.stdout == ""
    assert done.stderr.startswith("xscale: error: there is no display")
    assert done.stderr.count("\n") == 1
    said = subprocess.run(
        [sys.executable, "-c", "from xscale.cli import _viewer; print(_viewer.describe())"],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == done.stderr.removeprefix("xscale: error: ").strip()


def test_the_process_ends_though_something_is_still_rendered():
    program = """
import runpy, sys, threading, time, types
stub = types.ModuleType("xscale_viewer.window")
def main(words):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return 5
stub.main = main
sys.modules["xscale_viewer.window"] = stub
sys.argv = ["xscale_viewer"]
runpy.run_module("xscale_viewer", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=40, check=False)
    assert done.returncode == 5

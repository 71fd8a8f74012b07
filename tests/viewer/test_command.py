"""``xscale view``: one line and a documented exit code where no window can be opened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xscale.cli import _viewer, view
from xscale.cli.main import main
from xscale.errors import InputError, SetupError, UsageError


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
    ],
)
def test_bad_options_are_refused_before_a_window_opens(arguments, error, monkeypatch):
    monkeypatch.setattr(_viewer, "check_packages", lambda: None)
    with pytest.raises(error):
        view.run(arguments)


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

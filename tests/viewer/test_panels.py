"""The panels on null backends: a user's script without any display."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.house.tree import ROOT
from tests.render.conftest import write_tiny_run

pytest.importorskip("imgui_bundle")


def test_a_user_finds_the_way_through_the_panels(asymmetric, tmp_path):
    run = write_tiny_run(asymmetric, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    environment = {**os.environ, "XSCALE_CONFIG": str(tmp_path / "config")}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.viewer.window_script", str(run)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith("OK"), done.stdout[-2000:] + done.stderr[-2000:]
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before

"""The copied command, run by a shell, gives the picture that the viewer shows at rest."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from PIL import Image

from tests.render.conftest import write_tiny_run
from tests.viewer.test_session import user_folder  # noqa: F401
from xscale.render.service import RenderService
from xscale_viewer import navigation
from xscale_viewer.commands import Commands
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion
from xscale_viewer.session import Session
from xscale_viewer.source import open_source


@pytest.mark.skipif(sys.platform == "win32", reason="the command is one of POSIX shells")
@pytest.mark.parametrize("view", ["turned", "photo", "orthographic"])
def test_the_copied_command_gives_the_picture_at_rest(asymmetric, tmp_path, view):
    folder = write_tiny_run(asymmetric, tmp_path / "a run's folder")
    session = Session(opener=open_source, make_service=RenderService, threads=1)
    copied = []
    motion = Motion(session)
    commands = Commands(session, motion, Inspector(session, motion), copied.append)
    session.settings.background = "black"
    session.size = (97, 61)

    def until(done):
        limit = time.monotonic() + 60
        while not done():
            session.poll()
            session.tick(time.monotonic())
            assert time.monotonic() < limit, session.status
            time.sleep(0.005)

    session.open(folder)
    until(lambda: session.source is not None)
    if view == "photo":
        session.go_to_photo("view_02.png")
    else:
        middle = (session.source.low + session.source.high) / 2
        session.go(navigation.orbit(session.view, middle, 0.31, 0.17, session.source.up))
    if view == "orthographic":
        commands.run("parallel")
    session.tick(time.monotonic())
    until(lambda: not session.busy())
    picture = session.picture
    assert (picture.stage, picture.samples) == ("refined", 2)
    commands.run("copy_command")
    session.close()

    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "xscale").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m xscale "$@"\n')
    (bin_folder / "xscale").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["sh", "-c", copied[-1]],
        cwd=work, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = work.rglob("*.png")
    assert np.array_equal(np.asarray(Image.open(file))[..., :3], picture.rgba[..., :3])

"""What a user gets wrong in a render is named, nothing is half-written, the other frames go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.render.conftest import write_tiny_run
from xscale.cli.main import main
from xscale.render.batch import render_batch
from xscale.render.camera_files import CameraPath, NamedCamera, camera_path_document
from xscale.render.job import JobFrame, Settings, make_job
from xscale.render.run import Run


def test_camera_inside_the_mesh_is_told_and_the_others_go_on(asymmetric, tmp_path):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    faces = np.array([
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ])  # fmt: skip
    one = asymmetric.cameras["view_00.png"].scaled(40, 30)
    places = {"out": [0, 0, -5.0], "in": [0.2, 0.1, 0.0], "near": [0, 0, -1.05]}
    cameras = {k: replace(one, R=np.eye(3), t=-np.array(p)) for k, p in places.items()}
    box = SimpleNamespace(vertices=corners, faces=faces, cameras=cameras)
    run = Run.open(write_tiny_run(box, tmp_path / "run"))
    job = make_job(run, [JobFrame(k, (c,)) for k, c in cameras.items()], Settings())
    summary = render_batch(run, job, tmp_path / "job")
    assert summary.rendered == 3
    assert [line.split(": ")[:2] for line in summary.warnings] == [["in", "W-FRAME-INSIDE"]]


@pytest.mark.parametrize(
    ("gone", "code", "words"),
    [
        ("manifest.json", 3, "is no run"),
        ("mesh.safetensors", 3, "mesh.safetensors"),
        ("checkpoints", 3, "has no checkpoint"),
    ],
)
def test_missing_files_of_a_run_are_named(asymmetric, tmp_path, capsys, gone, code, words):
    run = write_tiny_run(asymmetric, tmp_path / "run")
    lost = run / gone
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    assert main(["render", str(run), "--out", str(tmp_path / "out")]) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"lens": 35}, 3, "has a field 'lens' that is not known"),
        ({"render_width": 0}, 3, "render_width is 0"),
        ({"render_height": 1 << 30}, 3, "render_height"),
    ],
)
def test_bad_camera_files_are_refused_as_a_whole(
    tiny_run, asymmetric, tmp_path, capsys, change, code, words
):
    camera = asymmetric.cameras["view_00.png"]
    document = camera_path_document(CameraPath((NamedCamera("a", camera),)))
    (tmp_path / "p.json").write_text(json.dumps(document | change))
    line = ["render", str(tiny_run.path), "--cameras", str(tmp_path / "p.json")]
    assert main([*line, "--out", str(tmp_path / "out")]) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

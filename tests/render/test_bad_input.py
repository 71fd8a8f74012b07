"""What a user gets wrong in a render is named, nothing is half-written, the other frames go on."""

from __future__ import annotations

import json
import resource
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.render.conftest import write_tiny_run
from xscale.cli.main import main
from xscale.errors import StorageError
from xscale.render.batch import render_batch
from xscale.render.camera_path import CameraPath, NamedCamera, camera_path_document
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.run import Run
from xscale.render.video import write_video


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
    job = make_job(run, [JobFrame(k, (c,)) for k, c in cameras.items()], JobSettings())
    summary = render_batch(run, job, tmp_path / "job")
    assert summary.rendered == 3
    assert [line.split(": ")[:2] for line in summary.warnings] == [["in", "W-FRAME-INSIDE"]]


@pytest.mark.parametrize(
    ("gone", "code", "words"),
    [
        ("manifest.json", 3, "is not an xscale run"),
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
        ({"render_widht": 35}, 3, "has a field 'render_widht' that is not known: render_width is"),
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


FORMATS = [("png", "npy"), ("jpg", "tiff"), ("tiff16", "exr"), ("exr", "npy")]


@pytest.fixture
def limited():
    """Sets the largest file that this process may write: as a full disk does, in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(most):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("colour", "data"), FORMATS)
def test_full_folder_stops_in_any_format_and_nothing_is_lost(
    tiny_run, asymmetric, tmp_path, limited, colour, data
):
    for kind, package in (("exr", "OpenEXR"), ("tiff", "tifffile")):
        if kind in colour + data:
            pytest.importorskip(package)
    one = asymmetric.cameras["view_00.png"]
    sizes = {"a": (40, 30), "b": (700, 400), "c": (40, 30)}
    frames = [JobFrame(k, (one.scaled(*size),)) for k, size in sizes.items()]
    settings = JobSettings(outputs=("colour", "position"), format=colour, data=data)
    job = make_job(tiny_run, frames, settings)
    limited(200_000)
    with pytest.raises(StorageError) as caught:
        render_batch(tiny_run, job, tmp_path / "job")
    assert caught.value.exit_code == 4
    limited(resource.RLIM_INFINITY)
    assert not list((tmp_path / "job").rglob(".tmp-*"))
    manifest = json.loads((tmp_path / "job/manifest.json").read_text())
    assert [frame["name"] for frame in manifest["finished"]] == ["a"]
    summary = render_batch(tiny_run, job, tmp_path / "job", verify=True)
    assert (summary.kept, summary.rendered, summary.complete) == (1, 2, True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_film_that_finds_no_room_is_told_and_its_frames_stay(tmp_path, rng, limited, kind):
    pytest.importorskip("imageio_ffmpeg")
    pictures = [tmp_path / f"{k}.png" for k in range(8)]
    for picture in pictures:
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8)).save(picture)
    limited(100_000)
    with pytest.raises(StorageError, match=r"encoder"):
        write_video(tmp_path / f"film.{kind}", pictures, kind, 10.0)
    limited(resource.RLIM_INFINITY)
    assert sorted(tmp_path.iterdir()) == pictures
    write_video(tmp_path / f"film.{kind}", pictures, kind, 10.0)


def test_more_than_the_disk_holds_is_refused_before_any_work(
    tiny_run, asymmetric, tmp_path, capsys
):
    line = ["render", str(tiny_run.path), "--outputs", "position", "--size", "1000000x1000000"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 4
    assert "are free" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made_is_named(tiny_run, capsys):
    assert main(["render", str(tiny_run.path), "--out", "/proc/xscale"]) == 4
    assert "/proc/xscale" in capsys.readouterr().err

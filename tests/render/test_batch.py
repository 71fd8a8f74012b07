"""Jobs: finished frames are kept, killed ones come again with the same bytes, bad ones are told."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.render.conftest import write_tiny_run
from xscale.cli.main import main
from xscale.errors import (
    BusyError,
    NumericsError,
    OutputExistsError,
    PartialError,
    StorageError,
    UsageError,
)
from xscale.io import storage
from xscale.io.run_lock import RunLock
from xscale.render import batch
from xscale.render.batch import render_batch
from xscale.render.camera_files import read_cameras
from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.journal import JobFolder
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.run import folder as folder_module

OUTPUTS = ("colour", "depth", "coverage")


@pytest.fixture(scope="module")
def frames(asymmetric):
    return tuple(
        JobFrame(f"{k:05d}", (camera.scaled(56, 32),))
        for k, camera in enumerate(asymmetric.cameras.values())
    )


@pytest.fixture(scope="module")
def job(tiny_run, frames):
    return make_job(tiny_run, frames, JobSettings(outputs=OUTPUTS))


@pytest.fixture(scope="module")
def whole(tiny_run, job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "job"
    render_batch(tiny_run, job, folder)
    return _files(folder)


def _files(folder):
    """Every picture's bytes by its path."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix in (".png", ".npy")
    }


def _rendered(monkeypatch):
    """Count the frames that are really rendered."""
    counted = []
    real = batch.render_frame

    def counting(run, job, index, *where):
        counted.append(index)
        return real(run, job, index, *where)

    monkeypatch.setattr(batch, "render_frame", counting)
    return counted


def test_frames_hold_what_the_renderer_gives(tiny_run, frames, whole):
    assert len(whole) == 3 * len(frames)
    frame = tiny_run.render(frames[2].cameras[0], outputs=("colour", "depth"))
    picture = np.asarray(Image.open(io.BytesIO(whole["00002.png"])))
    np.testing.assert_array_equal(picture, frame.colour.numpy())
    depth = np.load(io.BytesIO(whole["depth/00002.npy"]))
    np.testing.assert_array_equal(depth, frame.depth.numpy())
    mask = np.asarray(Image.open(io.BytesIO(whole["coverage/00002.png"])))
    np.testing.assert_array_equal(mask == 255, frame.coverage.numpy())


def test_checkpoint_that_was_read_ahead_is_not_read_again(tiny_run, frames, monkeypatch):
    camera = frames[0].cameras[0]
    expected = tiny_run.render(camera).colour
    ahead = tiny_run.folder.load_newest()
    monkeypatch.setattr(folder_module, "load_newest", None)
    given = Run.open(tiny_run.path, newest=ahead)
    assert torch.equal(given.render(camera).colour, expected)
    assert given.fingerprint == tiny_run.fingerprint


def test_cameras_lie_beside_the_pictures(tiny_run, frames, tmp_path):
    job = make_job(tiny_run, frames[:2], JobSettings())
    render_batch(tiny_run, job, tmp_path / "job", fps=12.0)
    path = read_cameras(tmp_path / "job/cameras.json")
    assert path.fps == 12.0
    assert [c.name for c in path.cameras] == [f.name for f in frames[:2]]
    for one, frame in zip(path.cameras, frames[:2], strict=True):
        np.testing.assert_allclose(one.camera.K, frame.cameras[0].K, atol=1e-9)
        np.testing.assert_allclose(one.camera.R, frame.cameras[0].R, atol=1e-12)
        np.testing.assert_allclose(one.camera.position, frame.cameras[0].position, atol=1e-9)


def test_interrupted_job_renders_only_what_is_missing(tiny_run, job, whole, tmp_path, monkeypatch):
    folder = tmp_path / "job"

    def interrupted(run, job, pending, place):
        for index in pending[:2]:
            yield index, batch.attempt(run, job, index, place)
        # A third frame is published and not yet in the journal when the user stops it.
        batch.attempt(run, job, pending[2], place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_batch(tiny_run, job, folder, engine=interrupted)
    # A torn last line, as a power cut leaves it.
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"crc": 1, "record": {"index": 4, "na')
    (folder / ".tmp-00003.png-0000").write_bytes(b"half")
    counted = _rendered(monkeypatch)
    summary = render_batch(tiny_run, job, folder)
    assert counted == [2, 3, 4, 5]
    assert (summary.kept, summary.rendered, summary.complete) == (2, 4, True)
    assert _files(folder) == whole
    assert JobFolder(folder, job).check() == {"missing": [], "damaged": [], "foreign": []}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [f["index"] for f in manifest["finished"]] == list(range(6))


def test_damaged_and_missing_files_are_noticed_and_come_again(tiny_run, job, whole, tmp_path):
    folder = tmp_path / "job"
    render_batch(tiny_run, job, folder)
    (folder / "depth/00001.npy").unlink()
    data = bytearray(whole["00003.png"])
    data[60] ^= 1
    (folder / "00003.png").write_bytes(data)
    (folder / "note.txt").write_text("mine")
    found = JobFolder(folder, job).check()
    assert found == {"missing": ["00001"], "damaged": ["00003"], "foreign": ["note.txt"]}
    assert render_batch(tiny_run, job, folder).rendered == 1
    assert render_batch(tiny_run, job, folder, verify=True).rendered == 1
    assert _files(folder) == whole


def test_shards_together_are_the_whole(tiny_run, job, whole, tmp_path):
    folder = tmp_path / "job"
    parts = [render_batch(tiny_run, job, folder, shard=(k, 4)) for k in (1, 2, 3, 4)]
    assert [p.rendered for p in parts] == [2, 2, 1, 1]
    assert [p.complete for p in parts] == [False, False, False, True]
    assert _files(folder) == whole
    assert render_batch(tiny_run, job, folder).rendered == 0
    with pytest.raises(UsageError):
        render_batch(tiny_run, job, folder, shard=(5, 4))


def test_bad_cameras_are_listed_and_the_others_are_rendered(tiny_run, frames, whole, tmp_path):
    bad = replace(frames[1], cameras=(), fault="camera_path[1]: t has NaN")
    job = make_job(tiny_run, (frames[0], bad, *frames[2:]), JobSettings(outputs=OUTPUTS))
    with pytest.raises(PartialError, match=r"1 of 6 frames failed.*t has NaN") as caught:
        render_batch(tiny_run, job, tmp_path / "job")
    assert caught.value.exit_code == 9
    assert _files(tmp_path / "job") == {n: b for n, b in whole.items() if "00001" not in n}
    manifest = json.loads((tmp_path / "job/manifest.json").read_text())
    assert [f["name"] for f in manifest["failed"]] == ["00001"]


def test_full_disk_stops_the_job_and_loses_nothing(tiny_run, job, whole, tmp_path, monkeypatch):
    real, calls = storage.os.fsync, []

    def full(handle):
        calls.append(handle)
        name = str(Path(f"/proc/self/fd/{handle}").readlink())
        if "00003.png" in name:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        render_batch(tiny_run, job, tmp_path / "job")
    monkeypatch.undo()
    assert len(JobFolder(tmp_path / "job", job).finished(verify=True)) == 3
    assert not list((tmp_path / "job").rglob(".tmp-*"))
    render_batch(tiny_run, job, tmp_path / "job")
    assert _files(tmp_path / "job") == whole


def test_folder_belongs_to_one_job(tiny_run, job, frames, tmp_path):
    folder = tmp_path / "job"
    render_batch(tiny_run, job, folder)
    other = make_job(tiny_run, frames[:2], JobSettings())
    with pytest.raises(OutputExistsError, match=r"different: .*settings.*frames"):
        render_batch(tiny_run, other, folder)
    assert render_batch(tiny_run, other, folder, overwrite=True).rendered == 2
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.png").write_bytes(b"")
    with pytest.raises(OutputExistsError, match=r"mine\.png"):
        render_batch(tiny_run, job, tmp_path / "photos")


def test_one_job_at_a_time_but_shards_side_by_side(tiny_run, job, tmp_path):
    place = tmp_path / "job"
    with JobFolder(place, job).opened(), pytest.raises(BusyError):
        render_batch(tiny_run, job, place)
    with JobFolder(place, job, (1, 2)).opened():
        assert render_batch(tiny_run, job, place, shard=(2, 2)).rendered == 3
        for shard in ((1, 2), None):
            with pytest.raises(BusyError):
                render_batch(tiny_run, job, place, shard=shard)


def test_model_with_nan_is_refused_before_any_frame(asymmetric, frames, tmp_path):
    run = Run.open(write_tiny_run(asymmetric, tmp_path / "run"))
    run.model.field.table[5, 0] = float("nan")
    with pytest.raises(NumericsError, match=r"field\.table"):
        make_job(run, frames, JobSettings())


def test_job_hash_follows_everything_that_changes_pixels(tiny_run, frames, job):
    same = make_job(tiny_run, frames, JobSettings(outputs=OUTPUTS))
    assert same.hash == job.hash
    camera = frames[0].cameras[0]
    moved = replace(frames[0], cameras=(replace(camera, t=camera.t + 1e-9),))
    others = [
        make_job(tiny_run, (moved, *frames[1:]), JobSettings(outputs=OUTPUTS)),
        make_job(tiny_run, frames, JobSettings(outputs=OUTPUTS, samples=2)),
        make_job(tiny_run, frames[:-1], JobSettings(outputs=OUTPUTS)),
        replace(job, run="another checkpoint"),
    ]
    assert len({job.hash, *(other.hash for other in others)}) == 5


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--outputs", "beauty"], 2),
        (["--outputs", "colour", "colour"], 2),
        (["--size", "0x5"], 2),
        (["--size", "9999999x5"], 2),
        (["--size", "70000x100", "--format", "jpg"], 2),
        (["--size", "40000x40000", "--format", "exr"], 2),
        (["--views", "nobody.png"], 2),
        (["--shard", "3/2"], 2),
        (["--samples", "0"], 2),
        (["--projection", "stereo"], 2),
        (["--video", "mp4", "--format", "exr"], 2),
        (["--cameras", "nowhere.json"], 3),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(tiny_run, tmp_path, words, code):
    out = tmp_path / "out"
    assert main(["render", str(tiny_run.path), "--out", str(out), *words]) == code
    assert not out.exists()


def test_pictures_side_by_side_are_the_files(tiny_run, frames, tmp_path):
    outputs = ("colour", "depth_map", "coverage", "normal_map")
    made = [make_job(tiny_run, frames[:2], JobSettings(outputs=outputs, side_by_side=one))
            for one in (False, True)]  # fmt: skip
    for job, name in zip(made, ("files", "one"), strict=True):
        assert render_batch(tiny_run, job, tmp_path / name).complete
    assert render_batch(tiny_run, made[1], tmp_path / "one").rendered == 0
    row = np.asarray(Image.open(tmp_path / "one/00001.png"))
    for k, output in enumerate(outputs):
        file = tmp_path / "files" / ("" if output == "colour" else output) / "00001.png"
        alone = np.asarray(Image.open(file).convert("RGB"))
        np.testing.assert_array_equal(row[:, 56 * k : 56 * (k + 1)], alone)
    with pytest.raises(UsageError, match="position is not an 8-bit picture"):
        make_job(tiny_run, frames, JobSettings(outputs=("colour", "position"), side_by_side=True))


def test_scored_views_are_a_job(tiny_run, monkeypatch, tmp_path):
    out = tmp_path / "views"
    names = tiny_run.names("train")[:2]
    pictures, masks = render_views(tiny_run, names, out)
    frame = tiny_run.render(tiny_run.camera(names[1]))
    found = np.asarray(Image.open(pictures / names[1]))
    np.testing.assert_array_equal(found, frame.colour.numpy())
    mask = np.asarray(Image.open(masks / names[1]))
    np.testing.assert_array_equal(mask == 255, frame.coverage.numpy())
    (pictures / names[0]).write_bytes((pictures / names[0]).read_bytes()[:-1] + b"x")
    counted = _rendered(monkeypatch)
    render_views(tiny_run, names, out)
    assert counted == [0]
    with RunLock(out), pytest.raises(BusyError):
        render_views(tiny_run, names, out)


def test_unwritable_folder_and_missing_run_are_named(tiny_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["render", str(tiny_run.path), "--out", str(tmp_path / "file/x")]) == 4
    assert main(["render", str(tmp_path), "--out", str(tmp_path / "y")]) == 3
    assert "is not an xscale run" in capsys.readouterr().err


# imageio-ffmpeg leaves closing its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_command_renders_a_path_with_a_bad_camera_to_frames_and_film(
    tiny_run, asymmetric, tmp_path, capsys
):
    pytest.importorskip("imageio_ffmpeg")
    import imageio.v3

    path = tmp_path / "p.json"
    cameras = [NamedCamera(n[:-4], c) for n, c in asymmetric.cameras.items()]
    write_camera_path(path, CameraPath(tuple(cameras), 10.0))
    line = ["render", str(tiny_run.path), "--cameras", str(path), "--size", "97x55"]
    out = tmp_path / "a"
    assert main([*line, "--out", str(out), "--video", "mp4"]) == 0
    film = imageio.v3.imread(out / "video.mp4", plugin="FFMPEG")
    assert film.shape == (6, 56, 98, 3)
    first = np.asarray(Image.open(out / "view_00.png")).astype(int)
    # Random colours at every pixel are the hardest film; their means still agree.
    assert abs(film[0][:55, :97].mean((0, 1)) - first.mean((0, 1))).max() < 4
    assert main([*line, "--out", str(out), "--check"]) == 0
    document = json.loads(path.read_text())
    document["camera_path"][2]["camera_to_world"][3] = float("nan")
    path.write_text(json.dumps(document))
    assert main([*line, "--out", str(tmp_path / "b")]) == 9
    assert "view_02" in capsys.readouterr().err
    assert len(list((tmp_path / "b").glob("*.png"))) == 5


@pytest.mark.slow
def test_killed_renders_end_with_the_same_bytes(tiny_run, asymmetric, tmp_path):
    path = tmp_path / "p.json"
    one = asymmetric.cameras["view_00.png"]
    cameras = [replace(one, t=one.t + np.array([0, 0, k / 100])) for k in range(60)]
    named = tuple(NamedCamera(f"{k:05d}", camera) for k, camera in enumerate(cameras))
    write_camera_path(path, CameraPath(named))
    words = [sys.executable, "-m", "xscale", "render", str(tiny_run.path), "--cameras", str(path)]
    words += ["--size", "448x256", "--outputs", "colour", "depth", "--out"]
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True)
    rng = np.random.default_rng(1)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen([*words, str(tmp_path / "killed")], stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        journal = tmp_path / "killed/journal.jsonl"
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines + 3:
                time.sleep(rng.uniform(0, 0.1))
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                break
            time.sleep(0.005)
        process.wait()
    assert kills >= 3
    subprocess.run([*words, str(tmp_path / "killed")], check=True, capture_output=True)
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")


def test_a_folder_of_another_job_is_refused_before_the_run_is_read(tiny_run, tmp_path, monkeypatch):
    out = str(tmp_path / "out")
    args = ["render", str(tiny_run.path), "--views", "all", "--samples", "1", "--out", out]
    assert main(args) == 0
    job = json.loads((tmp_path / "out/job.json").read_text())
    opened = []
    monkeypatch.setattr(Run, "open", lambda *a, **k: opened.append(a))
    maps = ["export", str(tiny_run.path), "maps", "--out", out]
    for changed in ([*args, "--outputs", "depth"], maps):
        assert main(changed) == OutputExistsError("").exit_code
    (tmp_path / "out/job.json").write_text(json.dumps({**job, "run_id": "fedcba9876543210"}))
    assert main(args) == OutputExistsError("").exit_code
    assert opened == []

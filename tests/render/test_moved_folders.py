"""Folders that are moved, removed or taken by another job while something is written into them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xscale.errors import StorageError, UsageError
from xscale.io.own_files import read_own_json
from xscale.io.run_lock import RunLock
from xscale.render import batch
from xscale.render.batch import render_batch
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.journal import JobFolder


@pytest.fixture
def frames(asymmetric):
    return tuple(
        JobFrame(f"{k:05d}", (camera.scaled(28, 16),))
        for k, camera in enumerate(list(asymmetric.cameras.values())[:3])
    )


@pytest.fixture
def job(tiny_run, frames):
    return make_job(tiny_run, frames, JobSettings(outputs=("colour", "depth")))


def _names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("done", ["moved", "removed", "replaced"])
def test_a_job_ends_in_a_folder_that_is_not_its_own_any_more(
    tiny_run, job, tmp_path, monkeypatch, done
):
    folder, real, calls = tmp_path / "job", batch.render_frame, []

    def moving(run, job, index, *where):
        if len(calls) == 1:
            if done == "removed":
                shutil.rmtree(folder)
            else:
                folder.rename(tmp_path / "elsewhere")
            if done == "replaced":
                shutil.copytree(tmp_path / "elsewhere", folder)
        calls.append(index)
        return real(run, job, index, *where)

    monkeypatch.setattr(batch, "render_frame", moving)
    found = "was moved" if done != "removed" else "was removed"
    with pytest.raises(StorageError, match=found) as caught:
        render_batch(tiny_run, job, folder)
    assert len(calls) == 2  # no third frame
    assert not (folder / "manifest.json").exists()
    if done != "removed":
        assert str(tmp_path / "elsewhere") in caught.value.advice
        monkeypatch.setattr(batch, "render_frame", real)
        summary = render_batch(tiny_run, job, tmp_path / "elsewhere")
        assert (summary.kept, summary.rendered) == (1, 2)


def test_a_lock_notices_another_file_of_its_name(tmp_path):
    with RunLock(tmp_path) as lock:
        lock.check()
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").touch()
        with pytest.raises(StorageError, match="removed or replaced"):
            lock.check()


def test_another_job_takes_what_stood_beside_the_pictures_with_it(tiny_run, frames, job, tmp_path):
    folder = tmp_path / "job"
    render_batch(tiny_run, job, folder)
    (folder / "video.mp4").write_bytes(b"film")
    (folder / "notes.txt").write_text("mine")
    (folder / "00001.txt").write_text("mine too")
    before = read_own_json(folder / "cameras.json")
    larger = tuple(
        JobFrame(f"large_{k}", (f.cameras[0].scaled(56, 32),)) for k, f in enumerate(frames[:2])
    )
    other = make_job(tiny_run, larger, JobSettings(outputs=("colour",)))
    render_batch(tiny_run, other, folder, overwrite=True)
    assert _names(folder) == [
        "00001.txt",
        "cameras.json",
        "job.json",
        "journal.jsonl",
        "large_0.png",
        "large_1.png",
        "lock",
        "manifest.json",
        "notes.txt",
    ]
    after = read_own_json(folder / "cameras.json")
    assert len(after["camera_path"]) == 2 != len(before["camera_path"])


def test_names_in_a_foreign_journal_remove_nothing_outside(tiny_run, frames, job, tmp_path):
    folder, outside = tmp_path / "job", tmp_path / "precious.png"
    outside.write_bytes(b"precious")
    render_batch(tiny_run, job, folder)
    (folder / "link").symlink_to(tmp_path)
    place = JobFolder(folder, job)
    for name in ("../precious.png", str(outside), "link/precious.png"):
        entry = {"file": name, "bytes": 8, "sha256": "", "pixels": ""}
        place.append({"index": 0, "name": "00000", "files": {"colour": entry}, "warnings": []})
    other = make_job(tiny_run, frames[:1], JobSettings(outputs=("colour",), samples=4))
    render_batch(tiny_run, other, folder, overwrite=True)
    assert outside.read_bytes() == b"precious"


def test_a_frame_is_not_named_as_files_that_are_cleaned_up(tiny_run, frames):
    named = (JobFrame(".tmp-x", frames[0].cameras),)
    with pytest.raises(UsageError, match=r"does not begin with \.tmp-"):
        make_job(tiny_run, named, JobSettings())

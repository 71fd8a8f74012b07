"""A power loss at any moment of a job: frames that are listed are there, and whole."""

from tests.io.power_loss import recorded, states
from xscale.render.batch import render_batch
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.journal import JobFolder


def test_power_loss_keeps_every_frame_that_was_finished(
    tiny_run, asymmetric, tmp_path, monkeypatch
):
    cameras = [camera.scaled(56, 32) for camera in asymmetric.cameras.values()][:4]
    frames = tuple(JobFrame(f"{k:05d}", (camera,)) for k, camera in enumerate(cameras))
    job = make_job(tiny_run, frames, JobSettings(outputs=("colour", "depth")))
    done, append = [], JobFolder.append
    with recorded(tmp_path / "job", monkeypatch.setattr) as recorder:

        def appended(folder, record):
            append(folder, record)
            done.append(record["index"])
            recorder.promise(set(done))

        monkeypatch.setattr(JobFolder, "append", appended)
        render_batch(tiny_run, job, tmp_path / "job")
    assert len(done) == len(job.frames)
    for moment, folder in states(recorder, tmp_path / "after", each=8):
        listed = JobFolder(folder, job)
        found = listed.finished()
        assert set(found) >= (moment.returned or set())
        assert found == listed.finished(verify=True)

"""Signals of schedulers and terminals: a training saves, and goes on or ends."""

import signal
import subprocess
import sys
import time

import pytest

from xscale.io.checkpoints import load_newest

# Slow steps, so that no checkpoint is due by itself.
SLOW = ["--set", "optim.batch=60000", "model.grid.levels=4", "model.grid.log2_table_size=10"]


def _wait(happened, process, seconds=90):
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def training(asymmetric_folder, tmp_path):
    words = ["train", str(asymmetric_folder), "--out", str(tmp_path / "run"), "--minutes", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "xscale", *words, *SLOW],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log = tmp_path / "run" / "metrics.jsonl"
    _wait(lambda: log.exists() and log.stat().st_size > 0, process)
    yield process, tmp_path / "run" / "checkpoints"
    process.kill()
    process.communicate()


def test_usr1_writes_a_checkpoint_and_hup_ends_with_one(training):
    process, folder = training
    assert not folder.exists()
    process.send_signal(signal.SIGUSR1)
    _wait(lambda: any(folder.glob("step_*.json")), process)
    first = load_newest(folder)[0].step
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("a checkpoint is written; continue with --resume")
    assert load_newest(folder)[0].step > first

"""A benchmark killed at random moments and run again, and one in shards, end with equal bytes."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

SMALL = ["optim.batch=256", "model.grid.levels=4", "model.grid.log2_table_size=10",
         "model.shader.hidden=16"]  # fmt: skip
STEPS, SEEDS, KILLS = 60, ("0", "1"), 6

pytestmark = pytest.mark.slow


def start(prepared, out, *more):
    command = [
        sys.executable, "-m", "xscale", "giganvs", "run", str(prepared.path), "--out", str(out),
        "--steps", str(STEPS), "--seeds", *SEEDS, "--device", "cpu", "--set", *SMALL, *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finished(process):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error.decode()[-2000:]


def scores_of(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("benchmark.json")}


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    finished(start(prepared, out))
    took = time.monotonic() - began
    found = scores_of(out)
    assert len(found) == len(SEEDS)
    return found, took


def test_a_benchmark_killed_at_random_moments_ends_with_the_same_bytes(
    prepared, undisturbed, tmp_path
):
    expected, took = undisturbed
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    killed = []
    for _ in range(KILLS):
        process = start(prepared, tmp_path)
        moment = chance.uniform(0.1, 0.9) * took
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed.append(moment)
        process.communicate()
    assert killed
    finished(start(prepared, tmp_path))
    assert scores_of(tmp_path) == expected, f"seed {seed}, killed after {killed} of {took:.1f} s"


def test_two_shards_at_once_give_the_bytes_of_one(prepared, undisturbed, tmp_path):
    shards = [start(prepared, tmp_path, "--shard", f"{i}/2") for i in (1, 2)]
    for process in shards:
        finished(process)
    assert scores_of(tmp_path) == undisturbed[0]

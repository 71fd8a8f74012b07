"""A benchmark killed at random moments and run again, and one in shards, end with equal bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

SMALL = ["optim.batch=256", "model.grid.levels=4", "model.grid.log2_table_size=10",
         "model.shader.hidden=16"]  # fmt: skip
STEPS, SEEDS, KILLS = 60, ("0", "1"), 5

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
    expected, longest = undisturbed
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    killed = []
    while len(killed) < KILLS:
        process = start(prepared, tmp_path / "runs")
        moment = chance.uniform(0.05, 0.9) * longest
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed.append(moment)
        else:
            # It ended sooner than expected: begin anew, and kill sooner.
            assert process.returncode == 0
            shutil.rmtree(tmp_path / "runs")
            longest *= 0.6
        process.communicate()
    finished(start(prepared, tmp_path / "runs"))
    assert scores_of(tmp_path / "runs") == expected, f"seed {seed}, killed after {killed}"


def test_two_shards_at_once_give_the_bytes_of_one(prepared, undisturbed, tmp_path):
    shards = [start(prepared, tmp_path, "--shard", f"{i}/2") for i in (1, 2)]
    for process in shards:
        finished(process)
    assert scores_of(tmp_path) == undisturbed[0]

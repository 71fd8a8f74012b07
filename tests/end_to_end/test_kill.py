"""Killed with SIGKILL at any moment, a training resumes and ends with the bits of one that was not.

Every training is a process of its own, started with the words a user types. Checkpoints come every
five steps here, so that kills fall into their writing; the pool is too small for all tiles, so
that the order in which tiles are replaced has to be resumed too.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import builders
from tests.house.tree import ROOT
from xscale.io.checkpoints import load_newest

STEPS = 70
SETTINGS = ["optim.batch=512", "model.grid.levels=4", "model.grid.log2_table_size=10",
            "model.shader.hidden=16", "pool.tile=32", "pool.budget_mb=1",
            "pool.refresh_steps=3"]  # fmt: skip

# The command line with checkpoints every five steps, a tenth of a second apart so that a
# kill finds it at work; says from which step it goes on.
CHILD = """
import os, signal, sys, time
from xscale.cli.main import main
from xscale.run import folder
from xscale.training import loop

loop.CHECKPOINT_STEPS = 5
newest, share = folder.load_newest, loop.Goal.share

def slowly(*given):
    time.sleep(0.02)
    return share(*given)

def told(*given):
    found = newest(*given)
    print("resumed at", found[0].step if found[0] else 0, flush=True)
    return found

folder.load_newest, loop.Goal.share = told, slowly
if sys.argv[1] == "die-before-manifest":
    folder.write_json = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    built = builders.asymmetric_scene(photos=6, width=224, height=128)
    return builders.write_colmap(built, tmp_path_factory.mktemp("kill") / "scene")


@pytest.fixture(scope="module")
def whole(scene):
    """The final tensors of a training that nothing disturbed, and the names in its folder."""
    out = scene.parent / "whole"
    finished(start(scene, out))
    checkpoint, refused = load_newest(out / "checkpoints")
    assert refused == []
    assert checkpoint.step == STEPS
    photos = json.loads((out / "manifest.json").read_text())["split"]["train"]
    assert len(photos) * 224 * 128 * 11 > 2**20, "all tiles fit: nothing would be replaced"
    return checkpoint.tensors, {path.name for path in out.iterdir()}


def start(scene, out, *more, how="as-usual"):
    words = ["train", str(scene), "--out", str(out), "--steps", str(STEPS), "--seed", "5"]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, how, *words, *more, "--set", *SETTINGS],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finished(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def newest_step(out):
    """The newest checkpoint that is there for a reader: one with its manifest."""
    steps = [int(path.stem.removeprefix("step_")) for path in out.glob("checkpoints/step_*.json")]
    return max(steps, default=0)


def kill_after(process, out, step, pause):
    """Kill a training some time after its checkpoint of ``step``; what it had said by then."""
    end = time.monotonic() + 60
    while newest_step(out) < step and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(pause)
    process.kill()
    output, errors = process.communicate()
    assert process.returncode == -9, f"it ended before it was killed: {errors}"
    return output


def assert_nothing_lies_about(out, names):
    files = [path for path in out.rglob("*") if path.is_file()]
    assert [str(path) for path in files if path.name.startswith(".")] == []
    assert {path.name for path in out.iterdir()} == names
    checkpoints = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert len(checkpoints) == 4
    assert {name.partition(".")[0] for name in checkpoints[::2]} == {
        name.partition(".")[0] for name in checkpoints[1::2]
    }
    for line in (out / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def assert_same(out, tensors):
    checkpoint, refused = load_newest(out / "checkpoints")
    assert refused == []
    assert checkpoint.step == STEPS
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, values in tensors.items():
        assert np.array_equal(checkpoint.tensors[name], values), name


def test_killed_and_resumed_ends_with_the_same_bits(scene, whole):
    tensors, names = whole
    out = scene.parent / "killed"
    rng = random.Random(10)
    # First of all before the manifest is written, the last file of a run that has not begun.
    process = start(scene, out, how="die-before-manifest")
    process.communicate(timeout=60)
    assert process.returncode == -9
    left = sorted(path.name for path in out.iterdir())
    assert left == ["mesh.safetensors"]
    output = kill_after(start(scene, out, "--resume"), out, 5, rng.uniform(0, 0.04))
    assert output == ""
    # What a kill leaves only if it falls into microseconds: temporaries, tensors without manifest.
    for name in (".tmp-1", "checkpoints/.tmp-2", "previews/.tmp-3"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"half")
    for step in (1, STEPS - 1):
        (out / "checkpoints" / f"step_{step:08d}.safetensors").write_bytes(b"without a manifest")
    for after in (20, 40):
        reached = newest_step(out)
        # After a checkpoint of its own: before that it may not have begun.
        later = max(after, reached + 1)
        output = kill_after(start(scene, out, "--resume"), out, later, rng.uniform(0, 0.04))
        assert output == f"resumed at {reached}\n"
    reached = newest_step(out)
    assert reached >= 40
    assert finished(start(scene, out, "--resume")).startswith(f"resumed at {reached}\n")
    assert_same(out, tensors)
    assert_nothing_lies_about(out, names)
    logged = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1] == STEPS

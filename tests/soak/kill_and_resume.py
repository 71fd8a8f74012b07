"""Kill a training again and again, resume it each time: the end must equal an uninterrupted run.

    python -m tests.soak.kill_and_resume --minutes 10

Exit code 1 if a resume fails or the final weights differ.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import builders

STEPS = 300


def command(scene: Path, out: Path, *more: str) -> list[str]:
    """Return the training's command line."""
    words = ["train", str(scene), "--out", str(out), "--steps", str(STEPS), "--seed", "5", *more]
    return [sys.executable, "-m", "xscale", *words]


def final_weights(run: Path) -> str:
    """Return the hash of a run's newest checkpoint."""
    newest = max((run / "checkpoints").glob("*.safetensors"), key=lambda path: path.name)
    return hashlib.sha256(newest.read_bytes()).hexdigest()


def interrupted(scene: Path, out: Path, longest: float, rng: random.Random) -> int:
    """Train with kills at random times; return how many there were."""
    kills = 0
    while True:
        more = ("--resume",) if (out / "manifest.json").exists() else ()
        # A run killed before its manifest was written left nothing worth resuming.
        target = out if more or not out.exists() else out.with_name(f"{out.name}-{kills}")
        process = subprocess.Popen(command(scene, target, *more), stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=rng.uniform(1, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        if process.returncode:
            raise SystemExit(f"a resumed training failed: {errors.decode()}")
        return kills


def main() -> int:
    """Compare interrupted runs with an uninterrupted one until the time is over."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    end = time.monotonic() + 60 * options.parse_args().minutes
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        scene = builders.write_colmap(builders.asymmetric_scene(), root / "scene")
        start = time.monotonic()
        subprocess.run(command(scene, root / "whole"), check=True, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        wanted, rounds, kills = final_weights(root / "whole"), 0, 0
        while rounds == 0 or time.monotonic() < end:
            out = root / f"run-{rounds}"
            kills += interrupted(scene, out, 1.5 * seconds, rng)
            newest = max(root.glob(f"run-{rounds}*"), key=lambda path: path.stat().st_mtime)
            if final_weights(newest) != wanted:
                print(f"round {rounds}: the weights differ after {kills} kills")
                return 1
            rounds += 1
        print(f"{rounds} rounds, {kills} kills, every run ended with the same bits")
    return 0


if __name__ == "__main__":
    sys.exit(main())

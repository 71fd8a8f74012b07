"""Trainings of the real scenes that survive being broken off: what is there is not made again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import METRICS
from xscale.cli import _machine

SHORT = tuple(name.removesuffix("_covered_cc") for name in METRICS)
"""Names of the figures by which methods are compared."""
XSCALE = (sys.executable, "-m", "xscale.cli.main")


def train(scene: Path, out: Path, options: Sequence[str]) -> None:
    """Train into ``out``, or go on where an earlier call was broken off."""
    if _finished(out) is None:
        resume = ["--resume"] if (out / "manifest.json").exists() else []
        command = [*XSCALE, "train", str(scene), "--out", str(out), *options, *resume]
        subprocess.run(command, check=True)
        _commit_file(out).write_text(f"{_machine.commit()}\n")


def train_and_score(scene: Path, out: Path, options: Sequence[str]) -> dict:
    """Train and score what is missing of a run.

    Args:
        scene: The scene's folder.
        out: The run's folder; a run with scores is kept as it is.
        options: Of ``xscale train``.

    Returns:
        Mean scores, the command, steps, rays, seconds, downscale and the commit it was trained at.
    """
    if not (out / "scores.json").exists():
        train(scene, out, options)
        subprocess.run([*XSCALE, "score", str(out), "--scene", str(scene)], check=True)
    scores = json.loads((out / "scores.json").read_text())
    return {"mean": scores["mean"], **about(scene, out, options)}


def about(scene: Path, out: Path, options: Sequence[str]) -> dict:
    """Return what a training was: command, downscale, steps, rays, seconds, commit."""
    manifest = json.loads((out / "manifest.json").read_text())
    last = _finished(out) or {"step": 0, "time": 0.0}
    commit = _commit_file(out)
    return {
        "command": " ".join(["xscale train", scene.name, *options]),
        "downscale": manifest["scene"]["downscale"],
        "steps": last["step"],
        "rays": last["step"] * manifest["settings"]["optim"]["batch"],
        "seconds": last["time"],
        "commit": commit.read_text().strip() if commit.exists() else None,
    }


def covered(mean: dict) -> dict:
    """Return the figures by which methods are compared, without their suffix."""
    return {short: mean.get(name) for short, name in zip(SHORT, METRICS, strict=True)}


def _commit_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.commit")


def _finished(out: Path) -> dict | None:
    """Return the line that a training writes when it ends, or None."""
    log = out / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    for text in reversed(lines):
        if "where_time_went" in text:
            return json.loads(text)
    return None

"""Trainings of the real scenes that survive being broken off: what is there is not made again."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import METRICS
from xscale.cli import _machine
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.report.score import score_renders
from xscale.scene.scene import Scene

SHORT = tuple(name.removesuffix("_covered_cc") for name in METRICS)
"""Names of the figures by which methods are compared."""
XSCALE = (sys.executable, "-m", "xscale.cli.main")


def parser(
    about: str, downscale: float | None = None, steps: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser of the arguments that every benchmark of the real scenes has.

    Args:
        about: The module's docstring; its first line is the help's.
        downscale: Default photo size of the trainings; None: the command has no such option.
        steps: Default length of the trainings; None: the command has no such option.
    """
    found = argparse.ArgumentParser(description=about.splitlines()[0])
    found.add_argument("--scenes", type=Path, required=True, help="folder with baselines.json")
    found.add_argument("--runs", type=Path, required=True, help="folder where trainings are kept")
    found.add_argument("--only", nargs="*", metavar="SCENE", help="names of scenes")
    if downscale is not None:
        found.add_argument("--downscale", type=float, default=downscale)
    if steps is not None:
        found.add_argument("--steps", type=int, default=steps)
    return found


def names(options: argparse.Namespace) -> list[str]:
    """Return the names of the scenes asked for: all that have baselines where none are named."""
    return options.only or list(json.loads((options.scenes / "baselines.json").read_text()))


def size(options: argparse.Namespace) -> list[str]:
    """Return ``xscale train``'s options for the size and length asked for."""
    return ["--downscale", f"{options.downscale:g}", "--steps", f"{options.steps}"]


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


def train_and_compare(scene: Path, out: Path, options: Sequence[str]) -> dict:
    """Do as ``train_and_score``, but score only what methods are compared by: a third of the time.

    The scores are kept in OUT/compared.json.
    """
    kept = out / "compared.json"
    if not kept.exists():
        train(scene, out, options)
        run = Run.open(out)
        names = run.names("test")
        pictures, _ = render_views(run, names, out / "renders" / "test")
        mean = compared(Scene.open(scene), names, run.downscale, pictures)
        kept.write_text(json.dumps(mean) + "\n")
    return {"mean": json.loads(kept.read_text()), **about(scene, out, options)}


def compared(
    scene: Scene,
    names: Sequence[str],
    downscale: float,
    pictures: Path,
    suffixes: Sequence[str] = ("_covered_cc",),
) -> dict:
    """Return the mean ``METRICS`` of pictures.

    Args:
        scene: With the photos.
        names: The photos'.
        downscale: The pictures' size.
        pictures: Their folder; the masks of what the mesh covers lie in its folder ``coverage``.
        suffixes: The variants wanted; LPIPS takes its time for each.
    """
    return score_renders(
        names,
        lambda name: scene.photo(name).read(downscale),
        pictures,
        pictures / "coverage",
        suffixes=suffixes,
    )["mean"]


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

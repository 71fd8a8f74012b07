"""One job of the benchmark: train, render and score xscale on a split of a scene; resumable."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xscale.errors import InterruptedRunError, UsageError, XscaleError
from xscale.giganvs.layout import PreparedScene
from xscale.giganvs.score import score
from xscale.giganvs.splits import SplitFile
from xscale.io.hashing import fingerprint_of
from xscale.io.storage import write_text
from xscale.metrics.lpips_weights import check_available
from xscale.metrics.variants import EXTRAS, metric_names
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.report.ranking import read_scores, resources_file
from xscale.report.score import write_scores
from xscale.run.folder import RunFolder
from xscale.training.api import train

SCORES = "benchmark.json"
_CLUSTERS = "cluster"


@dataclass(frozen=True)
class Job:
    """One training of the benchmark."""

    scene: Path
    split: str
    seed: int

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.scene.name} {self.split} seed {self.seed}"

    def folder(self, out: Path, preset: str) -> Path:
        """Return where its run lies."""
        return out / self.scene.name / self.split / f"xscale-{preset}-seed{self.seed}"


@dataclass(frozen=True)
class Recipe:
    """Options that all jobs of a benchmark have in common."""

    out: Path
    """Folder for the runs."""
    preset: str = "default"
    minutes: float | None = None
    steps: int | None = None
    settings: Sequence[str] = ()
    device: str = "auto"
    lpips_weights: str | Path | None = None
    extras: Sequence[str] = field(default=EXTRAS)
    """Metrics and suffixes on request."""

    @property
    def hash(self) -> str:
        """SHA-256 over what decides the pictures."""
        return fingerprint_of({
            "minutes": self.minutes, "steps": self.steps, "settings": list(self.settings),
            "preset": self.preset,
        })  # fmt: skip

    def scores_file(self, job: Job) -> Path:
        """Return the scores file of a job."""
        return job.folder(self.out, self.preset) / SCORES


def jobs_of(scenes: Sequence[Path], splits: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Return the jobs in their order: scene by scene, split by split, seed by seed.

    Args:
        scenes: Prepared scenes.
        splits: Names of splits; ``cluster`` stands for all six.
        seeds: Seeds of the trainings.

    Raises:
        UsageError: No scene has a split of one of these names.
    """
    jobs: list[Job] = []
    found: set[str] = set()
    for scene in scenes:
        try:
            known = PreparedScene.open(scene).splits()
        except XscaleError:
            # Its jobs say what is wrong with it, when their turn comes.
            known = [f"{_CLUSTERS}1" if name == _CLUSTERS else name for name in splits]
        chosen = [n for n in known if n in splits or (_CLUSTERS in splits and _CLUSTERS in n)]
        found.update(chosen)
        jobs += [Job(scene, split, seed) for split in chosen for seed in dict.fromkeys(seeds)]
    for name in splits:
        if not any(name == split or (name == _CLUSTERS and name in split) for split in found):
            raise UsageError(f"no scene has a split called {name}")
    return jobs


def is_finished(job: Job, recipe: Recipe) -> bool:
    """Whether a job's scores are there, with every metric that this process can give.

    Raises:
        UsageError: They are of other options.
    """
    path = recipe.scores_file(job)
    if not path.is_file():
        return False
    scores = read_scores(path)
    if scores.get("options") != recipe.hash:
        raise UsageError(
            "holds scores of other options", where=path.parent, advice="choose another --out"
        )
    return not _lacks(scores, recipe)


def _lacks(scores: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether scores were made without a metric that is asked for, or without LPIPS weights."""
    if not set(metric_names(extras=recipe.extras)) <= scores["mean"].keys():
        return True
    found, _ = check_available(recipe.lpips_weights)
    sources = scores["protocol"].get("lpips") or {}
    return any(sources.get(net) is None for net in found)


def attempt(job: Job, recipe: Recipe, say: Callable[[str], None]) -> str | None:
    """Do a job unless it is finished; return what went wrong, in a line.

    Only an interrupt leaves this function: whatever is broken in a scene stops no other job.
    """
    try:
        if not is_finished(job, recipe):
            say(job.name)
            _do(job, recipe, say)
    except InterruptedRunError:
        raise
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        say(f"{job.name}: {line}")
        return line
    return None


def _do(job: Job, recipe: Recipe, say: Callable[[str], None]) -> None:
    path = recipe.scores_file(job)
    folder = path.parent
    prepared = PreparedScene.open(job.scene)
    split = prepared.split(job.split)
    names = folder.with_name("test.txt")
    write_text(names, "\n".join(split.test) + "\n", overwrite=True)
    train(
        prepared.scene,
        out=folder,
        preset=recipe.preset,
        minutes=recipe.minutes,
        steps=recipe.steps,
        test_list=names,
        seed=job.seed,
        settings=recipe.settings,
        resume=RunFolder(folder).is_run() or RunFolder(folder).never_begun(),
        device=recipe.device,
        on_stage=say,
    )
    with RunFolder(folder).scoring_lock():
        # Another process may have ended the job meanwhile.
        if not is_finished(job, recipe):
            _render_and_score(job, recipe, prepared, split)


def _render_and_score(job: Job, recipe: Recipe, prepared: PreparedScene, split: SplitFile) -> None:
    """Write the scores of a trained job."""
    path = recipe.scores_file(job)
    opened = Run.open(path.parent)
    start = time.monotonic()
    pictures, _ = render_views(opened, list(split.test), opened.folder.pictures("test"))
    rendered = time.monotonic()
    scores = score(
        pictures,
        prepared,
        split=job.split,
        method=f"xscale {recipe.preset}",
        lpips_weights=recipe.lpips_weights,
        extras=tuple(recipe.extras),
        exposure="not fitted",
    )
    scores["options"] = recipe.hash
    scores["seed"] = job.seed
    # Beside the scores, which are the same at every run.
    used = {
        "train_seconds": _trained(opened.folder),
        "render_seconds": round(rendered - start, 3),
        "score_seconds": round(time.monotonic() - rendered, 3),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    write_scores(resources_file(path), used)
    write_scores(path, scores)


def _trained(folder: RunFolder) -> float | None:
    """Return the seconds of a training, those before it was resumed included."""
    times = [line["time"] for line in folder.logged() if isinstance(line.get("time"), float)]
    return max(times, default=None)

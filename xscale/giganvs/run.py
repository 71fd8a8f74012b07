"""The whole benchmark for xscale: train, render and score every scene and split; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xscale.errors import OutputExistsError, UsageError
from xscale.giganvs.cluster import attempt_on_ray
from xscale.giganvs.jobs import SCORES, Job, Recipe, attempt, is_finished, jobs_of
from xscale.giganvs.verify import scenes_of
from xscale.metrics.models import check_extras
from xscale.metrics.variants import EXTRAS
from xscale.training.request import Request

__all__ = ["SCORES", "Job", "Outcome", "jobs_of", "run"]


@dataclass
class Outcome:
    """Result of a benchmark."""

    scores: list[Path] = field(default_factory=list)
    kept: int = 0
    """Jobs that were finished before."""
    failed: dict[str, str] = field(default_factory=dict)


def run(
    root: str | Path,
    out: str | Path,
    *,
    scenes: list[str] | None = None,
    splits: Sequence[str] = ("every7",),
    seeds: Sequence[int] = (0,),
    preset: str = "default",
    minutes: float | None = None,
    steps: int | None = None,
    settings: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str = "auto",
    device: str = "auto",
    lpips_weights: str | Path | None = None,
    extras: Sequence[str] = EXTRAS,
    on_stage: Callable[[str], None] | None = None,
) -> Outcome:
    """Train, render and score every scene; what is finished is kept, a broken scene stops no other.

    Args:
        root: Folder of prepared scenes, or one of them.
        out: Folder for the runs: SCENE/SPLIT/xscale-PRESET-seedN.
        scenes: Names of scenes; None: all.
        splits: Names of splits; ``cluster`` stands for all six.
        seeds: Seeds of the trainings.
        preset: Settings to start from.
        minutes: Length of each training.
        steps: The same in steps.
        settings: Assignments like "optim.batch=65536".
        shard: (i, n): every n-th job from the i-th; all shards share ``out``.
        engine: ``ray`` gives the jobs to a Ray cluster, whose machines see ``root`` and ``out``
            under the same paths.
        address: Of the Ray cluster; ``auto`` finds the one of this machine.
        device: Where to train and render.
        lpips_weights: Folder with the backbones' weights.
        extras: Metrics and suffixes on request.
        on_stage: Called with a line when a stage begins.

    Returns:
        Scores files, and what failed by job.

    Raises:
        UsageError: The shard or an option is impossible, or no scene has such a split.
        InputError: ``root`` holds no prepared scene.
        OutputExistsError: ``out`` is not a folder.
        SetupError: Ray or what a metric on request needs is missing.
        ClusterError: There is no Ray cluster at that address.
        InterruptedRunError: SIGINT or SIGTERM came; run the same again to go on.
    """
    say = on_stage or (lambda line: None)
    check_extras(extras, lpips_weights)
    if Path(out).exists() and not Path(out).is_dir():
        raise OutputExistsError("is not a folder", where=out, advice="--out names a folder")
    jobs = jobs_of(scenes_of(root, scenes), splits, seeds)
    if shard is not None:
        if not 1 <= shard[0] <= shard[1]:
            raise UsageError(f"--shard is i/n with i from 1 to n, got {shard[0]}/{shard[1]}")
        jobs = jobs[shard[0] - 1 :: shard[1]]
    for job in jobs:
        Request(
            job.folder(Path(out), preset), preset, minutes, steps, seed=job.seed,
            settings=settings, resume=True, device=device,
        ).check_options()  # fmt: skip
    recipe = Recipe(
        Path(out), preset, minutes, steps, tuple(settings), device, lpips_weights, tuple(extras)
    )
    outcome = Outcome()
    for job in jobs:
        outcome.kept += recipe.scores_file(job).is_file() and _same(job, recipe)
    if engine == "ray":
        errors = attempt_on_ray(jobs, recipe, address, say)
    else:
        errors = {job: attempt(job, recipe, say) for job in jobs}
    for job in jobs:
        if error := errors[job]:
            outcome.failed[job.name] = error
        else:
            outcome.scores.append(recipe.scores_file(job))
    return outcome


def _same(job: Job, recipe: Recipe) -> bool:
    try:
        return is_finished(job, recipe)
    except Exception:  # said when its turn comes
        return False

"""The whole benchmark for xscale: train, render and score every scene and split; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xscale.errors import UsageError, XscaleError
from xscale.giganvs.layout import PreparedScene
from xscale.giganvs.score import score
from xscale.giganvs.verify import scenes_of
from xscale.io.hashing import fingerprint_of
from xscale.io.storage import write_json, write_text
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.report.ranking import read_scores
from xscale.run.folder import RunFolder
from xscale.training.api import train

SCORES = "benchmark.json"


@dataclass(frozen=True)
class Job:
    """One training of the benchmark."""

    scene: Path
    split: str
    seed: int

    def folder(self, out: Path, preset: str) -> Path:
        """Return where its run lies."""
        return out / self.scene.name / self.split / f"xscale-{preset}-seed{self.seed}"


@dataclass
class Outcome:
    """Result of a benchmark."""

    scores: list[Path] = field(default_factory=list)
    kept: int = 0
    """Jobs that were finished before."""
    failed: dict[str, str] = field(default_factory=dict)


def jobs_of(scenes: Sequence[Path], splits: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Return the jobs in their order: scene by scene, split by split, seed by seed.

    Args:
        scenes: Prepared scenes.
        splits: Names of splits; ``cluster`` stands for all six.
        seeds: Seeds of the trainings.
    """
    jobs = []
    for scene in scenes:
        known = PreparedScene.open(scene).splits()
        chosen = [n for n in known if n in splits or ("cluster" in splits and "cluster" in n)]
        jobs += [Job(scene, split, seed) for split in chosen for seed in seeds]
    return jobs


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
    device: str = "auto",
    lpips_weights: str | Path | None = None,
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
        device: Where to train and render.
        lpips_weights: Folder with the backbones' weights.
        on_stage: Called with a line when a stage begins.

    Returns:
        Scores files, and what failed by job.

    Raises:
        UsageError: The shard is impossible, or no scene has such a split.
        InputError: ``root`` holds no prepared scene.
    """
    say = on_stage or (lambda line: None)
    jobs = jobs_of(scenes_of(root, scenes), splits, seeds)
    if not jobs:
        raise UsageError(f"no scene has a split called {', '.join(splits)}")
    if shard is not None:
        if not 1 <= shard[0] <= shard[1]:
            raise UsageError(f"--shard is i/n with i from 1 to n, got {shard[0]}/{shard[1]}")
        jobs = jobs[shard[0] - 1 :: shard[1]]
    outcome = Outcome()
    for job in jobs:
        folder = job.folder(Path(out), preset)
        name = f"{job.scene.name} {job.split} seed {job.seed}"
        wanted = fingerprint_of(
            {"minutes": minutes, "steps": steps, "settings": list(settings), "preset": preset}
        )
        try:
            if _finished(folder, wanted):
                outcome.kept += 1
            else:
                say(name)
                _one(job, folder, wanted, preset, minutes, steps, settings, device,
                     lpips_weights, say)  # fmt: skip
            outcome.scores.append(folder / SCORES)
        except XscaleError as error:
            say(f"{name}: {error}")
            outcome.failed[name] = str(error)
    return outcome


def _finished(folder: Path, wanted: str) -> bool:
    """Whether a job's scores are there, of the same options."""
    if not (folder / SCORES).is_file():
        return False
    found = read_scores(folder / SCORES).get("options")
    if found != wanted:
        raise UsageError(
            "holds scores of other options", where=folder, advice="choose another --out"
        )
    return True


def _one(
    job: Job,
    folder: Path,
    wanted: str,
    preset: str,
    minutes: float | None,
    steps: int | None,
    settings: Sequence[str],
    device: str,
    lpips_weights: str | Path | None,
    say: Callable[[str], None],
) -> None:
    prepared = PreparedScene.open(job.scene)
    split = prepared.split(job.split)
    names = folder.with_name("test.txt")
    write_text(names, "\n".join(split.test) + "\n", overwrite=True)
    train(
        prepared.scene,
        out=folder,
        preset=preset,
        minutes=minutes,
        steps=steps,
        test_list=names,
        seed=job.seed,
        settings=settings,
        resume=RunFolder(folder).is_run() or RunFolder(folder).never_begun(),
        device=device,
        on_stage=say,
    )
    opened = Run.open(folder)
    pictures, _ = render_views(opened, list(split.test), opened.folder.pictures("test"))
    scores = score(
        pictures,
        prepared,
        split=job.split,
        method=f"xscale {preset}",
        lpips_weights=lpips_weights,
    )
    scores["options"] = wanted
    scores["seed"] = job.seed
    write_json(folder / SCORES, scores)

"""``xscale giganvs``: the benchmark's five commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from xscale.cli._bars import bars
from xscale.cli._console import parse, progress_bar, result, say, warn
from xscale.cli._scene import SceneArguments


@dataclass(frozen=True)
class Verify:
    """Check prepared scenes: files, hashes, splits, leaks, coverage, LPIPS weights."""

    root: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="ROOT")]
    """Folder of prepared scenes, or one of them."""
    lpips_weights: Path | None = None
    """Folder with the weights of the LPIPS networks; default: XSCALE_LPIPS_WEIGHTS, then
    torchvision's cache."""


@dataclass(frozen=True, kw_only=True)
class Prepare(SceneArguments):
    """Write a scene in the benchmark's layout, with splits, coverage masks and hashes."""

    out: Annotated[Path, tyro.conf.arg(metavar="ROOT/NAME")]
    """The folder to make."""
    downscale: float = 1
    """Reduce the photos by this factor (exact area average); 1 copies them."""
    sizes: Literal["xscale", "official"] = "xscale"
    """Sizes of reduced photos: xscale rounds to the nearest pixel; official rounds down and divides
    K by exactly the factor, as the authors of the benchmark do."""
    seed: int = 0
    """Seed of the split into clusters."""
    unit: Literal["m", "cm", "mm"] | None = None
    """Length of a scene unit, if it is known; sizes of pixels are then in mm."""
    overwrite: bool = False
    """Replace an existing folder."""


@dataclass(frozen=True)
class Run:
    """Train, render and score every scene.

    Finished jobs are kept. A broken scene does not stop the others.
    """

    root: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="ROOT")]
    """Folder of prepared scenes, or one of them."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("giganvs-runs")
    """Folder for the runs."""
    scenes: list[str] | None = None
    """Names of scenes; default: all."""
    splits: list[str] | None = None
    """Names of splits; cluster stands for all six clusters; default: every7."""
    seeds: list[int] | None = None
    """Seeds of the trainings; default: 0."""
    preset: str = "default"
    """Settings to start from."""
    minutes: float | None = None
    """Length of each training in minutes; default: 10."""
    steps: int | None = None
    """Length of each training in steps."""
    set: list[str] | None = None
    """Change single settings, for example --set optim.batch=65536."""
    metrics: list[str] | None = None
    """Extra metrics to compute: dists, flip."""
    engine: Literal["local", "ray"] = "local"
    """Run the jobs in this process, or on a Ray cluster that sees ROOT and --out under the same
    paths."""
    address: str = "auto"
    """Address of the Ray cluster."""
    shard: str | None = None
    """Run every N-th job, beginning with the I-th; all shards share --out."""
    device: str = "auto"
    """Device to compute on."""
    lpips_weights: Path | None = None
    """Folder with the weights of the LPIPS networks; default: XSCALE_LPIPS_WEIGHTS, then
    torchvision's cache."""


@dataclass(frozen=True)
class Score:
    """Score the pictures of any method on a prepared scene."""

    pred: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder, zip or tar with the pictures, named as the photos or by index; also gsplat's
    canvases, results of nerfbaselines, and zips of ScanNet++."""
    scene: Annotated[Path, tyro.conf.arg(metavar="ROOT/NAME")]
    """The prepared scene."""
    split: str = "every7"
    """Name of the split, or a split file."""
    method: str | None = None
    """Name of the method; default: the name of --pred."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the scores; default: METHOD.json in the current folder."""
    metrics: list[str] | None = None
    """Extra metrics to compute: dists, flip."""
    exposure: Literal["fitted", "not fitted", "unknown"] = "unknown"
    """Whether the method fitted exposures or anything else to the test photos, for the record."""
    results: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Also write the results as nerfbaselines does: DIR/predictions.tar.gz and DIR/results.json."""
    lpips_weights: Path | None = None
    """Folder with the weights of the LPIPS networks; default: XSCALE_LPIPS_WEIGHTS, then
    torchvision's cache."""
    overwrite: bool = False
    """Replace existing results."""


@dataclass(frozen=True)
class Table:
    """Print a table that compares methods, with confidence intervals."""

    scores: Annotated[tyro.conf.Positional[list[Path]], tyro.conf.arg(metavar="SCORES")]
    """Scores files of giganvs score or giganvs run; several files of one method are its seeds."""
    format: Literal["markdown", "csv", "latex", "html"] = "markdown"
    """Format of the table."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write a page with the table and the protocol."""
    scene: Annotated[Path | None, tyro.conf.arg(metavar="ROOT/NAME")] = None
    """The prepared scene, for --pictures."""
    split: str = "every7"
    """Name of the split, for --pictures."""
    pictures: Annotated[list[str] | None, tyro.conf.arg(metavar="METHOD=DIR")] = None
    """Folders or archives with pictures that the page shows beside the photos."""
    quoted: bool = False
    """Also print published figures of other programs, in a table of their own, which
    --page shows too."""
    force: bool = False
    """Compare scores even if their protocols differ."""
    overwrite: bool = False
    """Replace an existing page."""


_COMMANDS = {"verify": Verify, "prepare": Prepare, "run": Run, "score": Score, "table": Table}
_HELP = """usage: xscale giganvs COMMAND ...

Run the GigaNVS benchmark, on its own scenes or on any scene in its layout.

  prepare SCENE --out ROOT/NAME   write a scene in the benchmark's layout, with splits and masks
  verify ROOT                     check prepared scenes
  run ROOT                        train, render and score xscale on every scene
  score --pred DIR --scene ...    score the pictures of any method
  table SCORES...                 compare methods in a table
`xscale giganvs COMMAND --help` explains a command.
"""


def run(argv: list[str]) -> int:
    """Run one of the commands."""
    from xscale.errors import UsageError

    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    if argv[0] not in _COMMANDS:
        raise UsageError(
            f"giganvs has no command {argv[0]}", advice=f"there are {', '.join(_COMMANDS)}"
        )
    options = parse(_COMMANDS[argv[0]], argv[1:], f"giganvs {argv[0]}")
    return {
        "verify": _verify,
        "prepare": _prepare,
        "run": _run,
        "score": _score,
        "table": _table,
    }[argv[0]](options)


def _verify(options: Verify) -> int:
    from xscale.errors import QualityError
    from xscale.giganvs.verify import lpips_notice, scenes_of, verify

    notice = lpips_notice(options.lpips_weights)
    if notice:
        warn(notice)
    bad = 0
    paths = scenes_of(options.root)
    for path in paths:
        verdict = verify(path, say)
        for line in verdict.remarks:
            warn(line)
        for line in verdict.faults:
            warn(f"{verdict.scene}: {line}")
        bad += bool(verdict.faults)
        result(f"{verdict.scene}: {'not usable' if verdict.faults else 'good'}")
    if bad:
        raise QualityError(
            f"{bad} of {len(paths)} scenes cannot be used",
            where=options.root,
            advice="mend what the lines above name, and prepare again",
        )
    return 0


def _prepare(options: Prepare) -> int:
    from xscale.giganvs.prepare import prepare

    scene = options.open()
    for line in scene.warnings:
        warn(line)
    with bars("photos", "coverage") as (on_photo, on_mask):
        made = prepare(
            scene,
            options.out,
            downscale=options.downscale,
            sizes=options.sizes,
            seed=options.seed,
            unit=options.unit,
            overwrite=options.overwrite,
            on_photo=on_photo,
            on_mask=on_mask,
        )
    say(f"splits: {', '.join(made.splits())}")
    result(options.out)
    say(f"next: xscale giganvs verify {options.out}")
    return 0


def _run(options: Run) -> int:
    from xscale.errors import PartialError
    from xscale.giganvs.run import run as run_benchmark
    from xscale.giganvs.verify import lpips_notice
    from xscale.metrics.variants import EXTRAS
    from xscale.report.ranking import rank, read_scores, table

    notice = lpips_notice(options.lpips_weights)
    if notice:
        warn(notice)
    outcome = run_benchmark(
        options.root,
        options.out,
        scenes=options.scenes,
        splits=options.splits or ["every7"],
        seeds=options.seeds or [0],
        preset=options.preset,
        minutes=options.minutes,
        steps=options.steps,
        settings=options.set or [],
        shard=_shard(options.shard),
        engine=options.engine,
        address=options.address,
        extras=(*EXTRAS, *(options.metrics or ())),
        device=options.device,
        lpips_weights=options.lpips_weights,
        on_stage=say,
    )
    if outcome.scores:
        result(table(rank([read_scores(path) for path in outcome.scores])))
    for path in outcome.scores:
        result(path)
    if outcome.failed:
        name, error = next(iter(outcome.failed.items()))
        raise PartialError(
            f"{len(outcome.failed)} of {len(outcome.failed) + len(outcome.scores)} jobs failed; "
            f"first {name}: {error}",
            where=options.out,
            advice="mend the scene, and run the same command again",
        )
    return 0


def _shard(text: str | None) -> tuple[int, int] | None:
    from xscale.errors import UsageError

    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None:
        raise UsageError(f"--shard takes i/n, got {text!r}", advice="for example 1/4")
    return int(found[1]), int(found[2])


def _score(options: Score) -> int:
    from xscale.errors import PartialError
    from xscale.giganvs.layout import PreparedScene
    from xscale.giganvs.score import method_name, score
    from xscale.giganvs.verify import lpips_notice
    from xscale.metrics.variants import EXTRAS
    from xscale.report.ranking import rank, table

    notice = lpips_notice(options.lpips_weights)
    if notice:
        warn(notice)
    prepared = PreparedScene.open(options.scene)
    method = options.method or method_name(options.pred)
    out = options.out or Path(f"{method.replace('/', '_')}.json")
    test = prepared.split(options.split).test
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=len(test))
        scores = score(
            options.pred,
            prepared,
            split=options.split,
            method=method,
            out=out,
            results=options.results,
            exposure=options.exposure,
            extras=(*EXTRAS, *(options.metrics or ())),
            lpips_weights=options.lpips_weights,
            overwrite=options.overwrite,
            progress=lambda name: bar.advance(task),
        )
    for line in scores["protocol"]["warnings"]:
        warn(line)
    result(table(rank([scores])))
    result(out)
    if scores["missing"]:
        raise PartialError(
            f"{len(scores['missing'])} of {len(test)} test photos have no picture, first "
            f"{scores['missing'][0]}",
            where=options.pred,
            advice="render all test photos of the split",
        )
    return 0


def _table(options: Table) -> int:
    from xscale.errors import UsageError
    from xscale.report.ranking import rank, read_scores, table

    files = [read_scores(path) for path in options.scores]
    rankings = rank(files, force=options.force)
    if options.pictures and options.page is None:
        raise UsageError("--pictures shows pictures on a page", advice="add --page FILE")
    result(table(rankings, options.format))
    if options.quoted:
        from xscale.giganvs.quoted import quoted_table

        result(quoted_table(options.format))
    if options.page is not None:
        from xscale.report.ranking_page import write_page

        pictures, thumbnails = _pictures(options, [file["method"] for file in files])
        page = write_page(
            options.page,
            files,
            rankings,
            pictures=pictures,
            thumbnails=thumbnails,
            quoted=quoted_table("html") if options.quoted else "",
            overwrite=options.overwrite,
        )
        result(page)
    return 0


def _pictures(options: Table, scored: list[str]) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the page's sections with pictures, and thumbnails by scene; empty without them."""
    from xscale.errors import UsageError
    from xscale.giganvs.layout import PreparedScene
    from xscale.giganvs.score import scene_name
    from xscale.report.predictions import find_predictions
    from xscale.report.ranking_pictures import pictures_section, thumbnails

    if not options.pictures:
        return "", {}
    if options.scene is None:
        raise UsageError("--pictures needs the scene's photos", advice="add --scene ROOT/NAME")
    prepared = PreparedScene.open(options.scene)
    split = prepared.split(options.split)
    methods = {}
    for text in options.pictures:
        method, equals, folder = text.partition("=")
        if not (method and equals and folder):
            raise UsageError(f"--pictures takes METHOD=DIR, got {text!r}")
        if method not in scored:
            raise UsageError(
                f"--pictures names {method}, which has no scores here",
                advice=f"there are {', '.join(dict.fromkeys(scored))}",
            )
        methods[method] = find_predictions(folder, split.test, split.photos, prepared.name)
    section = pictures_section(prepared.name, split.test, prepared.photo, methods)
    return section, {scene_name(prepared, split): thumbnails(split.test, prepared.photo)}

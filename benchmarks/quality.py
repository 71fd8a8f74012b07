"""Compare `default` with what users have today, and say where the rest is lost.

    python -m benchmarks.quality --scenes FOLDER --runs FOLDER [--only SCENE ...]
        [--bound SCENE] [--paper SCENE] [--downscale 4] [--steps 400]

The scores of `default` are those that benchmarks.scenes put into results/scenes.json; the
baselines are baselines.json's. Writes each bar with its figure. `--bound` trains a scene twice at
equal steps, once as always and once with the test photos among the training photos (all but one
photo that was for training anyway, as a list may not be empty): what a better generalisation could
win at most. `--paper` trains `default` and `paper` at equal rays. `--errors` splits the squared
error of the runs RUNS/SCENE (benchmarks.scenes leaves them there) by where it lies. All of it
is merged into results/quality.json, and the tables stand in RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import _causes, _runs, tables
from xscale.cli import _machine
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.report.score import score_renders
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
PSNR_MARGIN = 1.5
LPIPS_SHARE = 0.8
RAW = ("psnr_covered", "ssim_covered", "lpips_vgg_covered", "lpips_alex_covered")
FITTED = tuple(f"{name}_cc" for name in RAW)


def main() -> None:
    """Compare, run what was asked for, write the tables."""
    parser = _runs.parser(__doc__, downscale=4.0, steps=400)
    parser.add_argument("--bound", metavar="SCENE")
    parser.add_argument("--paper", metavar="SCENE")
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    baselines = json.loads((options.scenes / "baselines.json").read_text())
    target = HERE / "results" / "quality.json"
    result = json.loads(target.read_text()) if target.is_file() else {"pairs": {}, "causes": {}}
    result["machine"] = _machine.describe()
    size = ["--downscale", f"{options.downscale:g}"]
    if options.bound:
        result["pairs"][f"{options.bound}: test photos trained on"] = _bound(options, size)
    if options.paper:
        result["pairs"][f"{options.paper}: the paper's preset"] = _paper(options, size)
    ours = json.loads((HERE / "results" / "scenes.json").read_text())["scenes"]
    names = [n for n in baselines if n in ours and (not options.only or n in options.only)]
    if options.errors:
        for name in (n for n in names if (options.runs / n / "manifest.json").exists()):
            scene, run = Scene.open(options.scenes / name), Run.open(options.runs / name)
            made = _runs.about(options.scenes / name, options.runs / name, ())
            result["causes"][name] = {**_causes.split_error(scene, run), **made}
    target.write_text(json.dumps(result, indent=1) + "\n")
    rows = [row for n in names for row in bars(n, ours[n], baselines[n])]
    tables.write("bars", tables.table(["scene", "bar", "ours", "mark", "met"], rows, 2))
    tables.write("pairs", pairs(result["pairs"]))
    tables.write("causes", _causes.table(result["causes"]))


def bars(scene: str, ours: dict, baselines: dict) -> list[list[str]]:
    """Return rows (scene, bar, our figure, the mark, whether it is met).

    Args:
        scene: Its name.
        ours: Mean scores of `default`, and those ``with_photos`` where there are any.
        baselines: The scene's part of baselines.json.
    """
    rows = []

    def row(text: str, metric: str, mark: float, scores: str = "mean") -> None:
        figure = ours[scores][metric]
        met = figure <= mark if metric.startswith("lpips") else figure >= mark
        figures = [tables.number(x, 4) for x in (figure, mark)]
        rows.append([scene, text, *figures, "yes" if met else "no"])

    for metric in FITTED:
        mark = best(baselines["scenes"], metric)
        if metric.startswith("psnr"):
            row(f"{metric}: {PSNR_MARGIN} dB above the best representation", metric,
                mark + PSNR_MARGIN)  # fmt: skip
        elif metric.startswith("lpips"):
            row(f"{metric}: 20 % below the best representation", metric, LPIPS_SHARE * mark)
        else:
            row(f"{metric}: the best representation", metric, mark)
    for metric in RAW:
        row(f"{metric}: the best representation", metric, best(baselines["scenes"], metric))
    for metric in FITTED:
        row(f"{metric}: image-based k4", metric, baselines["image_based"]["k4"][metric])
    for metric in FITTED if "with_photos" in ours else ():
        better = min if metric.startswith("lpips") else max
        mark = better(ours["mean"][metric], baselines["image_based"]["k4"][metric])
        row(f"{metric}, source photos: the better parent", metric, mark, "with_photos")
    return rows


def best(methods: dict[str, dict], metric: str) -> float:
    """Return the best figure of several methods; methods without it are passed over."""
    values = [scores[metric] for scores in methods.values() if scores.get(metric) is not None]
    return min(values) if metric.startswith("lpips") else max(values)


def pairs(found: dict[str, dict[str, dict]]) -> list[str]:
    """Return the lines of the table of runs that differ in one thing."""
    heads = ["pair", "run", *_runs.SHORT, "M rays", "seconds"]
    rows = []
    for pair, runs in found.items():
        for label, run in runs.items():
            scores = _runs.covered(run["mean"])
            figures = [tables.number(scores[name], 4) for name in _runs.SHORT]
            cost = [f"{run['rays'] / 1e6:.0f}", f"{run['seconds']:.0f}"]
            rows.append([pair, f"`{run['command']}` {label}", *figures, *cost])
    return tables.table(heads, rows, text_columns=2)


def _bound(options: argparse.Namespace, size: list[str]) -> dict[str, dict]:
    folder = options.scenes / options.bound
    scene = Scene.open(folder)
    split = scene.split()
    size = [*size, "--steps", f"{options.steps}"]
    usual = _runs.train_and_score(folder, options.runs / f"{options.bound}_usual", size)
    out = options.runs / f"{options.bound}_bound"
    out.parent.mkdir(parents=True, exist_ok=True)
    held = out.with_name(f"{out.name}.txt")
    held.write_text(split.train[len(split.train) // 2] + "\n")
    chosen = [*size, "--test-list", str(held)]
    _runs.train(folder, out, chosen)
    run = Run.open(out)
    pictures, coverage = render_views(run, split.test, out / "renders" / "bound")
    scores = score_renders(
        split.test, lambda name: scene.photo(name).read(run.downscale), pictures, coverage
    )
    shown = [*size, "--test-list", held.name]
    bound = {"mean": scores["mean"], **_runs.about(folder, out, shown)}
    return {"": usual, "(not held out: an upper bound)": bound}


def _paper(options: argparse.Namespace, size: list[str]) -> dict[str, dict]:
    folder, name = options.scenes / options.paper, options.paper
    ours = [*size, "--steps", f"{options.steps}"]
    # The preset's step has twice the rays of ours.
    theirs = [*size, "--steps", f"{options.steps // 2}", "--preset", "paper"]
    return {
        "": _runs.train_and_score(folder, options.runs / f"{name}_usual", ours),
        "(as published)": _runs.train_and_score(folder, options.runs / f"{name}_paper", theirs),
    }


if __name__ == "__main__":
    main()

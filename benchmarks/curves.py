"""More pixels and more time: scores against the photos' size and against the steps of a training.

    python -m benchmarks.curves --scenes FOLDER --runs FOLDER [--only SCENE ...]
        [--sizes 8 4 2] [--shown 2] [--steps 300] [--lengths 50 100 200 400] [--length-size 4]

Sizes: a training at each photo size with the same number of rays; all are rendered at the finest of
the sizes (or ``--shown``) and scored against photos of that size, so that rows differ in what they
were trained on and in nothing else. Lengths: trainings of several lengths at one size, each with
its own schedule.
Existing runs are kept. Writes results/curves.json, its table in RESULTS.md, and its
curves beside it as SVG.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _chart, _runs, tables
from xscale.cli import _machine
from xscale.io.names import png_name
from xscale.io.photo.images import write_png
from xscale.render.run import Run
from xscale.scene.scene import Scene

HERE = Path(__file__).parent


def main() -> None:
    """Run what is missing, then write the table."""
    parser = _runs.parser(__doc__, steps=300)
    parser.add_argument("--sizes", nargs="*", type=float, default=[8.0, 4.0, 2.0])
    parser.add_argument("--shown", type=float, help="size that all are scored at")
    parser.add_argument("--lengths", nargs="*", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--length-size", type=float, default=4.0)
    options = parser.parse_args()
    target = HERE / "results" / "curves.json"
    result = json.loads(target.read_text()) if target.is_file() else {"scenes": {}}
    result["machine"] = _machine.describe()
    for name in _runs.names(options):
        scene, runs = options.scenes / name, options.runs / name
        found = result["scenes"].setdefault(name, {})
        if options.sizes:
            shown = options.shown or min(options.sizes)
            found["sizes"] = sizes(scene, runs, options.sizes, options.steps, shown)
        if options.lengths:
            found["lengths"] = lengths(scene, runs, options.length_size, options.lengths)
        target.write_text(json.dumps(result, indent=1) + "\n")
        for label, picture in drawn(found).items():
            (target.parent / f"curves-{name}-{label}.svg").write_text(picture)
    tables.write("curves", table(result["scenes"]))


def sizes(
    scene: Path, runs: Path, downscales: Sequence[float], steps: int, shown: float
) -> list[dict]:
    """Train at every size, render and score all at the size ``shown``; return a run a size."""
    found = []
    for downscale in downscales:
        out = runs / f"size_{downscale:g}"
        options = ["--downscale", f"{downscale:g}", "--steps", f"{steps}"]
        file = out.with_name(f"{out.name}_at_{shown:g}.json")
        if not file.exists():
            _runs.train(scene, out, options)
            file.write_text(json.dumps(scored_at(scene, Run.open(out), shown)) + "\n")
        found.append(
            {
                "mean": json.loads(file.read_text()),
                "shown": shown,
                **_runs.about(scene, out, options),
            }
        )
    return found


def lengths(scene: Path, runs: Path, downscale: float, steps: Sequence[int]) -> list[dict]:
    """Train at one size for several numbers of steps; return a run a length."""
    return [
        {
            "shown": downscale,
            **_runs.train_and_compare(
                scene,
                runs / f"steps_{count}",
                ["--downscale", f"{downscale:g}", "--steps", f"{count}"],
            ),
        }
        for count in steps
    ]


def drawn(found: dict[str, list[dict]]) -> dict[str, str]:
    """Return SVG documents by name: psnr and lpips_vgg against photo size and against steps.

    Args:
        found: A scene's lists of ``sizes`` and ``lengths``, those that there are.
    """
    pictures = {}
    for curve, key, across in (
        ("sizes", "downscale", "photos of the training reduced by"),
        ("lengths", "steps", "steps of the training"),
    ):
        runs = found.get(curve, [])
        for short in ("psnr", "lpips_vgg") if runs else ():
            values = [_runs.covered(run["mean"])[short] for run in runs]
            places = [f"{run[key]:g}" for run in runs]
            pictures[f"{curve}-{short}"] = _chart.chart(short, across, places, {"default": values})
    return pictures


def scored_at(
    folder: Path, run: Run, downscale: float, samples: int = 1, out: Path | None = None
) -> dict:
    """Return the mean scores of a run's test views, rendered in another way than it was trained.

    Args:
        folder: The scene's.
        run: What is rendered.
        downscale: Size of the pictures and of the photos that they are compared with.
        samples: Along a pixel's edge.
        out: Where the pictures go; by default beside the run's others.
    """
    scene = Scene.open(folder)
    pictures = out or run.path / "renders" / f"shown_{downscale:g}"
    coverage = pictures / "coverage"
    for name in run.names("test"):
        camera = scene.photo(name).camera_at(downscale)
        colour = run.render(camera, samples=samples).colour.numpy()
        write_png(pictures / png_name(name), colour, overwrite=True)
        # By the protocol the pixels' centres count, however many samples there are.
        mask = run.render(camera, ("coverage",)).coverage.numpy().astype("uint8") * 255
        write_png(coverage / png_name(name), mask, overwrite=True)
    return _runs.compared(scene, run.names("test"), downscale, pictures)


def table(found: dict[str, dict]) -> list[str]:
    """Return the lines of the table: a row a run.

    Args:
        found: By scene, the lists of ``sizes`` and ``lengths``.
    """
    heads = ["scene", "curve", "run", "scored at K", *_runs.SHORT, "M rays", "seconds"]
    rows = []
    for scene, curves in found.items():
        for curve in ("sizes", "lengths"):
            for run in curves.get(curve, []):
                scores = _runs.covered(run["mean"])
                figures = [tables.number(scores[name], 4) for name in _runs.SHORT]
                cost = [f"{run['rays'] / 1e6:.1f}", f"{run['seconds']:.0f}"]
                label = {"sizes": "photo size", "lengths": "time"}[curve]
                rows.append(
                    [scene, label, f"`{run['command']}`", f"{run['shown']:g}", *figures, *cost]
                )
    return tables.table(heads, rows, text_columns=3)


if __name__ == "__main__":
    main()

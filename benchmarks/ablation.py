"""Worth of each component of `default`: components x scenes x scores x time.

    python -m benchmarks.ablation --scenes FOLDER --runs FOLDER [--features] [--only SCENE ...]
        [--variants NAME ...] [--downscale 4] [--steps 400]

Every variant is `default` with one setting changed (or the `paper` preset) and sees the same number
of rays in the same order, so a busy machine changes the seconds and nothing else; "another seed"
tells how much of a difference is chance. `--features` runs the published comparison instead: the
same shader and as many trained numbers, but features at vertices, in a texture, or in the volume
around the surface. Existing runs are kept: the command can be broken off and started
again, and other sizes and lengths stand beside. Writes benchmarks/results/ablation.json (or
features.json), its two tables in benchmarks/RESULTS.md (means over the scenes, and every scene),
and in RUNS/K.../ablation.html (or features.html) crops of one test photo a scene.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import _runs, curves, tables
from xscale.cli import _machine
from xscale.io.names import png_name
from xscale.io.photo.images import read_rgb
from xscale.render.run import Run
from xscale.report.pictures import embed
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
CROP = 192
RAYS = 32768
"""A step of `default` has so many."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "paper": ("--preset", "paper"),
    "another seed": ("--seed", "1"),
    "random draws": ("--set", "pool.draw=random"),
    "loss l2": ("--set", "optim.loss=l2"),
    "loss charbonnier": ("--set", "optim.loss=charbonnier"),
    "no exposure": ("--set", "model.shader.exposure=none"),
    "no footprint fading": ("--set", "model.grid.footprint_scale=0"),
    "smoothstep": ("--set", "model.grid.interpolation=smoothstep"),
    "finest cell of 2 footprints": ("--set", "model.grid.finest_cell=2"),
    "two features a level": ("--set", "model.grid.features_per_level=2"),
    "eight levels": ("--set", "model.grid.levels=8"),
    "rates never fall": ("--set", "optim.final_rate=1"),
    "last 30 % squares, SSIM": ("--set", "patch.share=0.3"),
    "last 30 % squares, SSIM and VGG": ("--set", "patch.share=0.3", "patch.features=0.3"),
    "no decay of the direction's weights": ("--set", "optim.direction_decay=0"),
    "rays stay where they are": (
        "--set",
        "optim.pixel_jitter=0",
        "optim.direction_jitter=0",
    ),
    "rays move in their pixels alone": ("--set", "optim.direction_jitter=0"),
    "directions turn alone": ("--set", "optim.pixel_jitter=0"),
    "rays move from the first step": ("--set", "optim.jitter_after=0"),
    "a latent of 8 a photo": ("--set", "model.shader.latent=8"),
    "robust weights, 0.1": ("--set", "optim.robust=0.1"),
    "half the rays a step, twice the steps": ("--set", "optim.batch=16384"),
    "128 wide shader": ("--set", "model.shader.hidden=128"),
}
SAMPLES = {"four samples a pixel": 2}
"""Variants that are `default` rendered with several samples along a pixel's edge."""
BATCH = {"paper": 65536, "half the rays a step, twice the steps": 16384}
"""Rays a step, where they are not the default's."""
FEATURES: dict[str, tuple[str, ...]] = {
    "default": (),
    "at vertices": ("--set", "model.encoding=vertex"),
    "in a texture": ("--set", "model.encoding=texture"),
    "in the volume": ("--set", "model.encoding=volume"),
}


def main() -> None:
    """Run what is missing, then write the table and the page."""
    parser = _runs.parser(__doc__, downscale=4.0, steps=400)
    parser.add_argument("--features", action="store_true")
    every = {**VARIANTS, **SAMPLES}
    parser.add_argument("--variants", nargs="*", choices=[*every, *FEATURES])
    options = parser.parse_args()
    group = "features" if options.features else "ablation"
    every = FEATURES if options.features else every
    chosen = [v for v in every if options.variants is None or v in options.variants]
    target = HERE / "results" / f"{group}.json"
    kept = json.loads(target.read_text())["runs"] if target.is_file() else {}
    group_of = kept.setdefault(f"{options.steps * RAYS / 1e6:.1f} M rays", {})
    runs = options.runs / f"K{options.downscale:g}_{options.steps}"
    for name in _runs.names(options):
        row = group_of.setdefault(f"{name}, K = {options.downscale:g}", {})
        for variant in chosen:
            out = run_folder(runs, name, variant)
            if variant in SAMPLES:
                usual = run_folder(runs, name, "default")
                row[variant] = _resampled(options.scenes / name, usual, out, SAMPLES[variant])
                continue
            steps = options.steps * RAYS // BATCH.get(variant, RAYS)
            size = ("--downscale", f"{options.downscale:g}", "--steps", f"{steps}")
            run = _runs.train_and_compare(options.scenes / name, out, [*size, *every[variant]])
            row[variant] = {**run, "numbers": Run.open(out).model.field.table.numel()}
        (runs / f"{group}.html").write_text(page(options.scenes, runs, list(every)))
        result = {"machine": _machine.describe(), "runs": kept}
        target.write_text(json.dumps(result, indent=1) + "\n")
        tables.write(group, [*summary(kept), "", *table(kept)])


def run_folder(runs: Path, scene: str, variant: str) -> Path:
    """Return where a variant's run lies."""
    return runs / scene / variant.replace(" ", "_")


def summary(found: dict[str, dict[str, dict[str, dict]]]) -> list[str]:
    """Return the lines of the table of means: a row a variant and length of training.

    Gains are means over the scenes (of one size each) that have both the variant and `default`;
    LPIPS in percent of `default`'s, and the last column is the worst scene's gain in PSNR.

    Args:
        found: By rays, scene with size, and variant, as ``table`` takes it.
    """
    heads = ["rays", "variant", "scenes", "psnr gain", "ssim gain", "alex gain, %"]
    heads += ["vgg gain, %", "worst psnr gain"]
    rows = []
    for label, scenes in found.items():
        variants = dict.fromkeys(v for runs in scenes.values() for v in runs if v != "default")
        for variant in variants:
            both = [
                [_runs.covered(runs[v]["mean"]) for v in ("default", variant)]
                for runs in scenes.values()
                if "default" in runs and variant in runs
            ]
            if not both:
                continue
            gains = np.array(
                [
                    [
                        theirs["psnr"] - ours["psnr"],
                        theirs["ssim"] - ours["ssim"],
                        100 * (1 - theirs["lpips_alex"] / ours["lpips_alex"]),
                        100 * (1 - theirs["lpips_vgg"] / ours["lpips_vgg"]),
                    ]
                    for ours, theirs in both
                ]
            )
            means = zip(gains.mean(0), (2, 4, 1, 1), strict=True)
            figures = [f"{gain:+.{digits}f}" for gain, digits in means]
            rows.append([label, variant, f"{len(both)}", *figures, f"{gains[:, 0].min():+.2f}"])
    return tables.table(heads, rows, text_columns=2)


def table(found: dict[str, dict[str, dict[str, dict]]]) -> list[str]:
    """Return the lines of the table: a row a run, differences to `default` beside.

    Args:
        found: By rays, scene with size, and variant what ``train_and_compare`` returns, and how
            many ``numbers`` the features are.
    """
    heads = ["rays", "scene", "variant", *_runs.SHORT, "psnr gain", "vgg gain"]
    heads += ["M numbers", "seconds"]
    rows = []
    for label, scene, variants in ((k, s, v) for k, of in found.items() for s, v in of.items()):
        base = _runs.covered(variants["default"]["mean"]) if "default" in variants else {}
        for variant, run in variants.items():
            scores = _runs.covered(run["mean"])
            gains = [
                tables.number(_less(scores["psnr"], base.get("psnr")), 3),
                tables.number(_less(base.get("lpips_vgg"), scores["lpips_vgg"]), 4),
            ]
            figures = [tables.number(scores[name], 4) for name in _runs.SHORT]
            cost = [f"{run['numbers'] / 1e6:.2f}", f"{run['seconds']:.0f}"]
            rows.append([label, scene, variant, *figures, *gains, *cost])
    return tables.table(heads, rows, text_columns=3)


def page(scenes: Path, runs: Path, variants: Sequence[str]) -> str:
    """Return an HTML page with one crop a scene and variant beside the photo's.

    The crop is where the covered share is largest, nearest to the picture's middle: the same for
    all variants, chosen without looking at any result.

    Args:
        scenes: The folder of the scenes.
        runs: That of their runs.
        variants: Those shown, where they are there.
    """
    parts = ["<!doctype html><meta charset=utf-8><title>Ablation</title>"]
    parts.append("<style>figure{display:inline-block;margin:4px;font:13px sans-serif}</style>")
    for name in sorted(path.name for path in runs.iterdir() if path.is_dir()):
        outs = {v: run_folder(runs, name, v) for v in variants}
        outs = {v: out for v, out in outs.items() if (out / "compared.json").exists()}
        trained = [out for out in outs.values() if (out / "manifest.json").exists()]
        if not trained:
            continue
        first = Run.open(trained[0])
        photo = first.names("test")[len(first.names("test")) // 2]
        file = png_name(photo)
        coverage = read_rgb(first.path / "renders" / "test" / "coverage" / file)[0][..., 0] > 127
        row, column = crop_corner(coverage, CROP)
        window = (slice(row, row + CROP), slice(column, column + CROP))
        pictures = {"photo": Scene.open(scenes / name).photo(photo).read(first.downscale)[window]}
        for variant, out in outs.items():
            pictures[variant] = read_rgb(out / "renders" / "test" / file)[0][window]
        parts.append(f"<h2>{html.escape(name)}, {html.escape(photo)}</h2>")
        embedded = embed(list(pictures.values()), 4_000_000)
        for label, picture in zip(pictures, embedded, strict=True):
            size = f"width={2 * picture.width} height={2 * picture.height}"
            image = f'<img src="{picture.uri}" {size} style="image-rendering:pixelated">'
            parts.append(f"<figure>{image}<figcaption>{html.escape(label)}</figcaption></figure>")
    return "\n".join(parts) + "\n"


def crop_corner(coverage: np.ndarray, edge: int) -> tuple[int, int]:
    """Return (row, column) of the best covered square, of equals the one nearest the middle.

    Args:
        coverage: Bool [H, W].
        edge: The square's side in pixels; cut to the picture where that is smaller.
    """
    height, width = (max(1, side - edge + 1) for side in coverage.shape)
    sums = np.pad(coverage.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    tall, wide = (min(edge, side) for side in coverage.shape)
    count = (
        sums[tall : tall + height, wide : wide + width]
        - sums[:height, wide : wide + width]
        - sums[tall : tall + height, :width]
        + sums[:height, :width]
    )
    rows, columns = np.mgrid[:height, :width]
    away = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2
    best = np.argmin(np.where(count == count.max(), away, np.inf))
    return tuple(int(i) for i in np.unravel_index(best, count.shape))


def _resampled(scene: Path, usual: Path, out: Path, samples: int) -> dict:
    """Score `default`'s run with several samples a pixel; existing pictures are kept."""
    run, kept = Run.open(usual), out / "compared.json"
    about = _runs.about(scene, usual, ())
    about["command"] = f"xscale render --samples {samples}"
    if not kept.exists():
        pictures = out / "renders" / "test"
        mean = curves.scored_at(scene, run, run.downscale, samples, pictures)
        kept.write_text(json.dumps(mean) + "\n")
    numbers = run.model.field.table.numel()
    return {"mean": json.loads(kept.read_text()), **about, "numbers": numbers}


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


if __name__ == "__main__":
    main()

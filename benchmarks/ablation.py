"""What each component of `default` is worth: components x scenes x scores x time.

    python -m benchmarks.ablation --scenes FOLDER --runs FOLDER [--features] [--only SCENE ...]
        [--variants NAME ...] [--downscale 4] [--steps 400]

Every variant is `default` with one setting changed (or the `paper` preset) and sees the same number
of rays in the same order, so a busy machine changes the seconds and nothing else. `--features` runs
the published comparison instead: the same shader and as many trained numbers, but features at
vertices, in a texture, or in the volume around the surface. Runs that are there already are kept:
the command can be broken off and started again. Writes benchmarks/results/ablation.json (or
features.json), its table in benchmarks/RESULTS.md, and RUNS/ablation.html (or features.html) with
crops of one test photo a scene.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import _runs, tables
from xscale.cli import _machine
from xscale.io.images import read_rgb
from xscale.render.run import Run
from xscale.report.pictures import embed
from xscale.report.score import png_name
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
CROP = 192

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "paper": ("--preset", "paper"),
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
    "learned background": ("--set", "model.background=learned"),
    "no decay of the direction's weights": ("--set", "optim.direction_decay=0"),
    "a latent of 8 a photo": ("--set", "model.shader.latent=8"),
    "robust weights, 0.1": ("--set", "optim.robust=0.1"),
}
FEATURES: dict[str, tuple[str, ...]] = {
    "default": (),
    "at vertices": ("--set", "model.encoding=vertex"),
    "in a texture": ("--set", "model.encoding=texture"),
    "in the volume": ("--set", "model.encoding=volume"),
}


def main() -> None:
    """Run what is missing, then write the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of scenes")
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--variants", nargs="*", choices=[*VARIANTS, *FEATURES])
    parser.add_argument("--downscale", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    group, every = ("features", FEATURES) if options.features else ("ablation", VARIANTS)
    chosen = [v for v in every if options.variants is None or v in options.variants]
    names = options.only or list(json.loads((options.scenes / "baselines.json").read_text()))
    rays = options.steps * 32768
    found: dict[str, dict] = {}
    for name in names:
        scene = options.scenes / name
        for variant in chosen:
            # The paper's step has twice the rays.
            steps = options.steps // 2 if variant == "paper" else options.steps
            size = ("--downscale", f"{options.downscale:g}", "--steps", f"{steps}")
            out = run_folder(options.runs, name, variant)
            run = _runs.train_and_score(scene, out, [*size, *every[variant]])
            run["numbers"] = Run.open(out).model.field.table.numel()
            found.setdefault(name, {})[variant] = run
        (options.runs / f"{group}.html").write_text(
            page({n: options.scenes / n for n in found}, options.runs, chosen)
        )
    target = HERE / "results" / f"{group}.json"
    kept = json.loads(target.read_text())["scenes"] if target.is_file() else {}
    merged = {n: {**kept.get(n, {}), **found.get(n, {})} for n in {**kept, **found}}
    result = {"machine": _machine.describe(), "rays": rays, "scenes": merged}
    target.write_text(json.dumps(result, indent=1) + "\n")
    tables.write(group, table(merged))


def run_folder(runs: Path, scene: str, variant: str) -> Path:
    """Return where a variant's run lies."""
    return runs / scene / variant.replace(" ", "_")


def table(found: dict[str, dict[str, dict]]) -> list[str]:
    """Return the lines of the table: a row a scene and variant, differences to `default` beside.

    Args:
        found: By scene and variant what ``train_and_score`` returns, and how many ``numbers`` the
            features are.
    """
    heads = ["scene", "variant", *_runs.SHORT, "psnr gain", "vgg gain"]
    heads += ["M numbers", "M rays", "seconds"]
    rows = []
    for scene, variants in found.items():
        base = _runs.covered(variants["default"]["mean"]) if "default" in variants else {}
        for variant, run in variants.items():
            scores = _runs.covered(run["mean"])
            gains = [
                tables.number(_less(scores["psnr"], base.get("psnr")), 3),
                tables.number(_less(base.get("lpips_vgg"), scores["lpips_vgg"]), 4),
            ]
            figures = [tables.number(scores[name], 4) for name in _runs.SHORT]
            cost = [f"{run['numbers'] / 1e6:.2f}", f"{run['rays'] / 1e6:.1f}"]
            cost.append(f"{run['seconds']:.0f}")
            rows.append([scene, variant, *figures, *gains, *cost])
    return tables.table(heads, rows, text_columns=2)


def page(scenes: dict[str, Path], runs: Path, variants: Sequence[str]) -> str:
    """Return an HTML page with one crop a scene and variant beside the photo's.

    The crop is where the covered share is largest, nearest to the picture's middle: the same for
    all variants, chosen without looking at any result.
    """
    parts = ["<!doctype html><meta charset=utf-8><title>Ablation</title>"]
    parts.append("<style>figure{display:inline-block;margin:4px;font:13px sans-serif}</style>")
    for name, folder in scenes.items():
        there = [v for v in variants if (run_folder(runs, name, v) / "scores.json").exists()]
        if not there:
            continue
        first = Run.open(run_folder(runs, name, there[0]))
        photo = first.names("test")[len(first.names("test")) // 2]
        file = png_name(photo)
        coverage = read_rgb(first.path / "renders" / "test" / "coverage" / file)[0][..., 0] > 127
        row, column = crop_corner(coverage, CROP)
        window = (slice(row, row + CROP), slice(column, column + CROP))
        pictures = {"photo": Scene.open(folder).photo(photo).read(first.downscale)[window]}
        for variant in there:
            render = run_folder(runs, name, variant) / "renders" / "test" / file
            pictures[variant] = read_rgb(render)[0][window]
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


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


if __name__ == "__main__":
    main()

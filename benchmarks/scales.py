"""Near and far: scores by a pixel's size on the surface, and pictures from other distances.

    python -m benchmarks.scales --scenes FOLDER --runs FOLDER [--only SCENE ...]
        [--downscale 4] [--steps 400]

Trains `default`, and `default` without the fading of levels finer than a pixel, where they are not
there already. Three tables: test photos by footprint octave; test views at several sizes, from a
quarter of the trained size (as from afar) to twice, against photos of that size; and by how much
neighbouring frames differ at equal surface points, from 8 times the photo's distance to a quarter.
The latter two also with as many samples a pixel as `xscale render` takes, where that is not one.
Writes results/scales.json, its tables in RESULTS.md, its curves beside it as SVG, and
RUNS/scales.html with what a zoom shows, frame by frame. A scene of `xscale demo` is taken as it is
(--downscale 1).
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import _chart, _runs, _shimmer, ablation, curves, tables
from xscale.cli import _machine
from xscale.geometry.camera import Camera
from xscale.render.run import Run
from xscale.render.sampling import samples_for
from xscale.report.pictures import embed
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
PAIR = ("default", "no footprint fading")
SIZES = (4.0, 2.0, 1.0, 0.5)
"""Downscale in units of the training's."""
DISTANCES = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""In units of the photo's."""
CHOSEN = "_chosen"
"""Suffix of what is rendered with the samples that `xscale render` takes."""
LABEL = "samples as chosen"


def main() -> None:
    """Run what is missing, measure, write the tables."""
    options = _runs.parser(__doc__, downscale=4.0, steps=400).parse_args()
    target = HERE / "results" / "scales.json"
    result = json.loads(target.read_text()) if target.is_file() else {"scenes": {}}
    result["machine"] = _machine.describe()
    for name in _runs.names(options):
        found, strips = {}, {}
        for variant in PAIR:
            out = ablation.run_folder(options.runs, name, variant)
            chosen = [*_runs.size(options), *ablation.VARIANTS[variant]]
            _runs.train(options.scenes / name, out, chosen)
            run = Run.open(out)
            about = _runs.about(options.scenes / name, out, chosen)
            kept = out / "scales.json"
            parts = json.loads(kept.read_text()) if kept.exists() else {}
            parts = measure(options.scenes / name, run, parts)
            kept.write_text(json.dumps(parts) + "\n")
            found[variant] = {**parts, **about}
            strips[variant] = _shimmer.zoom(run, middle_view(run), DISTANCES)
        result["scenes"][name] = found
        target.write_text(json.dumps(result, indent=1) + "\n")
        for curve, picture in curves_of(found).items():
            (target.parent / f"scales-{name}-{curve}.svg").write_text(picture)
        (options.runs / f"{name}_zoom.html").write_text(page(name, strips))
    tables.write("scales", table(result["scenes"]))


def measure(folder: Path, run: Run, found: dict) -> dict:
    """Return a run's scores by octave and by size, and its warping error by distance.

    Args:
        folder: The scene's.
        run: What is measured.
        found: Existing parts.
    """
    found = dict(found)
    if "octaves" not in found:
        middle = _shimmer.middle_footprint(run)
        octaves = _shimmer.octaves(Scene.open(folder), run, middle)
        found["octaves"] = {str(k): part for k, part in octaves.items()}
    sizes = [size for size in SIZES if run.downscale * size >= 1]
    scene = Scene.open(folder)
    for size in sizes:
        cameras = [scene.photo(name).camera_at(run.downscale * size) for name in run.names("test")]
        for way, samples in _ways(run, cameras):
            part = found.setdefault("sizes" + way, {})
            if f"{size:g}" not in part:
                scores = curves.scored_at(folder, run, run.downscale * size, samples)
                part[f"{size:g}"] = {**scores, "samples": samples}
    for distance in DISTANCES:
        cameras = _shimmer.approached(run, middle_view(run), distance)
        for way, samples in _ways(run, cameras):
            part = found.setdefault("warping" + way, {})
            if f"{distance:g}" not in part:
                part[f"{distance:g}"] = _shimmer.warping_error(run, cameras, samples)
    return found


def _ways(run: Run, cameras: Sequence[Camera]) -> list[tuple[str, int]]:
    """Return (suffix of the part's name, samples a pixel's edge) of the ways to render."""
    chosen = samples_for(run, cameras)
    return [("", 1)] if chosen == 1 else [("", 1), (CHOSEN, chosen)]


def middle_view(run: Run) -> str:
    """Return the name of the test photo in the middle of the list."""
    return run.names("test")[len(run.names("test")) // 2]


def curves_of(found: dict[str, dict]) -> dict[str, str]:
    """Return SVG documents by name: psnr and lpips against size, psnr by octave, warping error.

    Args:
        found: By variant what ``measure`` returns.
    """
    labels = ("default", "without fading", LABEL)
    usual, plain = (found[variant] for variant in PAIR)
    sizes, octaves = list(usual["sizes"]), sorted(usual["octaves"], key=int)
    drawn = {}
    for short in ("psnr", "lpips_vgg"):
        chosen = {**usual["sizes"], **usual.get("sizes" + CHOSEN, {})}
        sources = (usual["sizes"], plain["sizes"], chosen)
        lines = [[_runs.covered(source[k])[short] for k in sizes] for source in sources]
        across = "photo size, 1 as trained, 4 a quarter as wide"
        drawn[short] = _chart.chart(short, across, sizes, dict(zip(labels, lines, strict=True)))
    lines = [[v["octaves"].get(k, {}).get("psnr") for k in octaves] for v in (usual, plain)]
    across = "octave of a pixel's size on the surface"
    shown = dict(zip(labels[:2], lines, strict=True))
    drawn["octaves"] = _chart.chart("psnr", across, octaves, shown)
    chosen = {**usual["warping"], **usual.get("warping" + CHOSEN, {})}
    sources = (usual["warping"], plain["warping"], chosen)
    places = [f"{d:g}" for d in DISTANCES]
    lines = [[source[place] for place in places] for source in sources]
    title, across = "warping error, 8-bit values", "times the photo's distance"
    drawn["warping"] = _chart.chart(title, across, places, dict(zip(labels, lines, strict=True)))
    return drawn


def page(name: str, strips: dict[str, dict[str, list[np.ndarray]]]) -> str:
    """Return an HTML page with a zoom's frames: a row a variant and distance.

    Args:
        name: The scene's.
        strips: By variant what ``_shimmer.zoom`` returns.
    """
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(name)}, zoom</title>"]
    parts.append("<style>body{font:13px sans-serif}img{image-rendering:pixelated}</style>")
    for variant, rows in strips.items():
        for label, frames in rows.items():
            text = f"{variant}, {label} times the photo's distance"
            parts.append(f"<p>{html.escape(text)}<br>")
            for picture in embed(frames, 1_000_000):
                size = f"width={2 * picture.width} height={2 * picture.height}"
                parts.append(f'<img src="{picture.uri}" {size}>')
    return "\n".join(parts) + "\n"


def table(found: dict[str, dict[str, dict]]) -> list[str]:
    """Return the lines of the three tables.

    Args:
        found: By scene and variant what ``measure`` returns.
    """
    octaves, sizes, warping = [], [], []
    for scene, variants in found.items():
        usual, plain = (variants[variant] for variant in PAIR)
        for key in sorted(usual["octaves"], key=int):
            one, two = usual["octaves"][key], plain["octaves"].get(key, {})
            figures = [(one["psnr"], 2), (one["ssim"], 3), (two.get("psnr"), 2)]
            figures.append((two.get("ssim"), 3))
            share = f"{one['share']:.2f}"
            octaves.append([scene, key, share, *(tables.number(*figure) for figure in figures)])
        for key in usual["sizes"]:
            ways = {"default": usual["sizes"], "without fading": plain["sizes"]}
            chosen = usual.get("sizes" + CHOSEN, {})
            if key in chosen:
                ways[f"{LABEL}: {chosen[key]['samples']} x {chosen[key]['samples']}"] = chosen
            for label, way in ways.items():
                scores = _runs.covered(way[key])
                figures = [tables.number(scores[m], 4) for m in _runs.SHORT]
                sizes.append([scene, key, label, *figures])
        for key in usual["warping"]:
            chosen = usual.get("warping" + CHOSEN, {}).get(key)
            figures = [usual["warping"][key], plain["warping"][key], chosen]
            warping.append([scene, key, *(tables.number(figure, 2) for figure in figures)])
    without = [f"{name} without" for name in ("psnr", "ssim")]
    heads = ["scene", "octave", "share of pixels", "psnr", "ssim", *without]
    lines = tables.table(heads, octaves, text_columns=2)
    heads = ["scene", "size", "way", *_runs.SHORT]
    lines += ["", *tables.table(heads, sizes, text_columns=3)]
    heads = ["scene", "distance", "warping error", "without", LABEL]
    return [*lines, "", *tables.table(heads, warping, text_columns=2)]


if __name__ == "__main__":
    main()

"""Near and far: scores by a pixel's size on the surface, and pictures from other distances.

    python -m benchmarks.scales --scenes FOLDER --runs FOLDER [--only SCENE ...]
        [--downscale 4] [--steps 400]

Takes the runs that benchmarks.ablation makes (or makes them where they are missing): `default`,
and
`default` without the fading of levels finer than a pixel. Three tables: test photos by footprint
octave; test views at several sizes, from a quarter of the trained size (as from afar) to twice,
against photos of that size; and by how much neighbouring frames differ at equal surface points,
from 8 times the photo's distance to a quarter. Writes results/scales.json and its tables in
RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import _runs, _shimmer, ablation, curves, tables
from xscale.cli import _machine
from xscale.render.run import Run
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
PAIR = ("default", "no footprint fading")
SIZES = (4.0, 2.0, 1.0, 0.5)
"""Downscale in units of the training's."""
DISTANCES = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""In units of the photo's."""


def main() -> None:
    """Run what is missing, measure, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of scenes")
    parser.add_argument("--downscale", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    names = options.only or list(json.loads((options.scenes / "baselines.json").read_text()))
    target = HERE / "results" / "scales.json"
    result = json.loads(target.read_text()) if target.is_file() else {"scenes": {}}
    result["machine"] = _machine.describe()
    for name in names:
        found = {}
        for variant in PAIR:
            size = ("--downscale", f"{options.downscale:g}", "--steps", f"{options.steps}")
            out = ablation.run_folder(options.runs, name, variant)
            chosen = [*size, *ablation.VARIANTS[variant]]
            _runs.train(options.scenes / name, out, chosen)
            about = _runs.about(options.scenes / name, out, chosen)
            found[variant] = {**measure(options.scenes / name, Run.open(out)), **about}
        result["scenes"][name] = found
        target.write_text(json.dumps(result, indent=1) + "\n")
    tables.write("scales", table(result["scenes"]))


def measure(folder: Path, run: Run) -> dict:
    """Return a run's scores by octave and by size, and its warping error by distance."""
    scene = Scene.open(folder)
    octaves = _shimmer.octaves(scene, run, _shimmer.middle_footprint(run))
    sizes = {
        f"{size:g}": curves.scored_at(folder, run, run.downscale * size)
        for size in SIZES
        if run.downscale * size >= 1
    }
    name = run.names("test")[len(run.names("test")) // 2]
    warping = {
        f"{distance:g}": _shimmer.warping_error(run, _shimmer.approached(run, name, distance))
        for distance in DISTANCES
    }
    return {"octaves": octaves, "sizes": sizes, "warping": warping}


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
            both = [_runs.covered(v["sizes"][key]) for v in (usual, plain)]
            figures = [tables.number(s[m], 4) for s in both for m in _runs.SHORT]
            sizes.append([scene, key, *figures])
        for key in usual["warping"]:
            figures = [tables.number(v["warping"][key], 2) for v in (usual, plain)]
            warping.append([scene, key, *figures])
    without = [f"{name} without" for name in ("psnr", "ssim")]
    heads = ["scene", "octave", "share of pixels", "psnr", "ssim", *without]
    lines = tables.table(heads, octaves, text_columns=2)
    heads = ["scene", "size", *_runs.SHORT, *(f"{name} without" for name in _runs.SHORT)]
    lines += ["", *tables.table(heads, sizes, text_columns=2)]
    heads = ["scene", "distance", "warping error", "without"]
    return [*lines, "", *tables.table(heads, warping, text_columns=2)]


if __name__ == "__main__":
    main()

"""Worth of refining cameras and mesh: scenes as they are, and with cameras a little off.

    python -m benchmarks.refine --scenes FOLDER --runs FOLDER --only fountain --downscale 8

Cameras of training photos are turned and moved at random; those of test photos stay, and scores are
theirs. The errors are measured where the photos saw sparse points.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import xscale
from benchmarks import _runs, tables
from xscale.cli import _machine
from xscale.geometry.adjust import NUMBERS, adjusted
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
OFF = 1.0
"""Standard deviation of each axis's turn and of each axis's shift, in pixels of the training's
size in the middle of the picture."""
SEED = 5
CASES = {
    "as they are": (False, ()),
    "as they are, cameras refined": (False, ("cameras=pose",)),
    "as they are, mesh learned": (False, ("surface=learned",)),
    "as they are, both": (False, ("cameras=pose", "surface=learned")),
    "cameras off": (True, ()),
    "cameras off, refined": (True, ("cameras=pose",)),
}


def main() -> None:
    """Run what is missing, then write the table."""
    options = _runs.parser(__doc__, downscale=4.0, steps=100).parse_args()
    target = HERE / "results" / "refine.json"
    kept = json.loads(target.read_text())["runs"] if target.is_file() else {}
    for name in _runs.names(options):
        folder = options.scenes / name
        label = f"{name}, K = {options.downscale:g}, {options.steps} steps"
        for case, (off, refine) in CASES.items():
            size = f"K{options.downscale:g}_{options.steps}"
            out = options.runs / size / name / case.replace(", ", "_").replace(" ", "_")
            kept.setdefault(label, {})[case] = _case(folder, out, options, off, refine)
        target.write_text(
            json.dumps({"machine": _machine.describe(), "runs": kept}, indent=1) + "\n"
        )
        tables.write("refine", table(kept))


def disturbed(scene: Scene, test: set[str], downscale: float) -> Scene:
    """Return a scene whose training cameras are turned and moved by about ``OFF`` pixels."""
    rng = np.random.default_rng(SEED)
    seen = scene.sparse_observations()
    photos = []
    for photo in scene.photos:
        axes = rng.normal(0, 1, 6)
        pixel = OFF * downscale / photo.camera.fx
        _, points = seen[photo.name]
        depth = float(np.median(photo.camera.project(points)[1]))
        numbers = np.zeros(NUMBERS)
        numbers[:6] = np.r_[axes[:3] * pixel, axes[3:] * pixel * depth]
        camera = photo.camera if photo.name in test else adjusted(photo.camera, numbers)
        photos.append(replace(photo, camera=camera))
    return replace(scene, photos=tuple(photos))


def error(scene: Scene, run: Run) -> float:
    """Return the median over training photos of their sparse points' error, training pixels."""
    found = []
    for name, (_, points) in scene.sparse_observations().items():
        if name in run.names("train"):
            true, _ = scene.photo(name).camera_at(run.downscale).project(points)
            ours, _ = run.camera(name).project(points)
            found.append(np.sqrt(np.nanmean(((true - ours) ** 2).sum(1))))
    return float(np.median(found))


def _case(folder: Path, out: Path, options: object, off: bool, refine: tuple[str, ...]) -> dict:
    kept = out / "compared.json"
    if not kept.exists():
        scene = Scene.open(folder)
        test = set(scene.split().test)
        trained = disturbed(scene, test, options.downscale) if off else scene
        run = xscale.train(
            trained,
            out=out,
            steps=options.steps,
            downscale=options.downscale,
            settings=[f"refine.{setting}" for setting in refine],
            resume=(out / "manifest.json").exists(),
        )
        names = run.names("test")
        pictures, _ = render_views(run, names, out / "renders" / "test")
        mean = _runs.compared(scene, names, run.downscale, pictures)
        kept.write_text(json.dumps({"mean": mean, "error": error(scene, run)}) + "\n")
    return {**json.loads(kept.read_text()), **_runs.about(folder, out, ())}


def table(found: dict[str, dict[str, dict]]) -> list[str]:
    """Return the lines of the table: a row a scene and case."""
    heads = ["scene", "what", "cameras off by pixels", *_runs.SHORT, "seconds"]
    rows = [
        [
            scene,
            case,
            tables.number(run["error"], 2),
            *(tables.number(_runs.covered(run["mean"])[name], 4) for name in _runs.SHORT),
            f"{run['seconds']:.0f}",
        ]
        for scene, cases in found.items()
        for case, run in cases.items()
    ]
    return tables.table(heads, rows, text_columns=2)


if __name__ == "__main__":
    main()

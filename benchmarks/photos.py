"""Source photos against both parents: the model alone, and blending of the photos alone.

    python -m benchmarks.photos --scenes FOLDER --runs FOLDER [--only SCENE ...]
        [--downscale 4] [--steps 750]

Trains every scene once, keeping its photos, and scores the test views three times: as the model
gives them, corrected by the photos (`--source-photos`), and as image-based rendering, the best
four photos of each surface point blended with the same weights, each under the mean exposure. Runs
and scores that are there are kept. Writes results/photos.json and its table in RESULTS.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks import _runs, tables
from xscale.cli import _machine
from xscale.io.names import png_name
from xscale.io.photo.images import write_png
from xscale.render.run import Run
from xscale.render.source_photos import Shares
from xscale.report.score import score_renders
from xscale.scene.scene import Scene
from xscale.scoring import score_run

HERE = Path(__file__).parent
WAYS = ("plain", "source photos", "image-based k4")


def main() -> None:
    """Run what is missing, then write the table."""
    options = _runs.parser(__doc__, downscale=4.0, steps=750).parse_args()
    target = HERE / "results" / "photos.json"
    result = json.loads(target.read_text()) if target.is_file() else {"scenes": {}}
    result["machine"] = _machine.describe()
    chosen = [*_runs.size(options), "--source-photos"]
    for name in _runs.names(options):
        folder, out = options.scenes / name, options.runs / name
        _runs.train(folder, out, chosen)
        about = _runs.about(folder, out, chosen)
        found = {way: {"mean": _scored(folder, out, way), **about} for way in WAYS}
        result["scenes"][name] = found
        target.write_text(json.dumps(result, indent=1) + "\n")
    tables.write("photos", table(result["scenes"]))


def blended(run: Run, name: str) -> np.ndarray:
    """Return an image-based picture of a photo's camera, uint8 [H, W, 3]; the model's in gaps.

    Args:
        run: Opened with its photos.
        name: The photo's.
    """
    # All of the residual, on the model's picture of the photo, is the photo.
    run.source_photos.shares = Shares(residual=1.0, aside=1.0, least=1e-6)
    return run.render(run.camera(name)).colour.numpy()


def table(found: dict[str, dict[str, dict]]) -> list[str]:
    """Return the lines of the table: a row a scene and way."""
    rows = []
    for scene, ways in found.items():
        for way, run in ways.items():
            scores = _runs.covered(run["mean"])
            figures = [tables.number(scores[name], 4) for name in _runs.SHORT]
            rows.append([scene, way, *figures, f"{run['rays'] / 1e6:.0f}"])
    return tables.table(["scene", "pictures", *_runs.SHORT, "M rays"], rows, text_columns=2)


def _scored(folder: Path, out: Path, way: str) -> dict:
    kept = out.with_name(f"{out.name}_{WAYS.index(way)}.json")
    if not kept.exists():
        if way == WAYS[2]:
            mean = _score_blended(folder, out)
        else:
            mean = score_run(out, folder, source_photos=way == WAYS[1]).scores["mean"]
        kept.write_text(json.dumps(mean) + "\n")
    return json.loads(kept.read_text())


def _score_blended(folder: Path, out: Path) -> dict:
    run, scene = Run.open(out, source_photos=True), Scene.open(folder)
    pictures, coverage = (out / "renders" / part for part in ("blended", "blended_coverage"))
    for name in run.names("test"):
        write_png(pictures / png_name(name), blended(run, name), overwrite=True)
        mask = run.render(run.camera(name)).coverage.numpy().astype("uint8") * 255
        write_png(coverage / png_name(name), mask, overwrite=True)
    names = run.names("test")
    read = lambda name: scene.photo(name).read(run.downscale)  # noqa: E731
    return score_renders(names, read, pictures, coverage)["mean"]


if __name__ == "__main__":
    main()

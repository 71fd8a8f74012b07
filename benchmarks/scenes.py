"""Train and score the real scenes and put the figures beside those of other representations.

    python -m benchmarks.scenes --scenes FOLDER --runs FOLDER [--only NAME ...]

FOLDER holds scenes and baselines.json (scores of vertex colours, textured meshes and image-based
rendering on the same split by the same protocol). A run with existing scores is kept, so
the command can be broken off and started again. Every run keeps its training photos and is scored
twice, as the model gives its pictures and corrected by those photos (`--source-photos`). Writes
benchmarks/results/scenes.json and the table between the markers in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import _runs, tables
from xscale.cli import _machine
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.scene.scene import Scene

HERE = Path(__file__).parent
MINUTES = {"monstree": 14.0, "fountain": 9.0}
OTHER_MINUTES = 8.0
VARIANTS = ("_covered", "_covered_cc")


def main() -> None:
    """Run what is missing, then write the table."""
    options = _runs.parser(__doc__).parse_args()
    baselines = json.loads((options.scenes / "baselines.json").read_text())
    found = {}
    for name in _runs.names(options):
        downscale = baselines[name]["downscale"]
        found[name] = _train_and_score(options.scenes / name, downscale, options.runs)
    target = HERE / "results" / "scenes.json"
    kept = json.loads(target.read_text())["scenes"] if target.is_file() else {}
    result = {"machine": _machine.describe(), "scenes": {**kept, **found}}
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    tables.write("scenes", tables.scenes(result["scenes"], baselines))


def _train_and_score(scene: Path, downscale: float, runs: Path) -> dict:
    minutes = MINUTES.get(scene.name, OTHER_MINUTES)
    options = ["--downscale", f"{downscale:g}", "--minutes", f"{minutes:g}", "--source-photos"]
    out = runs / scene.name
    _runs.train(scene, out, options)
    mean, with_photos = (_scored(scene, out, photos) for photos in (False, True))
    about = _runs.about(scene, out, options)
    return {"minutes": minutes, "mean": mean, "with_photos": with_photos, **about}


def _scored(scene: Path, out: Path, photos: bool) -> dict:
    way = "photos" if photos else "plain"
    kept = out.with_name(f"{out.name}_{way}.json")
    if not kept.exists():
        run = Run.open(out, source_photos=photos)
        names = run.names("test")
        pictures, _ = render_views(run, names, out / "renders" / way)
        variants = VARIANTS[1:] if photos else VARIANTS
        mean = _runs.compared(Scene.open(scene), names, run.downscale, pictures, variants)
        kept.write_text(json.dumps(mean) + "\n")
    return json.loads(kept.read_text())


if __name__ == "__main__":
    main()

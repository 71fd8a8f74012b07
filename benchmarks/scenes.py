"""Train and score the real scenes and put the figures beside those of other representations.

    python -m benchmarks.scenes --scenes FOLDER --runs FOLDER [--only NAME ...]

FOLDER holds scenes and baselines.json (scores of vertex colours, textured meshes and image-based
rendering on the same split by the same protocol). A run whose scores are there already is kept, so
the command can be broken off and started again. Writes benchmarks/results/scenes.json and the
table between the markers in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks import tables
from xscale.cli import _machine

HERE = Path(__file__).parent
MINUTES = {"fountain": 6.0}
OTHER_MINUTES = 10.0


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    baselines = json.loads((options.scenes / "baselines.json").read_text())
    found = {}
    for name, others in baselines.items():
        if options.only and name not in options.only:
            continue
        found[name] = _train_and_score(options.scenes / name, others["downscale"], options.runs)
    target = HERE / "results" / "scenes.json"
    kept = json.loads(target.read_text())["scenes"] if target.is_file() else {}
    result = {"machine": _machine.describe(), "scenes": {**kept, **found}}
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    tables.write("scenes", tables.scenes(result["scenes"], baselines))


def _train_and_score(scene: Path, downscale: float, runs: Path) -> dict:
    out, name = runs / scene.name, scene.name
    minutes = MINUTES.get(name, OTHER_MINUTES)
    xscale = [sys.executable, "-m", "xscale.cli.main"]
    if not (out / "scores.json").exists():
        options = ["--downscale", str(downscale), "--minutes", str(minutes), "--out", str(out)]
        resume = ["--resume"] if (out / "manifest.json").exists() else []
        subprocess.run([*xscale, "train", str(scene), *options, *resume], check=True)
        subprocess.run([*xscale, "score", str(out)], check=True)
    scores = json.loads((out / "scores.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(lines) if "where_time_went" in line)
    manifest = json.loads((out / "manifest.json").read_text())
    return {
        "mean": scores["mean"],
        "minutes": minutes,
        "downscale": downscale,
        "steps": last["step"],
        "rays": last["step"] * manifest["settings"]["optim"]["batch"],
        "commit": _machine.commit(),
        "command": f"xscale train {name} --downscale {downscale:g} --minutes {minutes:g}",
    }


if __name__ == "__main__":
    main()

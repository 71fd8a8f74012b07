"""Damaged files of our own: runs, jobs, camera paths, splits, scores, archives of predictions.

    python -m tests.fuzz.own_files --minutes 2 --seed 7 [--kind run]

Each round damages one file and reads it as a command would. Exit code 1 if anything but an
XscaleError came out, or a round took too long.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests import builders
from tests.fuzz.readers import damage, outcome_of
from tests.render.conftest import write_tiny_run
from xscale.giganvs.splits import make_splits, read_split
from xscale.io.storage import write_json
from xscale.render.batch import render_batch
from xscale.render.camera_files import read_cameras
from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.journal import JobFolder
from xscale.render.run import Run
from xscale.report.predictions import find_predictions
from xscale.report.ranking import rank, read_scores, table


@dataclass(frozen=True)
class Kind:
    """Files of one kind, and how they are read."""

    folder: Path
    """Copied and damaged."""
    read: Callable[[Path], object]
    pattern: str = "*"
    """Names that are damaged."""


def kinds(root: Path) -> dict[str, Kind]:
    """Write good files of every kind below ``root``."""
    built = builders.asymmetric_scene()
    run = write_tiny_run(built, root / "run" / "run").parent
    opened = Run.open(run / "run")
    small = {name: camera.scaled(12, 8) for name, camera in built.cameras.items()}
    frames = tuple(JobFrame(name, (camera,)) for name, camera in small.items())
    job = make_job(opened, frames, JobSettings(outputs=("colour", "depth")))
    render_batch(opened, job, root / "job" / "job")
    named = tuple(NamedCamera(name, camera) for name, camera in built.cameras.items())
    (root / "path").mkdir()
    write_camera_path(root / "path" / "path.json", CameraPath(named, 24.0))
    (root / "split").mkdir()
    for number, split in enumerate(make_splits(built.cameras)):
        write_json(root / "split" / f"{number}.json", split.to_json())
    (root / "scores").mkdir()
    for seed in (0, 1):
        write_json(root / "scores" / f"{seed}.json", _scores(seed))
    (root / "archive").mkdir()
    with zipfile.ZipFile(root / "archive" / "pictures.zip", "w") as archive:
        for name in built.cameras:
            picture = root / "one.png"
            Image.new("RGB", (12, 8)).save(picture)
            archive.write(picture, f"{Path(name).stem}.png")
    names = list(built.cameras)

    def read_run(folder: Path) -> None:
        found = Run.open(folder / "run")
        found.render(small[names[0]], outputs=("colour", "depth"))
        _ = found.residuals, found.background

    def read_job(folder: Path) -> None:
        JobFolder(folder / "job", job).check()
        with JobFolder(folder / "job", job).opened() as place:
            place.finished()

    def read_splits(folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            read_split(path, names)

    def read_tables(folder: Path) -> None:
        table(rank([read_scores(path) for path in sorted(folder.iterdir())]))

    def read_archive(folder: Path) -> None:
        found = find_predictions(folder / "pictures.zip", names, names)
        for name in found.entries:
            found.read(name, np.zeros((8, 12, 3), np.uint8))

    return {
        "run": Kind(run, read_run),
        "job": Kind(root / "job", read_job, "j*.json*"),
        "path": Kind(root / "path", lambda folder: read_cameras(folder / "path.json")),
        "split": Kind(root / "split", read_splits),
        "scores": Kind(root / "scores", read_tables),
        "archive": Kind(root / "archive", read_archive),
    }


def _scores(seed: int) -> dict:
    """Return a scores file of the benchmark."""
    photos = {f"{k}.png": {"psnr": 20.0 + k + seed, "ssim": 0.5} for k in range(4)}
    return {
        "method": f"method {seed}",
        "scene": "tiny",
        "protocol": {"hash": "0" * 64, "rules": {"split": "every 7th"}},
        "mean": {"psnr": 21.5 + seed, "ssim": 0.5},
        "photos": photos,
        "groups": {name: k // 2 for k, name in enumerate(photos)},
        "missing": [],
    }


def one_round(kind: Kind, folder: Path, rng: random.Random) -> str:
    """Damage one file of a copy and read it; return what happened."""
    shutil.copytree(kind.folder, folder)
    chosen = rng.choice(sorted(p for p in folder.rglob(kind.pattern) if p.is_file()))
    chosen.write_bytes(_damaged(chosen, rng))
    return f"{chosen.relative_to(folder)}: {outcome_of(lambda: kind.read(folder))}"


_ODD = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    2**70,
    "",
    "../../x",
    "\0",
    [],
    {},
    [[]],
    "a" * 3000,
)


def _damaged(path: Path, rng: random.Random) -> bytes:
    """Damage bytes, or a value of a JSON text so that it stays one."""
    data = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.7:
        document = json.loads(data)
        _change(document, rng)
        return json.dumps(document).encode()
    return damage(data, rng)


def _change(value: object, rng: random.Random) -> None:
    """Put something odd at a place of a JSON value."""
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(list(keys))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
            if rng.random() < 0.2 and isinstance(value, dict):
                del value[key]
            else:
                value[key] = rng.choice(_ODD)
            return
        value = inner


def rounds(seconds: float, seed: int, only: str | None = None) -> tuple[int, list[str]]:
    """Damage files for a while; return how many rounds there were, and the faults."""
    faults, count, end = [], 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "good").mkdir()
        made = kinds(root / "good")
        names = [only] if only else sorted(made)
        while time.monotonic() < end:
            name, rng = names[count % len(names)], random.Random(f"{seed} {count}")
            outcome = one_round(made[name], root / "round", rng)
            shutil.rmtree(root / "round")
            if "FAULT" in outcome:
                faults.append(f"{name}, seed {seed} {count}: {outcome}")
            count += 1
    return count, faults


def main() -> int:
    """Run until the time is over or a fault is found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kind")
    chosen = options.parse_args()
    count, faults = rounds(60 * chosen.minutes, chosen.seed, chosen.kind)
    print(f"{count} rounds, {len(faults)} faults")
    for fault in faults[:5]:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

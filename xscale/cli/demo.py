"""``xscale demo``: a made scene, trained, rendered and scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from xscale.cli._console import parse, print_table, progress_bar, result, say


@dataclass(frozen=True)
class Options:
    """Make a small scene with printed letters, train on it, render it, score it, write a report.

    The scene has an exact ground truth: its photos are rendered, from three rings of cameras whose
    distances are as 1 : 8 : 64. It is made once; each call trains a new run beside it. --scale giga
    makes 2,100 photos of 20 million triangles on demand, with distances as 1 : 1000. It trains some
    steps, renders one view of 3840 x 2160, and prints how much memory that took.
    """

    out: Path = Path("demo")
    """Folder for the scene and the runs."""
    minutes: float = 3.5
    """Training time, preparation included."""
    steps: int | None = None
    """Train this many steps instead of minutes; --scale giga always counts steps (default: 200)."""
    scale: Annotated[Literal["small", "tiny", "giga"], tyro.conf.arg(aliases=["--size"])] = "small"
    """Size of the scene: tiny has a few small photos, for a quick trial; giga shows that large
    scenes fit."""
    set: Annotated[list[str], tyro.conf.arg(metavar="KEY=VALUE ...")] = field(default_factory=list)
    """Change single settings of the training, for example --set optim.batch=65536."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    lpips_weights: Path | None = None
    """Folder with the weights of the LPIPS networks; default: XSCALE_LPIPS_WEIGHTS, then
    torchvision's cache."""


def run(argv: list[str]) -> int:
    """Make the scene, train, score per ring, say where the report is."""
    options = parse(Options, argv, "demo")
    if options.scale == "giga":
        return _giga(options)
    from xscale.cli.score import score_with_bars
    from xscale.cli.train import train_with_bar
    from xscale.demo.make import make_demo, ring_of
    from xscale.demo.photos import SMALL, TINY
    from xscale.scene.scene import Scene

    scene_path = options.out / "scene"
    with progress_bar() as bar:
        task = bar.add_task("photographing the demo scene", total=None)
        made = make_demo(
            scene_path,
            SMALL if options.scale == "small" else TINY,
            lambda done, count: bar.update(task, completed=done, total=count),
        )
    say(f"{scene_path}: {'made' if made else 'already exists'}")
    scene = Scene.open(scene_path)
    run_path = _next_run(options.out)
    train_with_bar(
        scene,
        out=run_path,
        minutes=None if options.steps is not None else options.minutes,
        steps=options.steps,
        settings=options.set,
    )
    names = [photo.name for photo in scene.photos]
    scored = score_with_bars(
        run_path,
        lpips_weights=options.lpips_weights,
        groups={name: ring_of(name) for name in names},
    )
    _print_rings(scored.scores)
    result(scored.report)
    return 0


def _giga(options: Options) -> int:
    """Train some steps on the giga scene, render a view, say what it took."""
    import time

    from xscale.cli.train import with_bar
    from xscale.demo.giga import run_giga

    start = time.monotonic()
    steps = 200 if options.steps is None else options.steps
    folder = options.out / "giga"

    def make(**callbacks: object) -> object:
        run_path = _next_run(options.out)
        return run_giga(folder, run_path, steps, settings=options.set, **callbacks)

    made = with_bar(make)
    result(
        f"{steps} steps and one view of 4K in {time.monotonic() - start:.0f} s; peak memory "
        f"{made.peak_bytes / 1e9:.2f} GB, of it tables {made.table_bytes / 1e9:.2f} GB"
    )
    result(made.view)
    return 0


def _next_run(folder: Path) -> Path:
    """Return the first free of run_001, run_002, ..."""
    number = 1
    while (folder / f"run_{number:03d}").exists():
        number += 1
    return folder / f"run_{number:03d}"


def _print_rings(scores: dict) -> None:
    """Print the mean scores of each ring's test photos."""
    from xscale.demo.make import ring_of
    from xscale.report.score import summarise

    shares = scores["counts"]["covered_share"]
    rings = {ring_of(name): [] for name in sorted(scores["photos"])}
    for name in scores["photos"]:
        rings[ring_of(name)].append(name)
    metrics = ["psnr_covered_cc", "ssim_covered_cc", "lpips_alex_covered_cc"]
    rows = []
    for ring, names in rings.items():
        found = summarise({n: scores["photos"][n] for n in names}, {n: shares[n] for n in names})
        rows.append([ring, len(names), *(found["mean"][m] for m in metrics)])
    print_table("Test photos by ring", ["ring", "photos", *metrics], rows)

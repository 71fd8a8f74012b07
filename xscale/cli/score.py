"""xscale score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro

from xscale.cli._console import parse, progress_bar, result, say, warn


@dataclass(frozen=True)
class Options:
    """Render the test views, compare them with their photos, write scores.json and report.html."""

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    scene: Path | None = None
    """The scene folder with the photos; default: where it was at training."""
    mesh: Path | None = None
    """Mesh file, where it is not the scene folder's own mesh.*."""
    photos_at_render: bool = False
    """Score pictures that are corrected by the training photos that the run keeps."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    lpips_weights: Path | None = None
    """Folder with the backbones' weights; else XSCALE_LPIPS_WEIGHTS and torchvision's cache."""


def run(argv: list[str]) -> int:
    """Parse the options, render, score, write the report."""
    options = parse(Options, argv, "score")
    scores, page = score_run(
        options.run,
        options.scene,
        options.mesh,
        options.lpips_weights,
        photos_at_render=options.photos_at_render,
    )
    from xscale.report.table import score_table

    result(score_table(scores))
    result(page)
    return 0


def score_run(
    path: Path,
    scene_path: Path | None = None,
    mesh: Path | None = None,
    lpips_weights: Path | None = None,
    groups: Mapping[str, str] | None = None,
    *,
    photos_at_render: bool = False,
) -> tuple[dict, Path]:
    """Render and score a run's test views; return the scores and the report's path."""
    from xscale.errors import SceneError, UsageError
    from xscale.render.run import Run
    from xscale.render.views import render_views
    from xscale.report.page import write_report
    from xscale.report.score import score_renders, write_scores
    from xscale.scene.scene import Scene

    opened = Run.open(path, photos_at_render=photos_at_render)
    manifest = opened.manifest
    names = opened.names("test")
    if not names:
        raise UsageError("the run has no test photos", where=path, advice="train with --test-every")
    _ = opened.model
    remarks = list(opened.warnings)
    for line in remarks:
        warn(line)
    root = scene_path or Path(manifest.scene.root)
    options = dict(manifest.scene.options)
    if mesh is not None:
        options["mesh"] = mesh
    scene = Scene.open(root, **options)
    if scene.fingerprint() != manifest.scene.fingerprint:
        # Other photos, cameras or mesh than the run was trained on give other scores.
        missing = [name for name in names if name not in {p.name for p in scene.photos}]
        if missing:
            raise SceneError(f"has no photo {missing[0]} of this run", where=root)
        remarks.append(
            "W-SCENE: the scene changed since the training (names, cameras, mesh or file sizes)"
        )
        warn(remarks[-1])
    with progress_bar() as bar:
        task = bar.add_task("rendering", total=len(names))
        renders, coverage = render_views(
            opened,
            names,
            opened.folder.pictures("test"),
            lambda done, *_: bar.update(task, completed=done),
        )
    downscale = opened.downscale
    masked = any(scene.photo(n).mask_path or scene.photo(n).has_alpha for n in names)

    def read(name: str) -> object:
        return scene.photo(name).read(downscale)

    with progress_bar() as bar:
        task = bar.add_task("scoring", total=len(names))
        scores = score_renders(
            names,
            read,
            renders,
            coverage,
            masks=(lambda name: scene.photo(name).read_mask(downscale)) if masked else None,
            lpips_weights=lpips_weights,
            protocol={
                "downscale": downscale,
                "split": manifest.to_json()["split"],
                "photos_at_render": photos_at_render,
            },
            warnings=[*manifest.scene.warnings, *remarks],
            progress=lambda name, row: bar.advance(task),
        )
    write_scores(opened.folder.scores_file, scores)
    for line in scores["protocol"]["warnings"]:
        say(line)
    log = [line for line in opened.folder.logged() if "checkpoint" not in line]
    timings = next((line["where_time_went"] for line in log if "where_time_went" in line), None)
    page = write_report(
        path,
        scores,
        names=names,
        read_photo=read,
        renders_dir=renders,
        coverage_dir=coverage,
        title=Path(manifest.scene.root).name,
        facts={"preset": manifest.preset, "downscale": downscale, "layout": scene.layout},
        metrics=[line for line in log if "where_time_went" not in line],
        timings=timings,
        settings=manifest.settings,
        groups=groups,
    )
    return scores, page

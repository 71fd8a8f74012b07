"""Score a run: render its test views, hand pictures and photos to the judge, write what it says.

This is the one place that knows both sides. ``xscale.report`` and ``xscale.metrics``, which judge,
know nothing of runs and renderers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xscale.errors import SceneError, UsageError, XscaleError
from xscale.metrics.lpips_weights import check_available
from xscale.metrics.models import check_extras
from xscale.render.run import Run
from xscale.render.views import render_views
from xscale.report.page import write_report
from xscale.report.score import score_renders, write_scores
from xscale.run.manifest import TrainedScene
from xscale.scene.scene import Scene

_PATHS = ("mesh", "transform", "cameras", "images")
"""Options of a scene that name files."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a run's test views."""

    scores: dict[str, dict]
    """As of ``xscale.report.score.score_renders``."""
    report: Path
    """The page that shows them."""
    warnings: tuple[str, ...]
    """Lines about the run and the scene that a reader of the scores must see; the scores file and
    the report hold them too."""


def score_run(
    run: Run | str | Path,
    scene: Scene | str | Path | None = None,
    *,
    mesh: str | Path | None = None,
    lpips_weights: str | Path | None = None,
    metrics: Collection[str] = (),
    groups: Mapping[str, str] | None = None,
    source_photos: bool = False,
    two_sided: bool = False,
    device: str = "cpu",
    on_render: Callable[[int, int, str], None] | None = None,
    on_score: Callable[[int, int, str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Scored:
    """Render a run's test views, compare them with their photos, write scores.json and report.html.

    Args:
        run: The run, opened, or its folder.
        scene: The scene with the photos, opened, or its folder. Default: where it was at training.
        mesh: Mesh file, where it is not the scene folder's own.
        lpips_weights: Folder with the backbones' weights. Default: the usual places.
        metrics: Metrics and variants on request: dists, flip, lpips_vgg_unit, _ccq.
        groups: Group of each photo by name; the report then shows means by group.
        source_photos: Whether colours are corrected by the training photos that the run keeps;
            for a run that is opened here.
        two_sided: Whether faces seen from behind count as covered even where that is not surface,
            as in older scores; for a run that is opened here.
        device: Where to render a run that is opened here.
        on_render: Called with (done, of how many, name) after each picture.
        on_score: Called with (done, of how many, name) after each photo's scores.
        on_warning: Called with each of the warnings as soon as it is known.

    Raises:
        UsageError: The run has no test photos, ``lpips_weights`` is not a folder, or no metric has
            such a name.
        SetupError: A metric on request lacks its package or weights.
        InputError: A file of the run or of the scene is missing.
        SceneError: The scene lacks a photo of the run.
        IntegrityError: The run is damaged.
        StorageError: A file cannot be written.
        BusyError: Another process scores the run.
    """
    check_available(lpips_weights)
    check_extras(metrics, lpips_weights)
    if not isinstance(run, Run):
        run = Run.open(run, device, source_photos=source_photos, two_sided=two_sided)
    names = run.names("test")
    if not names:
        raise UsageError(
            "the run has no test photos", where=run.path, advice="train with --test-every"
        )
    warnings: list[str] = []

    def remark(line: str) -> None:
        warnings.append(line)
        if on_warning is not None:
            on_warning(line)

    opened = _scene(run, scene, mesh, names, remark)
    _ = run.model
    for line in (*run.warnings, *run.folder.log_warnings()):
        remark(line)
    pictures = run.folder.pictures("test")
    # Another scoring would replace the pictures while these are judged.
    with run.folder.scoring_lock():
        renders, coverage = render_views(run, names, pictures, on_render)
        downscale = run.downscale
        masked = any(opened.photo(n).mask_path or opened.photo(n).has_alpha for n in names)
        done = 0

        def read(name: str) -> np.ndarray:
            return opened.photo(name).read(downscale)

        def scored(name: str, row: Mapping[str, object]) -> None:
            nonlocal done
            done += 1
            if on_score is not None:
                on_score(done, len(names), name)

        scores = score_renders(
            names,
            read,
            renders,
            coverage,
            masks=(lambda name: opened.photo(name).read_mask(downscale)) if masked else None,
            lpips_weights=lpips_weights,
            extras=metrics,
            protocol={
                "downscale": downscale,
                "split": run.manifest.to_json()["split"],
                "source_photos": run.uses_source_photos,
                "back_faces": "covered" if run.surface.sides is None else "uncovered",
            },
            warnings=[*run.manifest.scene.warnings, *warnings],
            progress=scored,
        )
        write_scores(run.folder.scores_file, scores)
        log = [line for line in run.folder.logged() if "checkpoint" not in line]
        timings = next((line["where_time_went"] for line in log if "where_time_went" in line), None)
        page = write_report(
            run.folder.report_file,
            scores,
            names=names,
            read_photo=read,
            renders_dir=renders,
            coverage_dir=coverage,
            title=Path(run.manifest.scene.root).name,
            facts={"preset": run.manifest.preset, "downscale": downscale, "layout": opened.layout},
            metrics=[line for line in log if "where_time_went" not in line],
            timings=timings,
            settings=run.manifest.settings,
            groups=groups,
        )
    return Scored(scores, page, tuple(warnings))


def _scene(
    run: Run,
    scene: Scene | str | Path | None,
    mesh: str | Path | None,
    names: list[str],
    remark: Callable[[str], None],
) -> Scene:
    """Open the scene, and report where it is not the one that the run was trained on."""
    trained = run.manifest.scene
    if not isinstance(scene, Scene):
        extra = {} if mesh is None else {"mesh": mesh}
        if scene is None:
            scene = _trained_scene(trained, extra)
        else:
            scene = Scene.open(scene, **(trained.options | extra))
    if scene.fingerprint() != trained.fingerprint:
        # Other photos, cameras or mesh than the run was trained on give other scores.
        known = {photo.name for photo in scene.photos}
        missing = [name for name in names if name not in known]
        if missing:
            raise SceneError(f"has no photo {missing[0]} of this run", where=scene.root)
        remark("W-SCENE: the scene changed since the training (names, cameras, mesh or file sizes)")
    return scene


def _trained_scene(trained: TrainedScene, extra: dict[str, Any]) -> Scene:
    """Open the scene of a run: the folder as it was typed, else where it lay then.

    Another scene may have the typed name in the current folder; the fingerprint tells.
    """
    typed, then = Path(trained.root), Path(trained.absolute or trained.root)
    if typed.absolute() == then or not then.exists():
        return Scene.open(typed, **(trained.options | extra))
    if typed.exists():
        try:
            here = Scene.open(typed, **(trained.options | extra))
        except XscaleError:
            here = None
        if here is not None and here.fingerprint() == trained.fingerprint:
            return here
    return Scene.open(then, **(_from(then, trained) | extra))


def _from(then: Path, trained: TrainedScene) -> dict[str, Any]:
    """Return a run's options with the paths that were typed beside its scene's made absolute."""
    if not str(then).endswith(trained.root):
        return dict(trained.options)
    base = Path(str(then)[: -len(trained.root)] or "/")

    def placed(value: Any) -> Any:
        return [str(base / v) for v in value] if isinstance(value, list) else str(base / value)

    return {k: placed(v) if k in _PATHS else v for k, v in trained.options.items()}

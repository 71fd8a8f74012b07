"""Scores of any method's pictures of a prepared scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from xscale.errors import OutputExistsError
from xscale.giganvs.interchange import write_results
from xscale.giganvs.layout import PreparedScene
from xscale.giganvs.splits import SplitFile
from xscale.metrics.models import check_extras
from xscale.metrics.variants import EXTRAS
from xscale.report.benchmark import score_predictions
from xscale.report.predictions import find_predictions
from xscale.report.score import write_scores

Exposure = Literal["fitted", "not fitted", "unknown"]


def method_name(pred: str | Path) -> str:
    """Return the name of a method whose pictures lie at a place: that of the folder or archive."""
    return Path(pred).resolve().name.split(".")[0] or "method"


def scene_name(scene: PreparedScene, split: SplitFile) -> str:
    """Return the name under which scores of a split stand."""
    return scene.name if split.name == "every7" else f"{scene.name} {split.name}"


def score(
    pred: str | Path,
    scene: PreparedScene | str | Path,
    *,
    split: str = "every7",
    method: str | None = None,
    out: str | Path | None = None,
    lpips_weights: str | Path | None = None,
    extras: tuple[str, ...] = EXTRAS,
    exposure: Exposure = "unknown",
    results: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Score a method's pictures of the test photos of a split.

    Args:
        pred: Folder or archive with the pictures; see ``xscale.report.predictions``.
        scene: The prepared scene, or its folder.
        split: Name of the split, or a split file.
        method: Name of the method; default: the name of ``pred``.
        out: File for the scores; None writes none.
        lpips_weights: Folder with the backbones' weights.
        extras: Scores beside those of ``xscale score``.
        exposure: Whether the method fitted exposures, or anything else, to the test photos.
        results: Folder for the same results in nerfbaselines' format; None writes none.
        overwrite: Whether ``out`` and ``results`` may exist.
        progress: Called with each photo's name when it is scored.

    Returns:
        The scores file, see ``xscale.report.benchmark``.

    Raises:
        InputError: Pictures do not fit the photos; nothing is written.
        ListError: The split is not known.
        OutputExistsError: ``out`` or ``results`` exists.
        UsageError: A metric on request is not known.
        SetupError: What a metric on request needs is missing.
    """
    check_extras(extras, lpips_weights)
    for path in (out, results):
        if path is not None and not overwrite and Path(path).exists():
            raise OutputExistsError(
                "already exists", where=path, advice="choose another name or give --overwrite"
            )
    if out is not None and Path(out).is_dir():
        raise OutputExistsError("is a folder", where=out, advice="--out names a file")
    prepared = scene if isinstance(scene, PreparedScene) else PreparedScene.open(scene)
    chosen = prepared.split(split)
    found = find_predictions(pred, chosen.test, chosen.photos, prepared.name)
    scores = score_predictions(
        found,
        chosen.test,
        prepared.photo,
        lambda name: prepared.coverage(chosen, name),
        prepared.footprint,
        read_mask=prepared.mask if prepared.has_masks(chosen) else None,
        groups=chosen.groups,
        rules=prepared.rules(chosen),
        method=method or method_name(pred),
        scene=scene_name(prepared, chosen),
        lpips_weights=lpips_weights,
        extras=extras,
        progress=progress,
    )
    if found.train_seconds is not None:
        scores["resources"] = {"train_seconds": found.train_seconds}
    scores["protocol"]["test_exposure"] = exposure
    scores["protocol"]["unit"] = prepared.card.get("unit")
    scores["protocol"]["back_faces"] = "covered" if prepared.counts_backs else "uncovered"
    if prepared.counts_backs:
        scores["protocol"]["warnings"].append(prepared.remark)
    if results is not None:
        write_results(results, scores, found, prepared, chosen, overwrite=overwrite)
    if out is not None:
        write_scores(out, scores, overwrite=overwrite)
    return scores

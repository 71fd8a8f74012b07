"""Score any method's pictures of a scene: the benchmark's scores file, hashes included."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from xscale.io.hashing import fingerprint_of
from xscale.metrics.measures import Score
from xscale.metrics.models import load_models
from xscale.metrics.scales import Octave, downscaled_scores, octaves, scale_report
from xscale.metrics.variants import EXTRAS, metric_names, score_photo
from xscale.report.predictions import Predictions
from xscale.report.score import protocol_of, summarise

Read = Callable[[str], np.ndarray]


def score_predictions(
    predictions: Predictions,
    test: Sequence[str],
    read_photo: Read,
    read_coverage: Read,
    read_footprint: Read | None = None,
    *,
    read_mask: Read | None = None,
    groups: Mapping[str, object],
    rules: Mapping[str, object],
    method: str,
    scene: str,
    lpips_weights: str | Path | None = None,
    extras: Collection[str] = EXTRAS,
    progress: Callable[[str], None] | None = None,
) -> dict[str, object]:
    """Score a method's pictures of a scene's test photos.

    Args:
        predictions: The pictures.
        test: Names of the test photos.
        read_photo: Gives a photo, uint8 [H, W, 3].
        read_coverage: Gives the pixels that the mesh covers, bool [H, W]: the same for all methods.
        read_footprint: Gives the size of each pixel on the surface, float [H, W], not finite where
            nothing is covered; None: pixels are not grouped by it.
        read_mask: Gives the pixels of a photo that may be used, bool [H, W]; None where the scene
            has no masks, and then there are no ``_masked`` scores.
        groups: Group of neighbouring views of each test photo, for intervals.
        rules: Everything that decides the figures and is the same for all methods: split, sizes,
            hashes of photos and masks. Two files are comparable where it is equal.
        method: Name of the method.
        scene: Name of the scene.
        lpips_weights: Folder with the backbones' weights.
        extras: Scores beside those of ``xscale score``.
        progress: Called with each photo's name when it is scored.

    Returns:
        The scores file: ``method``, ``scene``, ``protocol``, ``photos`` by name, ``mean``,
        ``counts``, ``missing``, ``scales``. A missing picture has null in every score, and then the
        means are null too: a mean over fewer photos is another figure.

    Raises:
        InputError: A picture is damaged or does not fit its photo.
    """
    models, notices = load_models(lpips_weights, extras)
    rows: dict[str, dict[str, Score]] = {}
    shares: dict[str, float] = {}
    blocks: dict[str, dict[int, dict[str, Score]]] = {}
    sums: dict[str, dict[int, Octave]] = {}
    nothing = dict.fromkeys(metric_names(read_mask is not None, extras))
    for name in test:
        coverage = read_coverage(name)
        shares[name] = float(coverage.mean())
        if name in predictions.entries:
            photo = read_photo(name)
            render = predictions.read(name, photo)
            mask = None if read_mask is None else read_mask(name)
            rows[name] = score_photo(render, photo, coverage, mask, models, extras=extras)
            blocks[name] = downscaled_scores(render, photo, coverage, models, extras)
            if read_footprint is not None:
                sums[name] = octaves(render, photo, coverage, read_footprint(name))
        else:
            rows[name] = dict(nothing)
        if progress is not None:
            progress(name)
    summary = summarise(rows, shares)
    warnings = list(notices)
    if predictions.missing:
        warnings.append(
            f"W-MISSING: {len(predictions.missing)} of {len(test)} test photos have no picture; "
            "means are null"
        )
        summary["mean"] = dict.fromkeys(summary["mean"])
    if predictions.extra:
        warnings.append(f"W-EXTRA: pictures that belong to no test photo: {len(predictions.extra)}")
    stated = protocol_of({}, models, warnings)
    rules = {**rules, "lpips": stated["lpips"]}
    return {
        "format": 1,
        "method": method,
        "scene": scene,
        "protocol": {
            **stated,
            "rules": rules,
            "hash": fingerprint_of(rules),
            "predictions": predictions.kind,
        },
        "groups": {name: str(groups[name]) for name in test},
        "sha256": dict(predictions.hashes),
        "photos": rows,
        "missing": list(predictions.missing),
        "extra": list(predictions.extra),
        **summary,
        "scales": scale_report(blocks, sums, not predictions.missing),
    }

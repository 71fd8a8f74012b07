"""Score the renders of a run's test photos: the scores file of the protocol."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import xscale
from xscale.errors import InputError
from xscale.io.hashing import with_own_hash
from xscale.io.names import png_name
from xscale.io.photo.images import image_size, read_rgb
from xscale.io.storage import write_json
from xscale.metrics.lpips_weights import NETS
from xscale.metrics.measures import Score
from xscale.metrics.models import load_models
from xscale.metrics.variants import metric_names, score_photo

_COVERED = 128
_MEANS = (
    "arithmetic mean of the photos' values; null values are left out and counted in "
    "counts.left_out; one inf makes the mean inf, counted in counts.inf"
)
_PACKAGES = ("numpy", "torch", "lpips", "pillow")


def score_renders(
    names: Sequence[str],
    read_photo: Callable[[str], np.ndarray],
    renders_dir: str | Path,
    coverage_dir: str | Path,
    masks: Callable[[str], np.ndarray | None] | None = None,
    lpips_weights: str | Path | None = None,
    protocol: Mapping[str, object] | None = None,
    *,
    suffixes: Collection[str] | None = None,
    extras: Collection[str] = (),
    warnings: Sequence[str] = (),
    progress: Callable[[str, Mapping[str, Score]], None] | None = None,
) -> dict[str, dict]:
    """Score every test photo's render.

    Args:
        names: Photo names, relative to the photo folder.
        read_photo: Gives a photo as uint8 [H, W, 3], reduced as the renders are.
        renders_dir: Folder with a PNG for each photo.
        coverage_dir: Folder with a PNG for each photo, 255 = covered.
        masks: Gives a photo's mask, bool [H, W], true = kept, or None for a photo without; None
            where the scene has no masks at all, and then there are no ``_masked`` scores.
        lpips_weights: Folder with the backbones' weights; None looks in the usual places.
        protocol: What the caller knows and the file must state: ``downscale``, ``split``,
            ``commit`` and the like.
        suffixes: The variants wanted, see :func:`score_photo`; None is all, as a scores file has.
        extras: Metrics and suffixes on request.
        warnings: Lines that a reader of the scores must see.
        progress: Called after every photo with its name and its scores.

    Returns:
        ``{"protocol": {...}, "photos": {NAME: {metric: value}}, "mean": {metric: value},
        "counts": {...}}``; NAME is :func:`png_name` of the photo's name. A missing value is None,
        an infinite one ``"inf"``, so that the result is strict JSON. Missing LPIPS weights are a
        line in ``protocol["warnings"]``.

    Raises:
        InputError: A render or coverage file is missing or has another size than its photo.
        UsageError: ``lpips_weights`` is not a folder, or no metric has such a name.
        SetupError: A metric on request lacks its package or weights.
        IntegrityError: A weights file is damaged.
    """
    renders_dir, coverage_dir = Path(renders_dir), Path(coverage_dir)
    for name in names:
        for folder in (renders_dir, coverage_dir):
            _require(folder / png_name(name))
    models, notices = load_models(lpips_weights, extras)
    rows: dict[str, dict[str, Score]] = {}
    shares: dict[str, float] = {}
    for name in names:
        photo = read_photo(name)
        render, coverage = read_pair(name, photo, renders_dir, coverage_dir)
        mask = masks(name) if masks else None
        if masks and mask is None:
            mask = np.ones(photo.shape[:2], bool)
        row = score_photo(render, photo, coverage, mask, models, suffixes, extras)
        rows[png_name(name)] = row
        shares[png_name(name)] = float(coverage.mean())
        if progress:
            progress(name, row)
    stated = protocol_of(protocol or {}, models, [*warnings, *notices])
    return {"protocol": stated, "photos": rows, **summarise(rows, shares)}


def summarise(
    rows: Mapping[str, Mapping[str, Score]], shares: Mapping[str, float]
) -> dict[str, dict]:
    """Make ``mean`` and ``counts`` of rows.

    Args:
        rows: Scores by photo, all with the same names.
        shares: The covered share of each photo's frame, 0 to 1.

    Returns:
        ``{"mean": {metric: value}, "counts": {...}}``.
    """
    names = next(iter(rows.values())).keys() if rows else metric_names()
    mean: dict[str, Score] = {}
    left_out, infinite = {}, {}
    for metric in names:
        values = [row[metric] for row in rows.values()]
        numbers = [math.inf if v == "inf" else v for v in values if v is not None]
        average = math.fsum(numbers) / len(numbers) if numbers else None
        mean[metric] = "inf" if average == math.inf else average
        if len(numbers) < len(values):
            left_out[metric] = len(values) - len(numbers)
        if math.inf in numbers:
            infinite[metric] = numbers.count(math.inf)
    counts = {
        "photos": len(rows),
        "without_covered_pixels": sum(share == 0 for share in shares.values()),
        "left_out": left_out,
        "inf": infinite,
        "covered_share": dict(shares),
    }
    return {"mean": mean, "counts": counts}


def write_scores(path: str | Path, scores: Mapping[str, object], *, overwrite: bool = True) -> None:
    """Write a scores file, with a hash of itself, atomically.

    Raises:
        OutputExistsError: It already exists and ``overwrite`` is false.
        StorageError: It cannot be written.
    """
    write_json(path, with_own_hash(scores), overwrite=overwrite)


def read_pair(
    name: str, photo: np.ndarray, renders_dir: Path, coverage_dir: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Read the render and the coverage that belong to a photo.

    Returns:
        uint8 [H, W, 3] and bool [H, W], of the photo's size.

    Raises:
        InputError: A file is missing, damaged or of another size.
    """
    pictures = []
    for folder in (renders_dir, coverage_dir):
        path = folder / png_name(name)
        _require(path)
        width, height = image_size(path)
        if (height, width) != photo.shape[:2]:
            raise InputError(
                f"is {width} x {height}, the photo is {photo.shape[1]} x {photo.shape[0]}",
                where=path,
                advice="render the test photos again at the run's own size",
            )
        pictures.append(read_rgb(path)[0])
    return pictures[0], pictures[1][:, :, 0] >= _COVERED


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            "does not exist", where=path, advice="render the test photos first: xscale render RUN"
        )


def protocol_of(
    stated: Mapping[str, object], models: Mapping[str, Any], warnings: Sequence[str]
) -> dict[str, object]:
    """Return what a scores file states of how its figures were made.

    Args:
        stated: What the caller knows.
        models: What metrics were given beside the pictures, by name.
        warnings: Lines that a reader of the scores must see.
    """
    versions = {"xscale": xscale.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "format": 1,
        **stated,
        "means": _MEANS,
        "lpips": {net: models[net].source if net in models else None for net in NETS},
        **{name: model.source for name, model in models.items() if name not in NETS},
        "versions": versions,
        "warnings": list(warnings),
    }

"""The table of metrics: a row is all that the program knows of one, from its name to its measure.

To add a metric, add a row to ``METRICS``: scores files, tables and pages follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xscale.metrics.lpips import unit_range
from xscale.metrics.psnr import psnr
from xscale.metrics.ssim import mean_over, ssim_map

Score = float | str | None
Models = Mapping[str, Any]
"""Networks and packages that metrics need, by name; a metric without its model scores None."""


class Pair(NamedTuple):
    """Two pictures to compare and where."""

    render: np.ndarray
    """[H, W, 3], as it is for PSNR: uint8, or float64 in [0, 1] after a colour fit."""
    filled: np.ndarray
    """The same with left-out pixels replaced by the photo's, for all other metrics."""
    photo: np.ndarray
    """[H, W, 3], uint8 or float64 in [0, 1]."""
    weight: np.ndarray | None
    """bool [H, W]; None counts every pixel."""


class Metric(NamedTuple):
    """A metric's row."""

    name: str
    title: str
    """As tables show it, with an arrow towards the better side."""
    measure: Callable[[Sequence[Pair], Models], list[Score]]
    """Scores pairs, which share pictures, all at once."""
    lower_is_better: bool = True
    digits: int = 4
    on_request: bool = False
    """Whether ``xscale score`` leaves it out."""


def _psnr(pairs: Sequence[Pair], models: Models) -> list[Score]:
    found = (psnr(unit_range(p.render), unit_range(p.photo), p.weight) for p in pairs)
    return ["inf" if decibels == math.inf else decibels for decibels in found]


def _ssim(pairs: Sequence[Pair], models: Models) -> list[Score]:
    def make(pair: Pair) -> np.ndarray:
        return ssim_map(unit_range(pair.filled), unit_range(pair.photo))

    return _once(pairs, make, lambda similarity, pair: mean_over(similarity, pair.weight))


def _once(
    pairs: Sequence[Pair],
    make: Callable[[Pair], Any],
    finish: Callable[[Any, Pair], Score],
) -> list[Score]:
    """Make something of two pictures once, however many pairs have them; finish it for each."""
    made: dict[tuple[int, int], Any] = {}
    scores = []
    for pair in pairs:
        key = (id(pair.filled), id(pair.photo))
        if key not in made:
            made[key] = make(pair)
        scores.append(finish(made[key], pair))
    return scores


def _network(model: str, **options: bool) -> Callable[[Sequence[Pair], Models], list[Score]]:
    """Return a measure by a network that compares many pictures at once."""

    def measure(pairs: Sequence[Pair], models: Models) -> list[Score]:
        if model not in models:
            return [None] * len(pairs)
        pictures: dict[int, np.ndarray] = {}
        for pair in pairs:
            pictures.update({id(pair.filled): pair.filled, id(pair.photo): pair.photo})
        place = {key: i for i, key in enumerate(pictures)}
        wanted = [(place[id(pair.filled)], place[id(pair.photo)]) for pair in pairs]
        return models[model].distances(list(pictures.values()), wanted, **options)

    return measure


def _flip(pairs: Sequence[Pair], models: Models) -> list[Score]:
    if "flip" not in models:
        return [None] * len(pairs)

    def make(pair: Pair) -> np.ndarray:
        return models["flip"].error_map(unit_range(pair.filled), unit_range(pair.photo))

    def finish(errors: np.ndarray, pair: Pair) -> Score:
        counted = errors if pair.weight is None else errors[pair.weight]
        return float(counted.mean(dtype=np.float64)) if counted.size else None

    return _once(pairs, make, finish)


METRICS = (
    Metric("psnr", "PSNR\u00a0↑", _psnr, lower_is_better=False, digits=2),
    Metric("ssim", "SSIM\u00a0↑", _ssim, lower_is_better=False),
    Metric("lpips_vgg", "LPIPS VGG\u00a0↓", _network("vgg")),
    Metric("lpips_alex", "LPIPS Alex\u00a0↓", _network("alex")),
    Metric("lpips_vgg_unit", "LPIPS VGG, [0, 1]\u00a0↓", _network("vgg", shifted=False),
           on_request=True),
    Metric("dists", "DISTS\u00a0↓", _network("dists"), on_request=True),
    Metric("flip", "FLIP\u00a0↓", _flip, on_request=True),
)  # fmt: skip
"""All metrics, in the order of tables and scores files."""


def metric_of(score: str) -> Metric:
    """Return the metric of a score's name, such as ``lpips_vgg_covered_cc``.

    Raises:
        KeyError: There is none.
    """
    fits = [m for m in METRICS if score == m.name or score.startswith(m.name + "_")]
    if not fits:
        raise KeyError(score)
    return max(fits, key=lambda metric: len(metric.name))


def metrics_wanted(extras: Collection[str] = ()) -> tuple[Metric, ...]:
    """Return the metrics of every scores file, and those on request that are named."""
    return tuple(m for m in METRICS if not m.on_request or m.name in extras)

"""Differences between two methods: paired by photo, with intervals over groups of neighbours.

Neighbouring views share their errors, so photos are not independent: whole groups of them are drawn
(a cluster bootstrap). Few groups make percentiles too narrow; they are widened by the ratio of
Student's t to the normal quantile and by sqrt(G / (G - 1)) (Cameron and Miller, "A practitioner's
guide to cluster-robust inference", 2015, section VI).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 4000
_NORMAL = 1.959964
# Quantiles 0.975 of Student's t by degrees of freedom, from 1.
# fmt: off
_STUDENT = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)
# fmt: on


@dataclass(frozen=True)
class Interval:
    """A mean difference and its 95 % interval."""

    mean: float
    low: float
    high: float
    groups: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the two methods differ beyond chance."""
        return self.low > 0 or self.high < 0


def paired_interval(
    differences: Sequence[float], groups: Sequence[Hashable], seed: int = 0
) -> Interval:
    """Return the mean of paired differences with its 95 % interval.

    Args:
        differences: One a photo: score of the first method minus score of the second.
        groups: The group of neighbouring views of each photo.
        seed: Of the draws; the same input gives the same interval.

    Returns:
        The interval; infinite where there are fewer than two groups.
    """
    values = np.asarray(differences, np.float64)
    if len(values) != len(groups) or not len(values):
        raise ValueError(f"{len(values)} differences, {len(groups)} groups")
    names = sorted(set(groups), key=str)
    place = {name: i for i, name in enumerate(names)}
    member = np.array([place[group] for group in groups])
    sums = np.bincount(member, values, len(names))
    counts = np.bincount(member, minlength=len(names)).astype(np.float64)
    mean, number = float(values.mean()), len(names)
    if number < 2:
        return Interval(mean, -math.inf, math.inf, number)
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, number, (_DRAWS, number))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    student = _STUDENT[number - 2] if number - 2 < len(_STUDENT) else _NORMAL
    wider = student / _NORMAL * math.sqrt(number / (number - 1))
    return Interval(mean, mean + (low - mean) * wider, mean + (high - mean) * wider, number)


def neighbour_groups(names: Sequence[str], groups: int = 6) -> dict[str, int]:
    """Return the group of each photo where nobody says which views are neighbours.

    Photos are taken one after the other, so equal runs of their sorted names are neighbours.

    Args:
        names: Names of the test photos.
        groups: How many groups; fewer where there are fewer photos.
    """
    ordered = sorted(names)
    count = max(1, min(groups, len(ordered)))
    return {name: i * count // len(ordered) for i, name in enumerate(ordered)}

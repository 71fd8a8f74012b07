"""Intervals of paired differences cover the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xscale.report.ranking import rank
from xscale.report.statistics import neighbour_groups, paired_interval

REPEATS = 500


@pytest.mark.parametrize(
    "sizes",
    [
        (8,) * 6, (20,) * 6, (5,) * 12, (3,) * 30,
        # Clusters as they are, a split that holds out one cluster, and few groups.
        (3, 5, 8, 10, 14, 20), (40, 2, 2, 2, 2, 2), (3, 3, 3), (1, 1),
    ],
)  # fmt: skip
def test_intervals_cover_the_truth_as_often_as_they_say(sizes):
    chance = np.random.default_rng(1)
    groups, member = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    covered = false_alarms = 0
    for _ in range(REPEATS):
        # Neighbours share half of their error's variance.
        shared = chance.normal(0, 0.3, groups)[member]
        difference = 0.2 + shared + chance.normal(0, 0.3, len(member))
        found = paired_interval(difference, member)
        covered += found.low <= 0.2 <= found.high
        false_alarms += paired_interval(difference - 0.2, member).excludes_zero
    assert 0.92 <= covered / REPEATS <= 0.985
    assert false_alarms / REPEATS <= 0.08


def scores_of(method, rows, groups):
    return {
        "method": method, "scene": "s", "protocol": {"hash": "x"}, "groups": groups,
        "photos": rows, "mean": {"psnr": float(np.mean([row["psnr"] for row in rows.values()]))},
    }  # fmt: skip


def test_a_table_of_two_methods_says_their_known_difference_as_often_as_it_should():
    chance = np.random.default_rng(4)
    member = np.repeat(np.arange(6), (3, 5, 8, 10, 14, 20))
    groups = {f"{i:02d}.png": str(m) for i, m in enumerate(member)}
    covered = marked = 0
    for _ in range(REPEATS):
        photo = chance.normal(25, 3, len(member))
        better = photo + 0.2 + chance.normal(0, 0.1, 6)[member]
        rows = [
            {name: {"psnr": value} for name, value in zip(groups, values, strict=True)}
            for values in (better, photo + chance.normal(0, 0.1, len(member)))
        ]
        (found,) = rank(
            [scores_of(name, row, groups) for name, row in zip("ab", rows, strict=True)]
        )
        interval = found.intervals["psnr", "a", "b"]
        covered += interval.low <= 0.2 <= interval.high
        marked += found.cells["b", "psnr"].best
        assert found.cells["a", "psnr"].best == (interval.low > 0)
    assert 0.92 <= covered / REPEATS <= 0.985
    # The worse one is never called the best.
    assert marked == 0


def test_photos_taken_one_by_one_would_be_too_sure():
    chance = np.random.default_rng(2)
    member = np.repeat(np.arange(6), 20)
    covered = 0
    for _ in range(200):
        difference = chance.normal(0, 0.3, 6)[member] + chance.normal(0, 0.1, 120)
        found = paired_interval(difference, np.arange(120))
        covered += found.low <= 0 <= found.high
    assert covered / 200 < 0.7


def test_the_same_scores_have_the_same_interval_and_one_group_says_nothing():
    values = [0.1, 0.2, 0.3, 0.4]
    assert paired_interval(values, "aabb") == paired_interval(values, "aabb")
    alone = paired_interval(values, "aaaa")
    assert (alone.low, alone.high) == (-math.inf, math.inf)
    assert not alone.excludes_zero
    with pytest.raises(ValueError, match="differences"):
        paired_interval([], [])


def test_neighbours_are_runs_of_sorted_names():
    names = [f"{i:03d}.jpg" for i in range(20)]
    groups = neighbour_groups(names[::-1])
    assert [groups[n] for n in names] == sorted(groups.values())
    assert set(groups.values()) == set(range(6))
    assert len(set(neighbour_groups(names[:3]).values())) == 3

"""Intervals of paired differences cover the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xscale.report.statistics import neighbour_groups, paired_interval

REPEATS = 500


@pytest.mark.parametrize(("groups", "each"), [(6, 8), (6, 20), (12, 5), (30, 3)])
def test_intervals_cover_the_truth_as_often_as_they_say(groups, each):
    chance = np.random.default_rng(1)
    member = np.repeat(np.arange(groups), each)
    covered = false_alarms = 0
    for _ in range(REPEATS):
        # Neighbours share half of their error's variance.
        shared = chance.normal(0, 0.3, groups)[member]
        difference = 0.2 + shared + chance.normal(0, 0.3, groups * each)
        found = paired_interval(difference, member)
        covered += found.low <= 0.2 <= found.high
        false_alarms += paired_interval(difference - 0.2, member).excludes_zero
    assert 0.92 <= covered / REPEATS <= 0.985
    assert false_alarms / REPEATS <= 0.08


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

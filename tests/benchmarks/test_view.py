"""The viewer's table: every row has a figure that was measured."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from benchmarks import view
from tests.render.conftest import write_tiny_run
from xscale.cli import bench, main


@pytest.fixture(scope="module")
def run_path(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("viewed") / "run")


def test_every_row_of_the_table_has_a_figure(run_path, monkeypatch):
    monkeypatch.setattr(view, "_start", lambda path, size: view._row("start", 1, "s", "3", True, 0))
    rows = view.measured(run_path, (96, 54), 0.6)
    assert len({row["what"] for row in rows}) == len(rows) >= 14
    assert all(math.isfinite(row["figure"]) for row in rows)
    by_name = {row["what"]: row["figure"] for row in rows}
    assert by_name["moving pictures"] > 1
    assert by_name["rest to the exact picture"] <= by_name["rest to 2 x 2 samples"]
    assert by_name["input to moved picture, median"] <= by_name["input to moved picture, 95 %"]


def test_the_motion_goes_on_without_jumps(run_path):
    from xscale.render.run import Run

    motion, rest = view._motion(Run.open(run_path), (96, 54))
    places = [motion(moment / 60).position for moment in range(120)]
    steps = [math.dist(a, b) for a, b in pairwise(places)]
    assert max(steps) < 0.1
    assert sum(steps) > 0.3
    assert len(rest) == 3


def test_wrong_sizes_and_lengths_are_refused(run_path):
    assert main.main(["bench", "view", "--run", str(run_path), "--size", "wide"]) == 2
    assert main.main(["bench", "view", "--run", str(run_path), "--seconds", "0"]) == 2
    assert main.main(["bench", "view", "--run", str(run_path.parent)]) == 3
    assert bench.benchmarks_folder().name == "benchmarks"

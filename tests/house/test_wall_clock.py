"""Clocks that people set jump: only monotonic time decides."""

from __future__ import annotations

from tests.house.tree import calls, files, name_of

_WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}


def test_no_decision_asks_the_wall_clock():
    sources = [*files(".py", under="xscale"), *files(".py", under="viewer")]
    assert len(sources) > 100
    asked = [
        f"{name_of(path)}:{node.lineno} calls {name}"
        for path in sources
        for name, node in calls(path)
        if name in _WALL
    ]
    assert asked == []

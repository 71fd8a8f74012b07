"""Any change of a file may be the last, or fail: what was good stays, the same command goes on."""

from __future__ import annotations

import errno

import pytest

from tests.storage_faults.commands import COMMANDS, Place, leftovers

ERRORS = {"killed": (0, False), "full": (errno.ENOSPC, True), "full once": (errno.ENOSPC, False),
          "unreadable once": (errno.EIO, False)}  # fmt: skip
IN_CI = 3
"""Moments of each command that are tried in every run of the tests; all are in make test-long."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("faults"))
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def whole():
    """What commands write that nothing disturbs, by name."""
    return {}


def _undisturbed(place, whole, name):
    if name not in whole:
        command = COMMANDS[name]
        place.begin(command)
        answer = place.server.run(place.words(command.words))
        assert answer.code == 0, answer.said
        assert leftovers(place.work) == []
        assert answer.calls >= 4
        whole[name] = answer.calls, place.files(command)
    return whole[name]


def _is_whole(place, command, wanted):
    """Whether a command that writes one thing, once, was done when it was killed or failed."""
    return not command.again and not leftovers(place.work) and place.files(command) == wanted


def _disturbed(place, whole, name, kind, call):
    """Let a call fail; then nothing half is left, and the command goes on to the same files."""
    command, (error, lasting) = COMMANDS[name], ERRORS[kind]
    _, wanted = whole[name]
    place.begin(command)
    what = f"{name}, {kind} at {call}"
    answer = place.server.run(place.words(command.words), call, error, lasting)
    if kind == "killed":
        assert answer.code == -9, f"{what}: {answer.said}"
    else:
        lines = [line for line in answer.said.splitlines() if "xscale: error: " in line]
        assert answer.code in (0, 4), f"{what}: {answer.code}, {answer.said}"
        assert len(lines) == (answer.code == 4), f"{what}: {answer.said}"
        assert "Traceback" not in answer.said, f"{what}: {answer.said}"
    if answer.code != 0 and not _is_whole(place, command, wanted):
        run = place.work / "run"
        # An empty folder holds nothing to go on with.
        begun = command.again and run.exists() and any(run.iterdir())
        again = command.again if begun else command.words
        answer = place.server.run(place.words(again))
        assert answer.code == 0, f"{what}, then again: {answer.said}"
    found = place.files(command)
    if kind != "killed":
        # A preview or a log line that finds no room is done without.
        wanted = {n: h for n, h in wanted.items() if "previews/" not in n}
        found = {n: h for n, h in found.items() if "previews/" not in n}
    different = sorted(n for n in {**found, **wanted} if found.get(n) != wanted.get(n))
    assert different == [], what
    assert leftovers(place.work) == [], what


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", COMMANDS)
def test_storage_that_fails_now_and_then_costs_nothing(place, whole, name, kind):
    calls, _ = _undisturbed(place, whole, name)
    first = 1 + list(ERRORS).index(kind)
    for call in range(first, calls + 1, max(1, calls // IN_CI)):
        _disturbed(place, whole, name, kind, call)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", COMMANDS)
def test_storage_that_fails_at_any_change_costs_nothing(place, whole, name, kind):
    calls, _ = _undisturbed(place, whole, name)
    for call in range(1, calls + 1):
        _disturbed(place, whole, name, kind, call)

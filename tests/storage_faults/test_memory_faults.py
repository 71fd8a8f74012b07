"""Memory that runs out anywhere: exit code 5 and one line, and the same command goes on."""

from __future__ import annotations

import pytest

from tests.storage_faults.commands import COMMANDS, Place, leftovers

MIB = 1 << 20
FEW = (0, 12, 40)
"""MiB of addresses in every run of the tests; all below in make test-long."""
ALL = (0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("memory"))
    yield made
    made.server.close()


def _within(place, name, rooms):
    command, refused = COMMANDS[name], 0
    for room in rooms:
        place.begin(command)
        answer = place.server.run_within(place.words(command.words), room * MIB)
        what = f"{name} within {room} MiB: {answer.code}, {answer.said}"
        assert answer.code in (0, 5), what
        assert "Traceback" not in answer.said, what
        lines = [line for line in answer.said.splitlines() if "xscale: error: " in line]
        assert len(lines) == (answer.code == 5), what
        assert leftovers(place.work) == [], what
        if answer.code == 5:
            refused += 1
            begun = command.again and (place.work / "run").exists()
            again = place.server.run(place.words(command.again if begun else command.words))
            assert again.code == 0, f"{what}, then again: {again.said}"
            assert leftovers(place.work) == [], what
    return refused


@pytest.mark.parametrize("name", ["train", "render", "score", "mesh"])
def test_a_command_without_memory_ends_with_one_line_and_goes_on(place, name):
    assert _within(place, name, FEW) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_memory_at_any_moment_ends_with_one_line_and_goes_on(place, name):
    assert _within(place, name, ALL) > 0

"""No command connects to anything: none opens a socket of a network or asks for a host's name."""

import pytest

from tests.storage_faults.commands import COMMANDS, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("network"))
    yield made
    made.server.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_asks_for_a_network(place, name):
    command = COMMANDS[name]
    place.begin(command)
    answer = place.server.run(place.words(command.words))
    assert answer.code == 0, answer.said
    assert answer.networks == 0


@pytest.mark.parametrize("words", [["doctor"], ["--help"], ["train", "--help"]])
def test_questions_ask_for_no_network_either(place, words):
    assert place.server.run(words).networks == 0


def test_a_connection_would_be_seen(place):
    place.begin(COMMANDS["inspect"])
    assert place.server.run_and_connect(["--help"]).networks > 0

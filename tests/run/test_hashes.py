"""Files of a run that are read back carry a hash: a flipped bit is named, or changes nothing."""

from __future__ import annotations

import json
import random

import pytest

from xscale.errors import IntegrityError
from xscale.io.hashing import checked_by_own_hash, with_own_hash
from xscale.io.own_files import read_own_json
from xscale.report.score import write_scores
from xscale.run.folder import RunFolder

LINES = [
    {"step": 10, "loss": 0.25, "psnr": 17.125, "time": 2.0},
    {"step": 20, "checkpoint": True},
    {"step": 30, "loss": float("nan"), "note": "é \u2028"},
]


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path)
    for line in LINES:
        folder.log(line)
    return folder


def flips(data, count):
    chance = random.Random(count)
    for _ in range(count):
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def test_a_flipped_bit_of_the_log_costs_its_line_and_is_named(folder):
    data, whole = folder.metrics_file.read_bytes(), repr(folder.logged())
    assert whole == repr(LINES)
    assert folder.log_warnings() == []
    named = 0
    for damaged in flips(data, 600):
        folder.metrics_file.write_bytes(damaged)
        lines, warnings = folder.logged(), folder.log_warnings()
        # A flip within the name of the checksum leaves the line's numbers as they were.
        values = [{k: line[k] for k in ("step", "loss", "psnr", "time", "checkpoint", "note")
                   if k in line} for line in lines]  # fmt: skip
        assert all(repr(value) in map(repr, LINES) for value in values)
        assert warnings or repr(values) == whole
        named += bool(warnings)
    assert named > 500


def test_lines_of_older_versions_count_as_whole(folder):
    folder.metrics_file.write_text('{"step": 1}\n{"step": 2}\n')
    folder.log({"step": 3})
    assert folder.logged() == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert folder.log_warnings() == []


def test_a_line_that_a_kill_tore_is_named_and_the_next_is_whole(folder):
    with folder.metrics_file.open("ab") as log:
        log.write(b'{"step": 40, "lo')
    folder.log({"step": 50})
    assert [line["step"] for line in folder.logged()] == [10, 20, 30, 50]
    assert folder.log_warnings() == ["W-LOG: metrics.jsonl: line 4 is damaged and left out"]


def test_a_flipped_bit_of_scores_is_found_or_harmless(tmp_path):
    path = tmp_path / "scores.json"
    scores = {"mean": {"psnr": 27.25, "ssim": 0.5}, "photos": {"a.png": {"psnr": None}}}
    write_scores(path, scores)
    data, found = path.read_bytes(), 0
    for damaged in flips(data, 400):
        path.write_bytes(damaged)
        try:
            read = checked_by_own_hash(read_own_json(path), path, "")
        except IntegrityError:
            found += 1
        else:
            assert {key: read[key] for key in scores} == scores
    assert found > 350


def test_an_object_without_a_hash_is_read_where_older_versions_wrote_none():
    assert checked_by_own_hash({"a": 1}, "x", "") == {"a": 1}
    assert checked_by_own_hash(with_own_hash({"a": 1}), "x", "") == {"a": 1}
    with pytest.raises(IntegrityError, match="x: does not match its own hash"):
        checked_by_own_hash({"a": 1}, "x", "", required=True)
    with pytest.raises(IntegrityError):
        checked_by_own_hash(json.loads('{"a": 2, "self": "00"}'), "x", "")

from __future__ import annotations

import json

import pytest

from xscale.cli import bench, main
from xscale.errors import SetupError

FAKE = """
def rows():
    return [{"name": "fake", "shape": "1 x 2", "threads": 2, "isa": "avx2", "unit": "ms",
             "ours": 1.0, "peer": 12.0, "peer_name": "other", "ratio": 12.0,
             "share_of_ceiling": 0.5}]
"""
KEYS = {"name", "shape", "threads", "isa", "ours", "peer", "peer_name", "ratio",
        "share_of_ceiling"}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A benchmarks folder with two row files."""
    for name in ("op_fake.py", "op_rasterize.py"):
        (tmp_path / name).write_text(FAKE)
    monkeypatch.setattr(bench, "benchmarks_folder", lambda: tmp_path)
    return tmp_path


def test_bench_prints_a_table_and_writes_rows_machine_and_commit(folder, tmp_path, capsys):
    file = tmp_path / "out.json"
    assert main.main(["bench", "raster", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert set(found) >= {"rows", "machine", "commit"}
    assert len(found["rows"]) == 1
    assert set(found["rows"][0]) >= KEYS
    assert "fake" in capsys.readouterr().out


def test_bench_without_a_name_times_everything(folder, capsys):
    assert main.main(["bench"]) == 0
    assert capsys.readouterr().out.count("other") == 2


def test_bench_refuses_an_existing_file_unless_told(folder, tmp_path, capsys):
    file = tmp_path / "out.json"
    file.write_text("mine")
    assert main.main(["bench", "fake", "--json", str(file)]) == 4
    assert file.read_text() == "mine"
    assert main.main(["bench", "fake", "--json", str(file), "--overwrite"]) == 0


def test_bench_names_what_there_is(folder, capsys):
    assert main.main(["bench", "nothing"]) == 2
    assert "fake, rasterize" in capsys.readouterr().err


def test_without_a_checkout_bench_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bench.xscale, "__file__", str(tmp_path / "xscale/__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="checkout"):
        bench.benchmarks_folder()


def test_turns_are_taken_in_both_orders():
    from benchmarks._timing import milliseconds

    order = []
    times = milliseconds(
        {"ours": lambda: order.append("o"), "peer": lambda: order.append("p")}, seconds=0, least=3
    )
    assert "".join(order) == "op" + "oppoop"
    assert times["ours"]["rounds"] == 3
    assert times["ours"]["best"] <= times["ours"]["median"]

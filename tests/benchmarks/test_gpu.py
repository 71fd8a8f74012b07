"""What the GPU's part of the benchmarks does where there is no GPU, and what it writes."""

import json
import os
import subprocess

import pytest
import torch

from benchmarks import tables
from tests.house.tree import ROOT

MACHINE = {"gpu": {"name": "a GPU"}}
OURS = {
    "name": "encode forward", "shape": "paper", "peer_name": "PyTorch", "ours": 1.25, "peer": 50.0,
    "ratio": 40.0, "share_of_ceiling": 0.625, "peers_ms": {"other": 2.5}, "group": "encode",
}  # fmt: skip
RATE = {"name": "copy", "shape": "1 GB", "rate": 2987.6, "unit": "GB/s", "group": "ceilings"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_check_says_in_one_line_that_there_is_no_gpu(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "benchmarks/gpu_check.sh", "3"], cwd=ROOT, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 13
    assert done.stderr.splitlines() == [
        "gpu-check: no NVIDIA GPU is here (nvidia-smi shows none): nothing was measured"
    ]
    assert done.stdout == ""


def test_bars_are_kept_as_they_are_measured_and_a_failure_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")
    from benchmarks import gpu_bars

    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")  # the import asks for the GPU
    file = tmp_path / "gpu.json"

    def encode():
        yield dict(OURS)
        raise RuntimeError("xscale: encode: out of luck")

    def ceilings():
        assert len(json.loads(file.read_text())["rows"]) == 2
        yield dict(RATE)

    for module, name in ((torch.cuda, "is_available"), (gpu_bars.ops, "cuda_built")):
        monkeypatch.setattr(module, name, lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(gpu_bars._machine, "describe", lambda: MACHINE)
    monkeypatch.setattr(gpu_bars, "PARTS", {3: (encode, ceilings)})
    for _ in range(2):  # a second run replaces the first one's rows
        assert gpu_bars.main(["--part", "3", "--json", str(file)]) == 1
        monkeypatch.setattr(gpu_bars, "PARTS", {3: (encode,)})
    rows = json.loads(file.read_text())["rows"]
    assert [r["group"] for r in rows] == ["ceilings", "encode", "encode"]
    assert rows[2]["failure"] == "RuntimeError: xscale: encode: out of luck"


def test_bars_without_a_gpu_measure_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")
    from benchmarks import gpu_bars

    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_bars.main(["--part", "4", "--json", str(tmp_path / "gpu.json")]) == 13
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_table_shows_bars_ceilings_and_failures():
    failed = {"name": "raster", "shape": "", "failure": "a | b", "group": "raster"}
    found = {"rows": [OURS, RATE, failed], "machine": MACHINE, "commit": "abc"}
    lines = tables.gpu(found)
    assert lines[2] == (
        "| encode forward | paper | PyTorch | 1.250 | 50.000 | 40.0 | 0.62 | other 2.500 ms |"
    )
    assert lines[3].startswith("| copy | 1 GB | ceiling | 2,988 GB/s |")
    assert lines[4].startswith("| raster | FAILED: a / b |")
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "a GPU, commit abc" in lines[-1]

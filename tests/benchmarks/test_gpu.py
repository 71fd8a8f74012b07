"""The GPU's part of the benchmarks on a machine without one: what it does and what it writes."""

import json
import os
import subprocess

import pytest
import torch

from benchmarks import gpu_marks, op_raster, tables
from benchmarks.gpu_egl import HardwareRaster
from benchmarks.gpu_terrain import clip_from_local, terrain_surface
from tests.house.tree import ROOT
from xscale.gbuffer.build import build_surface, visibility
from xscale.geometry.mesh import Mesh

MACHINE = {"gpu": {"name": "a GPU"}}
OURS = {
    "name": "encode forward", "shape": "paper", "peer_name": "PyTorch", "ours": 1.25, "peer": 50.0,
    "ratio": 40.0, "share_of_ceiling": 0.625, "peers_ms": {"other": 2.5}, "group": "encode",
}  # fmt: skip
RATE = {"name": "copy", "shape": "1 GB", "rate": 2987.6, "unit": "GB/s", "group": "ceilings"}
VISITS = {
    "name": "read 32 bytes, 8 under way", "shape": "8 MB", "rate": 45678.9, "unit": "M/s",
    "megabytes": 8, "group": "ceilings",
}  # fmt: skip


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


def test_what_finds_no_time_says_so(monkeypatch):
    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")
    from benchmarks import gpu_bars

    monkeypatch.setenv("XSCALE_BENCH_DEVICE", "cpu")
    now = [0.0]
    monkeypatch.setattr(gpu_bars.time, "monotonic", lambda: now[0])

    def raster():
        for _ in range(3):
            now[0] += 4.0
            yield dict(OURS)

    found = list(gpu_bars._guarded(raster, 7.0))
    assert [r.get("failure") for r in found] == [None, None, "no time was left for (more of) it"]
    assert found[-1]["name"] == "raster"


def test_a_bar_is_met_only_where_all_of_it_was_measured_and_reached():
    bar = gpu_marks.Bar(ratio=30, others={"compiled": 8}, share=0.65)
    row = {"ours": 1.0, "ratio": 31.0, "share_of_ceiling": 0.7, "peers_ms": {"compiled": 8.5}}
    assert bar.met(row) is True
    assert bar.met({**row, "ratio": 29.0}) is False
    assert bar.met({**row, "ratio": None}) is None
    assert bar.met({**row, "ratio": None, "share_of_ceiling": 0.6}) is False
    assert bar.met({**row, "peers_ms": {}}) is None
    slow = gpu_marks.Bar(ms=2.5, at_most={"deterministic": 1.6}, rate=("mray_per_s", 100))
    row = {"ours": 2.0, "peers_ms": {"deterministic": 3.1}, "mray_per_s": 120.0}
    assert slow.met(row) is True
    assert slow.met({**row, "peers_ms": {"deterministic": 3.3}}) is False
    assert slow.met({**row, "mray_per_s": 90.0}) is False
    assert slow.text() == "<= 2.5 ms; >= 100 mray_per_s; deterministic <= 1.6 x ours"
    step = {"name": "training step", "ours": 10.0, "ratio": 20.0, "mray_per_s": 150.0}
    for deterministic, met in ((30.0, True), (33.0, False)):
        times = {"float32": 20.0, "deterministic": deterministic}
        assert gpu_marks.judged({**step, "peers_ms": times})["met"] is met
    assert gpu_marks.judged({"name": "raster 2M", "ours": 0.1, "ratio": 6.0})["met"] is True
    assert gpu_marks.judged(RATE) == RATE


def test_a_terrain_made_in_place_is_the_surface_of_its_mesh():
    surface = terrain_surface(24, "cpu")
    view = op_raster.camera(160, 90)
    mesh = Mesh.from_world(surface.vertices.double().numpy(), surface.faces.numpy())
    sorted_faces = build_surface(mesh)
    packed = torch.from_numpy(view.packed())
    at = torch.from_numpy(view.recentred(mesh.origin).packed())
    ours = visibility(surface, packed, 160, 90)
    assert torch.equal(ours, visibility(sorted_faces, at, 160, 90))
    assert (ours >= 0).double().mean() > 0.5
    assert len(surface.faces) == 2 * 24 * 24


def test_the_hardware_rasterizer_draws_the_same_faces():
    surface = terrain_surface(24, "cpu")
    view = op_raster.camera(160, 90)
    try:
        hardware = HardwareRaster(160, 90)
    except OSError as error:
        pytest.skip(str(error))
    hardware.upload(surface.vertices.numpy(), surface.faces.numpy(), clip_from_local(view))
    hardware.draw()
    found = torch.from_numpy(hardware.face_ids())
    hardware.close()
    ours = visibility(surface, torch.from_numpy(view.packed()), 160, 90)
    assert (found != ours).double().mean() < 2e-3


def test_the_table_shows_bars_ceilings_and_failures():
    failed = {"name": "raster", "shape": "", "failure": "a | b", "group": "raster"}
    ours = gpu_marks.judged(OURS)
    found = {"rows": [ours, RATE, VISITS, failed], "machine": MACHINE, "commit": "abc"}
    lines = tables.gpu(found)
    assert lines[2] == (
        "| encode forward | paper | PyTorch | other 2.500 ms | >= 30 x; >= 8 x compiled; >= 65 % "
        "of the ceiling | no | 1.250 | 50.000 | 40.0 | 0.62 |"
    )
    assert lines[3].startswith("| copy | 1 GB | ceiling | - | - | - | 2,988 GB/s |")
    assert lines[4].startswith("| raster | FAILED: a / b |")
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "a GPU, commit abc" in lines[6]
    assert lines[-3:] == [
        "| rows visited, M/s | 8 MB |",
        "| --- | ---: |",
        "| read 32 bytes, 8 under way | 45,679 |",
    ]


def test_ratios_to_peers_that_copy_are_asked_as_of_an_h100():
    adam = {"name": "lazy adam 2^16", "ours": 0.4, "ratio": 5.5, "share_of_ceiling": 0.8}
    assert gpu_marks.judged(adam)["met"] is False
    assert gpu_marks.judged(adam, 2900.0)["met"] is False
    faster = gpu_marks.judged(adam, 4300.0)
    assert faster["met"] is True
    assert ">= 4.9 x" in faster["bar"]
    raster = {"name": "raster 2M", "ours": 0.1, "ratio": 4.0}
    assert gpu_marks.judged(raster, 4300.0)["met"] is False


def test_the_device_is_busy_when_the_clock_starts(monkeypatch):
    from benchmarks import _timing

    done = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append("event")

        def synchronize(self):
            done.append("wait")

        def elapsed_time(self, end):
            return 1.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append("sleep"))
    assert _timing._once(lambda: done.append("work"), on_gpu=True) == 1.5
    assert done == ["sleep", "event", "work", "event", "wait"]


def test_a_failing_op_hides_no_other_in_gpu_check(tmp_path):
    tools = {
        "nvidia-smi": "echo a GPU",
        "nvcc": "true",
        "cmake": "true",
        "python": f"""
            echo "$@" >> {tmp_path}/calls
            case "$*" in
                -c*) echo one two three;;
                *"[two]"*) exit 1;;
            esac""",
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHON": "python",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "benchmarks/gpu_check.sh", "1"], cwd=ROOT, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "gpu-check: two failed" in done.stderr
    assert "three failed" not in done.stderr
    calls = (tmp_path / "calls").read_text()
    for op in ("one", "two", "three"):
        assert f"on_the_device[{op}]" in calls
    assert "-m cuda tests --deselect" in calls

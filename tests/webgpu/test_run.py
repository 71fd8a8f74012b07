"""Jobs, scores and the viewer's service by WebGPU: what the CPU gives, to a step of a byte."""

from __future__ import annotations

import numpy as np
import pytest

from tests import builders
from tests.render.conftest import write_tiny_run
from xscale import Run, Scene, score_run
from xscale.cli.main import main
from xscale.errors import UsageError
from xscale.render.outputs import TABLE
from xscale.render.service import RenderService, ViewRequest
from xscale.training.api import train


@pytest.fixture(scope="module")
def runs(adapter, asymmetric, tmp_path_factory):
    path = write_tiny_run(asymmetric, tmp_path_factory.mktemp("runs") / "run")
    return Run.open(path), Run.open(path, f"webgpu:{adapter.number}")


def test_every_output_is_the_cpus(runs):
    cpu, gpu = runs
    names = [n for n in TABLE if n != "coverage"]
    camera = cpu.camera(cpu.names("train")[0])
    expected, found = (run.render(camera, names) for run in runs)
    same = (expected.face == found.face).numpy()
    assert same.mean() > 0.99
    assert 0.2 < expected.coverage.float().mean() < 1
    for name in names:
        a, b = (getattr(frame, name).double().numpy()[same] for frame in (expected, found))
        assert np.array_equal(np.isfinite(a), np.isfinite(b)), name
        finite = np.isfinite(a)
        assert np.allclose(a[finite], b[finite], rtol=1e-5, atol=1 if name == "colour" else 2e-3)
    assert gpu.where.startswith("webgpu:")


@pytest.mark.parametrize("background", ["white", "black"])
def test_samples_parts_exposures_and_backgrounds_are_followed(runs, background):
    cpu, _ = runs
    camera = cpu.camera(cpu.names("train")[0])
    options = {"samples": 2, "rect": (3, 5, 60, 40), "background": background}
    photo = cpu.names("train")[1]
    a, b = (run.render(camera, photo=photo, **options).colour.int().numpy() for run in runs)
    assert a.shape == (40, 60, 3)
    away = np.abs(a - b).max(-1)
    assert (away <= 1).mean() > 0.99


def test_a_job_says_which_device_made_it(runs, tmp_path):
    cpu, gpu = runs
    out = tmp_path / "out"
    argv = ["render", str(cpu.path), "--device", gpu.where, "--out", str(out), "--views", "train"]
    assert main([*argv, "--outputs", "colour", "depth"]) == 0
    journal = (out / "journal.jsonl").read_text()
    assert journal.count(f'"device": "{gpu.where}"') == len(cpu.names("train"))


def test_the_viewers_service_shows_pictures(runs):
    _, gpu = runs
    pictures = []
    camera = gpu.camera(gpu.names("train")[0])
    with RenderService(gpu, pictures.append) as service:
        service.request(ViewRequest(camera, moving=True))
        assert service.wait(60)
        service.request(ViewRequest(camera, samples=2))
        assert service.wait(60)
        assert service.last_error is None
    stages = [p.stage for p in pictures if p.complete]
    assert stages == ["moving", "moving", "exact", "refined"]  # the second from key frames
    expected = gpu.render(camera).colour.numpy()
    assert np.array_equal(
        next(p for p in pictures if p.stage == "exact" and p.complete).rgba[..., :3], expected
    )


def test_scores_are_the_cpus(adapter, asymmetric, tmp_path):
    scene = Scene.open(builders.write_colmap(asymmetric, tmp_path / "scene"))
    path = train(scene, out=tmp_path / "run", steps=3, settings=["optim.batch=64"]).path
    a, b = (score_run(path, device=name).scores for name in ("cpu", f"webgpu:{adapter.number}"))
    for name in ("psnr", "ssim"):
        first, second = (_numbers(scores, name) for scores in (a, b))
        assert len(first) == len(second) > 0
        assert np.allclose(first, second, atol=0.01 if name == "psnr" else 0.001)


def _numbers(node, name):
    """All numbers of a score by its name, wherever they stand."""
    found = []
    if isinstance(node, dict):
        for key, value in node.items():
            if name in key and isinstance(value, float):
                found.append(value)
            found += _numbers(value, name)
    elif isinstance(node, list):
        for value in node:
            found += _numbers(value, name)
    return found


def test_source_photos_correct_colours_as_on_the_cpu(adapter, asymmetric_template, tmp_path):
    small = ["optim.batch=500", "model.grid.levels=6", "model.grid.log2_table_size=10"]
    scene = Scene.open(asymmetric_template)
    path = train(scene, out=tmp_path / "run", steps=10, settings=small, source_photos=True).path
    names = ("cpu", f"webgpu:{adapter.number}")
    cpu, gpu = (Run.open(path, name, source_photos=True) for name in names)
    camera = cpu.camera(cpu.names("test")[0])
    expected, found = (run.render(camera).colour.int() for run in (cpu, gpu))
    plain = Run.open(path).render(camera).colour.int()
    away = (expected - found).abs().amax(2)
    assert (away <= 1).float().mean() > 0.99
    assert ((expected - plain).abs().amax(2) > 2).float().mean() > 0.05  # there is a correction


def test_the_viewer_opens_runs_on_the_device_that_is_asked_for(runs, monkeypatch):
    from xscale_viewer.source import open_source

    cpu, gpu = runs
    assert open_source(cpu.path, gpu.where).run.where == gpu.where
    assert open_source(cpu.path).run.where == "cpu"
    with pytest.raises(UsageError, match="cpu or webgpu"):
        open_source(cpu.path, "cuda")

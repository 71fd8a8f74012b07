"""A Ray cluster gives the local engine's pictures, also when one of its nodes is lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from xscale.errors import ClusterError, PartialError, SetupError
from xscale.render import picture, sinks
from xscale.render import ray_engine as ray_engine_module
from xscale.render.batch import render_batch
from xscale.render.job import JobFrame, JobSettings, make_job
from xscale.render.ray_engine import ray_engine


@pytest.fixture
def job(tiny_run, asymmetric):
    camera = asymmetric.cameras["view_00.png"].scaled(336, 192)
    frames = [
        JobFrame(f"{k:05d}", (replace(camera, t=camera.t + np.array([0, 0, k / 100])),))
        for k in range(24)
    ]
    frames.insert(5, JobFrame("bad", (), "t has NaN"))
    return make_job(tiny_run, frames, JobSettings(outputs=("colour", "depth")))


def _files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix in (".png", ".npy", ".tif")
    }


def test_without_ray_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(sinks.importlib, "import_module", missing)
    with pytest.raises(SetupError, match=r"xscale\[cluster\]"):
        ray_engine()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_cluster_is_said_in_one_line(tiny_run, job, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match="no Ray cluster at 127"):
        render_batch(tiny_run, job, tmp_path / "job", engine=ray_engine("127.0.0.1:1"))


@pytest.fixture
def cluster(request):
    """A head node in processes of its own, with one CPU or as many as asked for."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # A lost node is noticed within seconds, not a minute.
    system = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000,
              "health_check_timeout_ms": 3000, "health_check_failure_threshold": 3}  # fmt: skip
    head = {"num_cpus": getattr(request, "param", 1), "include_dashboard": False,
            "memory": 4 << 30, "_system_config": system}  # fmt: skip
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def _with_second(cluster):
    second = cluster.add_node(num_cpus=1, memory=4 << 30)
    cluster.wait_for_nodes()
    return second


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_nodes_one_killed_give_the_local_pictures(tiny_run, job, tmp_path, cluster):
    with pytest.raises(PartialError, match=r"1 of 25 frames failed.*t has NaN"):
        render_batch(tiny_run, job, tmp_path / "local")
    second, killed = _with_second(cluster), []

    def kill_once(done, total, name):
        if done == 6 and not killed:
            cluster.remove_node(second, allow_graceful=False)
            killed.append(time.monotonic())

    with pytest.raises(PartialError, match=r"1 of 25 frames failed.*t has NaN"):
        render_batch(tiny_run, job, tmp_path / "ray", engine=ray_engine(), on_frame=kill_once)
    assert killed
    assert _files(tmp_path / "ray") == _files(tmp_path / "local")
    manifest = json.loads((tmp_path / "ray/manifest.json").read_text())
    assert len(manifest["finished"]) == 24
    assert not list((tmp_path / "ray").glob(".probe*"))


@pytest.fixture
def large(tiny_run, asymmetric, monkeypatch):
    """Two pictures of 20 bands each and a bad one."""
    monkeypatch.setattr(picture, "_BAND_SAMPLES", 1000 * 25)
    camera = asymmetric.cameras["view_00.png"].scaled(1000, 500)
    frames = [JobFrame("a", (camera,)), JobFrame("bad", (), "t has NaN"), JobFrame("b", (camera,))]
    settings = JobSettings(
        outputs=("colour", "position", "depth_map"), data="tiff", format="tiff16"
    )
    return make_job(tiny_run, frames, settings)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_bands_of_two_nodes_one_killed_give_the_local_picture(
    tiny_run, large, tmp_path, cluster, monkeypatch
):
    with pytest.raises(PartialError, match=r"1 of 3 frames failed"):
        render_batch(tiny_run, large, tmp_path / "local")
    second, taken = _with_second(cluster), []
    real = ray_engine_module._Cluster._fetched

    def kill_at_the_fifth(self, reference):
        taken.append(reference)
        if len(taken) == 5:
            cluster.remove_node(second, allow_graceful=False)
        return real(self, reference)

    monkeypatch.setattr(ray_engine_module._Cluster, "_fetched", kill_at_the_fifth)
    with pytest.raises(PartialError, match=r"1 of 3 frames failed.*t has NaN"):
        render_batch(tiny_run, large, tmp_path / "ray", engine=ray_engine(split="tiles"))
    assert len(taken) == 41  # 20 bands of two frames; the bad camera's frame is a task
    assert _files(tmp_path / "ray") == _files(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_cluster_without_workers_ends_with_its_code_and_nothing_is_lost(
    tiny_run, large, tmp_path, cluster, monkeypatch
):
    second = _with_second(cluster)
    monkeypatch.setattr(ray_engine_module, "_NO_WORKERS", 3.0)

    def kill_once(done, total, name):
        if done == 2:
            cluster.remove_node(second, allow_graceful=False)

    with pytest.raises(ClusterError, match=r"lost its workers.*run the command again") as caught:
        render_batch(
            tiny_run, large, tmp_path, engine=ray_engine(split="tiles"), on_frame=kill_once
        )
    assert caught.value.exit_code == 11
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [frame["name"] for frame in manifest["finished"]] == ["a"]
    with pytest.raises(PartialError, match=r"1 of 3 frames failed.*t has NaN"):
        render_batch(tiny_run, large, tmp_path)
    assert {p.name for p in tmp_path.glob("*.tif")} == {"a.tif", "b.tif"}


def test_only_large_pictures_are_split(large, monkeypatch):
    """A picture is a task; its bands are where workers would idle, or where they are many."""
    tiled = ray_engine_module._is_tiled
    assert [tiled(large, 0, split, False) for split in ("auto", "frames", "tiles")] == [0, 0, 1]
    assert tiled(large, 0, "auto", True)
    assert not tiled(large, 1, "tiles", True)  # a bad camera
    monkeypatch.setattr(picture, "_BAND_SAMPLES", 1000 * 12)
    assert tiled(large, 0, "auto", False)
    monkeypatch.setattr(picture, "_BAND_SAMPLES", 1000 * 500)
    assert not tiled(large, 0, "auto", True)

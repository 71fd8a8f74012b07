"""A Ray cluster gives the local engine's pictures, also when one of its nodes is lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from xscale.errors import ClusterError, PartialError, SetupError
from xscale.render import sinks
from xscale.render.batch import render_batch
from xscale.render.job import JobFrame, Settings, make_job
from xscale.render.ray_engine import ray_engine


@pytest.fixture
def job(tiny_run, asymmetric):
    camera = asymmetric.cameras["view_00.png"].scaled(336, 192)
    frames = [
        JobFrame(f"{k:05d}", (replace(camera, t=camera.t + np.array([0, 0, k / 100])),))
        for k in range(24)
    ]
    frames.insert(5, JobFrame("bad", (), "t has NaN"))
    return make_job(tiny_run, frames, Settings(outputs=("colour", "depth")))


def _files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.suffix in (".png", ".npy")
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_nodes_one_killed_give_the_local_pictures(tiny_run, job, tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.raises(PartialError, match=r"1 of 25 frames failed.*t has NaN"):
        render_batch(tiny_run, job, tmp_path / "local")
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "memory": 4 << 30},
    )
    try:
        second = cluster.add_node(num_cpus=1, memory=4 << 30)
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes()
        killed = []

        def kill_once(done, total, name):
            if done == 6 and not killed:
                cluster.remove_node(second, allow_graceful=False)
                killed.append(time.monotonic())

        with pytest.raises(PartialError, match=r"1 of 25 frames failed.*t has NaN"):
            render_batch(tiny_run, job, tmp_path / "ray", engine=ray_engine(), on_frame=kill_once)
        assert killed
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert _files(tmp_path / "ray") == _files(tmp_path / "local")
    manifest = json.loads((tmp_path / "ray/manifest.json").read_text())
    assert len(manifest["finished"]) == 24
    assert not list((tmp_path / "ray").glob(".probe*"))

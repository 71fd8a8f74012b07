"""Simplified meshes: kept in the run, made again when they do not fit, used only while moving."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.ops.test_reproject import wavy
from tests.render.conftest import write_tiny_run
from xscale.errors import SetupError
from xscale.gbuffer.build import build_surface
from xscale.geometry.mesh import Mesh
from xscale.render import live, proxy
from xscale.render.run import Run
from xscale.render.service import RenderService, ViewRequest
from xscale.run.folder import SIMPLIFIED

pytest.importorskip("fast_simplification")


@pytest.fixture
def run(asymmetric, tmp_path):
    return Run.open(write_tiny_run(asymmetric, tmp_path / "run"))


def wavy_surface():
    vertices, faces = wavy(60)
    return build_surface(Mesh(vertices=vertices, faces=faces, origin=np.zeros(3)))


def test_a_simplified_mesh_has_about_the_faces_asked_for_and_the_same_place():
    surface = wavy_surface()
    small = proxy.simplified(surface, 2000)
    assert 1500 < len(small.faces) <= 2100
    for side in ("amin", "amax"):
        bounds = [getattr(s.vertices[:, :2], side)(0) for s in (surface, small)]
        assert torch.allclose(*bounds, atol=0.15)
    assert proxy.simplified(small, 5000) is small


def test_the_proxy_is_kept_in_the_run_and_read_from_there(run, monkeypatch):
    surface = wavy_surface()
    run.__dict__["surface"] = surface
    made = proxy.proxy_surface(run, 2000)
    assert run.folder.has(SIMPLIFIED)
    monkeypatch.setattr(proxy, "simplified", lambda *_: pytest.fail("made again"))
    again = proxy.proxy_surface(run, 2000)
    assert torch.equal(made.faces, again.faces)
    assert torch.equal(made.vertices, again.vertices)


def test_a_proxy_of_another_mesh_or_a_damaged_one_is_made_again(run):
    run.__dict__["surface"] = wavy_surface()
    made = proxy.proxy_surface(run, 2000)
    run.__dict__["surface"] = proxy.simplified(run.surface, 4000)
    other = proxy.proxy_surface(run, 1000)
    assert len(other.faces) < len(made.faces)
    file = run.path / SIMPLIFIED
    file.write_bytes(file.read_bytes()[:-100])
    again = proxy.proxy_surface(run, 1000)
    assert torch.equal(again.faces, other.faces)
    assert any("W-PROXY" in line for line in run.warnings)


def test_without_the_package_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fast_simplification", None)
    with pytest.raises(SetupError, match="viewer"):
        proxy.simplified(wavy_surface(), 2000)


def test_moving_pictures_of_a_heavy_mesh_show_the_proxy_and_pictures_at_rest_the_mesh(
    run, monkeypatch
):
    monkeypatch.setattr(live, "HEAVY_FACES", 1)
    camera = run.camera(run.names("test")[0])
    pictures, errors = [], []
    with RenderService(run, pictures.append, on_error=errors.append) as service:
        end = time.monotonic() + 30
        while not (pictures and (pictures[-1].face == -1).all()) and time.monotonic() < end:
            service.request(ViewRequest(camera, moving=True))
            assert service.wait(30)
        moved = pictures[-1]
        service.request(ViewRequest(camera, samples=1))
        assert service.wait(30)
    assert errors == []
    expected = run.render(camera, ("colour", "face"))
    assert np.array_equal(pictures[-1].rgba[..., :3], expected.colour.numpy())
    assert np.array_equal(pictures[-1].face, expected.face.numpy())
    assert moved.rgba.shape == pictures[-1].rgba.shape
    both = np.isfinite(moved.depth) & (expected.face.numpy() >= 0)
    assert both.mean() > 0.3
    assert np.median(np.abs(moved.depth[both] - pictures[-1].depth[both])) < 0.05


def test_a_proxy_that_cannot_be_made_is_reported_once_and_pictures_go_on(run, monkeypatch):
    monkeypatch.setattr(live, "HEAVY_FACES", 1)

    def broken(run):
        raise SetupError("moving needs a package")

    monkeypatch.setattr(live, "proxy_surface", broken)
    camera = run.camera(run.names("test")[0])
    pictures, errors = [], []
    with RenderService(run, pictures.append, on_error=errors.append) as service:
        for _ in range(20):
            service.request(ViewRequest(camera, moving=True))
            assert service.wait(30)
    assert errors == ["moving needs a package"]
    assert (pictures[-1].face >= 0).any()

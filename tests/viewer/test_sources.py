"""Runs and scenes open, render through the service, and stay as they were."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from tests import builders
from tests.render.conftest import write_tiny_run
from xscale.errors import InputError, NumericsError, XscaleError
from xscale.io import checkpoints
from xscale.render.service import RenderService, ViewRequest
from xscale.run.folder import RunFolder
from xscale_viewer.navigation import view_of
from xscale_viewer.source import open_source
from xscale_viewer.views import first_view


@pytest.fixture(scope="module")
def run_folder(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("sources") / "run")


def _hashes(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _last_picture(source, request):
    pictures = []
    with RenderService(source.run, pictures.append, 1) as service:
        service.request(request)
        assert service.wait(60)
        assert service.last_error is None
    return pictures[-1]


def test_every_mode_of_a_run_and_a_scene_can_be_shown(run_folder, asymmetric_folder):
    before = _hashes(run_folder), _hashes(asymmetric_folder)
    for folder in (run_folder, asymmetric_folder):
        source = open_source(folder)
        view = first_view(source)
        for mode in source.modes:
            picture = _last_picture(
                source, ViewRequest(view.camera(64, 48, source.near), mode, samples=1)
            )
            assert picture.complete, mode
            assert (picture.face >= 0).mean() > 0.3
    assert (_hashes(run_folder), _hashes(asymmetric_folder)) == before


def test_a_view_at_rest_has_the_bits_of_a_render(run_folder):
    source = open_source(run_folder)
    camera = view_of(source.cameras["view_03.png"]).camera(80, 60, source.near)
    picture = _last_picture(source, ViewRequest(camera, samples=2))
    truth = source.run.render(camera, samples=2).colour.numpy()
    assert np.array_equal(picture.rgba[..., :3], truth)


def test_a_scene_shows_its_mesh_and_cameras_before_training(asymmetric_folder, asymmetric):
    source = open_source(asymmetric_folder)
    assert source.kind == "scene"
    assert set(source.cameras) == set(asymmetric.cameras)
    assert len(source.points) == len(asymmetric.points)
    assert "level" not in source.modes
    assert "uncertainty" not in source.modes
    assert "footprint" in source.modes
    with pytest.raises(XscaleError):
        _ = source.run.residuals


def test_a_scene_whose_photos_lie_elsewhere_opens_with_its_option(asymmetric, tmp_path):
    folder = builders.write_colmap(asymmetric, tmp_path / "scene")
    (folder / "images").rename(tmp_path / "photos")
    with pytest.raises(XscaleError, match="--images"):
        open_source(folder)
    source = open_source(folder, reading={"images": str(tmp_path / "photos")})
    assert len(source.cameras) == len(asymmetric.cameras)


def test_what_is_neither_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file", "is not a folder"),
    ):
        with pytest.raises(InputError, match=words):
            open_source(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(XscaleError):
        open_source(tmp_path / "folder")


def test_a_model_with_nan_is_refused_in_one_line(asymmetric, tmp_path, monkeypatch):
    folder = RunFolder(write_tiny_run(asymmetric, tmp_path / "run"))
    monkeypatch.setattr(checkpoints, "check_finite", lambda *_: None)
    found, _ = folder.load_newest()
    tensors = {name: np.array(values) for name, values in found.tensors.items()}
    tensors["field.table"][3] = np.nan
    checkpoints.save_checkpoint(folder.checkpoints, 2, tensors, {}, run=folder.manifest.run)
    with pytest.raises(NumericsError, match="has NaN or infinite numbers"):
        open_source(folder.path)


def test_the_first_view_is_one_that_the_mesh_fills(asymmetric_folder):
    source = open_source(asymmetric_folder)
    good = first_view(source)
    # A photo from elsewhere that sees nothing, as far away as the others.
    name = next(n for n, c in source.cameras.items() if np.allclose(c.position, good.position))
    turned = replace(view_of(source.cameras[name]), R=np.diag([1.0, -1, -1]) @ good.R)
    source.cameras[name] = turned.camera(100, 80)
    other = first_view(source)
    assert not np.allclose(other.position, good.position)


def test_a_damaged_run_is_refused_in_one_line(asymmetric, tmp_path):
    folder = write_tiny_run(asymmetric, tmp_path / "run")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(XscaleError):
        open_source(folder)

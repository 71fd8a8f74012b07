"""Uncertainty is the residual at the mesh's vertices, and more where photos are few."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import xscale
from tests.render.conftest import write_residuals, write_tiny_run
from xscale.cli.main import main
from xscale.errors import IntegrityError
from xscale.render.run import Run
from xscale.render.uncertainty import corner_weights, expected_error


@pytest.fixture
def run(asymmetric, tmp_path):
    """An untrained run whose residual is 1 plus the x of the place, local frame."""
    path = write_tiny_run(asymmetric, tmp_path / "run")
    write_residuals(path, 1 + Run.open(path).surface.vertices[:, 0].numpy())
    return Run.open(path)


def test_points_on_faces_are_the_weighted_corners(tiny_run, rng):
    surface = tiny_run.surface
    face = torch.from_numpy(rng.integers(0, len(surface.faces), 500).astype(np.int32))
    share = torch.from_numpy(rng.dirichlet(np.ones(3), 500)).float()
    corners = surface.vertices[surface.faces[face.long()].long()]
    vertex, weight = corner_weights(surface, face, (corners * share[..., None]).sum(1))
    assert torch.equal(vertex, surface.faces[face.long()].long())
    torch.testing.assert_close(weight, share, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 2])
def test_pixels_show_the_residual_of_their_place(run, samples):
    camera = run.camera("view_01.png")
    frame = run.render(camera, ("uncertainty", "position", "photos"), samples=samples)
    hit = frame.coverage
    few = 1 + 1 / frame.photos[hit].clamp(min=0.5)
    expected = (1 + frame.position[hit][:, 0]) * few
    torch.testing.assert_close(frame.uncertainty[hit], expected, atol=1e-4, rtol=1e-4)
    assert frame.uncertainty[~hit].isnan().all()


def test_fewer_photos_make_a_place_less_certain(run):
    surface = run.surface
    face, middle = torch.zeros(4, dtype=torch.int32), surface.vertices[surface.faces[0].long()]
    photos = torch.tensor([0.0, 1, 2, 50])
    found = expected_error(
        surface, torch.ones(len(surface.vertices)), face, middle.mean(0).repeat(4, 1), photos
    )
    assert (found.diff() < 0).all()
    assert float(found[3]) == pytest.approx(1.0, abs=0.03)


def test_files_of_numbers_and_to_look_at(run, tmp_path):
    line = ["render", str(run.path), "--out", str(tmp_path / "out"), "--outputs"]
    assert main([*line, "uncertainty", "uncertainty_map"]) == 0
    name = run.names("test")[0]
    values = np.load(tmp_path / f"out/uncertainty/{name[:-4]}.npy")
    frame = run.render(run.camera(name), ("uncertainty",))
    np.testing.assert_array_equal(values, frame.uncertainty.numpy())
    picture = np.asarray(Image.open(tmp_path / f"out/uncertainty_map/{name}"))
    assert (picture[~frame.coverage.numpy()] == 255).all()


def test_run_without_residuals_is_told_before_anything_is_written(asymmetric, tmp_path, capsys):
    path = write_tiny_run(asymmetric, tmp_path / "run")
    (path / "residuals.safetensors").unlink()
    line = ["render", str(path), "--out", str(tmp_path / "out"), "--outputs", "uncertainty"]
    assert main(line) == 3
    assert "has no residuals" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    write_residuals(path, np.ones(3, np.float32))
    whole = (path / "residuals.safetensors").read_bytes()
    (path / "residuals.safetensors").write_bytes(whole[:20])
    with pytest.raises(IntegrityError, match="residuals"):
        _ = Run.open(path).residuals


def test_training_leaves_the_mean_difference_to_its_photos(asymmetric_template, tmp_path):
    scene = xscale.Scene.open(asymmetric_template)
    small = ["optim.batch=4096", "model.grid.levels=4", "model.grid.log2_table_size=12"]
    settings = [*small, "model.shader.exposure=none"]
    run = xscale.train(scene, out=tmp_path / "run", steps=60, settings=settings)
    errors = []
    for name in run.names("train"):
        frame = run.render(run.camera(name), ("srgb",))
        photo = torch.from_numpy(scene.photo(name).read()).float() / 255
        errors.append((frame.srgb - photo)[frame.coverage].abs().mean(1))
    mean = float(torch.cat(errors).mean())
    residual = run.residuals
    assert residual.shape == (len(run.surface.vertices),)
    assert float(residual.mean()) == pytest.approx(mean, rel=0.5)
    frame = run.render(run.camera(run.names("train")[0]), ("uncertainty", "photos"))
    alone = frame.uncertainty / (1 + 1 / frame.photos.clamp(min=0.5))
    assert float(alone[frame.coverage].mean()) == pytest.approx(mean, rel=0.2)

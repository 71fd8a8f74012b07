"""Vertices beside the true surface move towards it; where nothing is seen, nothing moves."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from tests import builders
from xscale.demo.pattern import noise
from xscale.errors import IntegrityError
from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.checkpoints import load_newest, save_checkpoint
from xscale.io.mesh.ply import encode_ply
from xscale.render.renderer import Renderer
from xscale.training.align import Template
from xscale.training.heights import Heights
from xscale.training.settings import RefineSettings

CELLS = 16
WRONG = 0.03
SMALL = ["optim.batch=4096", "model.grid.levels=10", "model.grid.log2_table_size=14"]


def _plate(height):
    """A square of CELLS x CELLS quads at z = height(x, y)."""
    along = np.linspace(-1, 1, CELLS + 1)
    x, y = (part.ravel() for part in np.meshgrid(along, along))
    corner = np.arange(CELLS)[:, None] * (CELLS + 1) + np.arange(CELLS)
    a, b, c, d = (corner.ravel() + s for s in (0, 1, CELLS + 1, CELLS + 2))
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)]).astype(np.int32)
    return np.stack([x, y, height(x, y)], 1), faces


def _bump(x, y):
    return WRONG * np.cos(np.pi * x / 2) * np.cos(np.pi * y / 2)


def _colour(points):
    xy = torch.from_numpy(points[:, :2]).float()
    return np.stack(
        [noise(xy, 0.13, k).numpy() * 60 + noise(xy, 0.05, k + 5).numpy() * 60 + 128
         for k in range(3)], 1
    ).clip(0, 255).astype(np.uint8)  # fmt: skip


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    """A flat plate with a pattern, photographed from all around, whose mesh has a bump."""
    folder = tmp_path_factory.mktemp("bump")
    vertices, faces = _plate(lambda x, y: 0 * x)
    cameras = {}
    for k in range(14):
        angle = 2 * np.pi * k / 14
        R, t = builders.look_at((1.6 * np.cos(angle), 1.6 * np.sin(angle), 2.0), (0, 0, 0),
                                (0.1, -1.0, 0))  # fmt: skip
        K = np.array([[130.0, 0, 72], [0, 130, 54], [0, 0, 1]])
        cameras[f"{k:02d}.png"] = Camera("PINHOLE", 144, 108, K, R, t)
    flat = builders.Built(vertices[[0, CELLS, -1, -1 - CELLS]],
                          np.array([[0, 1, 2], [0, 2, 3]], np.int32),
                          cameras, _colour, np.zeros((0, 3)))  # fmt: skip
    for name in cameras:
        builders.save_photo(folder / "images" / name, flat.photo(name))
    wrong, _ = _plate(_bump)
    encoded = encode_ply(wrong.astype(np.float32), faces)
    (folder / "mesh.ply").write_bytes(encoded)
    builders.write_model(flat, folder / "sparse" / "0")
    return folder


@pytest.fixture(scope="module")
def trained(photographed):
    scene = xscale.Scene.open(photographed)
    settings = [*SMALL, "refine.surface=learned"]
    lines = []
    run = xscale.train(
        scene,
        out=photographed.parent / "run",
        steps=60,
        settings=settings,
        on_stage=lines.append,
    )
    return scene, run, lines


def test_a_bump_that_no_photo_shows_is_flattened(trained):
    scene, run, lines = trained
    before = scene.mesh.vertices[:, 2] + scene.origin[2]
    after = run.surface.vertices.numpy()[:, 2] + scene.origin[2]
    middle = _bump(*scene.mesh.vertices[:, :2].T + scene.origin[:2, None]) > WRONG / 2
    assert before[middle].mean() > 0.6 * WRONG
    assert abs(after[middle]).mean() < 0.5 * before[middle].mean()
    assert any(line.startswith("vertices moved by") for line in lines)


def test_a_run_keeps_the_mesh_as_it_was_beside_how_far_it_moved(trained):
    scene, run, _ = trained
    assert np.array_equal(run.mesh.vertices.numpy(), scene.mesh.vertices)
    heights = load_newest(run.path / "checkpoints")[0].tensors["mesh.heights"]
    expected = run.mesh.vertices + torch.from_numpy(heights)[:, None] * run.mesh.normals
    assert torch.equal(run.surface.vertices, expected)


def test_a_damaged_model_takes_mesh_and_cameras_of_its_checkpoint_with_it(trained, tmp_path):
    _, run, _ = trained
    copy = shutil.copytree(run.path, tmp_path / "copy")
    newest = load_newest(copy / "checkpoints")[0]
    tensors = {**newest.tensors, "mesh.heights": newest.tensors["mesh.heights"] + 1}
    later = save_checkpoint(
        copy / "checkpoints", newest.step + 1, tensors, newest.state, run=run.manifest.run
    )
    expected = xscale.Run.open(run.path).surface.vertices
    assert not torch.equal(xscale.Run.open(copy).surface.vertices, expected)
    data = bytearray(later.read_bytes())
    at = data.index(tensors["field.table"].tobytes()[:64])
    data[at] ^= 0xFF
    later.write_bytes(data)
    assert torch.equal(xscale.Run.open(copy).surface.vertices, expected)


def test_a_stopped_training_goes_on_with_the_moved_mesh_to_the_same_bits(
    photographed, trained_through_and_in_parts
):
    scene = xscale.Scene.open(photographed)
    settings = [*SMALL, "refine.surface=learned", "refine.cameras=pose", "refine.rounds=2"]
    _, tensors = trained_through_and_in_parts(scene, stop=5, steps=12, settings=settings)
    assert tensors["mesh.heights"].any()


def _heights(**settings):
    vertices, faces = _plate(_bump)
    surface = build_surface(Mesh(vertices.astype(np.float32), faces, np.zeros(3)))
    return Heights(RefineSettings(surface="learned", **settings), surface)


def _template(heights, grey):
    """What a camera from aside sees of a surface whose picture is ``grey(points)``."""
    R, t = builders.look_at((1.6, 0, 2.0), (0, 0, 0), (0.1, -1.0, 0))
    K = np.array([[130.0, 0, 72], [0, 130, 54], [0, 0, 1]])
    camera = Camera("PINHOLE", 144, 108, K, R, t)
    model = type("Nothing", (), {"device": torch.device("cpu"), "settings": None})()
    model.settings = type("Plain", (), {"encoding": "hash"})()
    frame = Renderer(heights.surface, model, (0, 0, 0)).render(
        camera, ("position", "depth", "face")
    )
    flat = torch.where(frame.coverage[:, :, None], frame.position, 0.0).reshape(-1, 3)
    picture = torch.from_numpy(grey(flat.numpy())).float().reshape(108, 144)
    return Template(camera, picture, picture, frame.position, frame.depth, frame.coverage,
                    frame.face)  # fmt: skip


def test_what_no_photo_contradicts_stays():
    heights = _heights()
    heights.add(_template(heights, lambda p: _colour(p)[:, 0] / 255), np.zeros(9))
    heights.solve()
    heights.apply()
    # Photo and model are one picture.
    assert heights.heights.abs().max() < 0.02 * WRONG


def test_heights_stay_within_reach():
    heights = _heights(reach=0.2, slope=10.0)
    template = _template(heights, lambda p: _colour(p)[:, 0] / 255)
    aside = replace(template, photo=template.photo.roll(3, 0))
    for _ in range(3):
        heights.add(aside, np.zeros(9))
        heights.solve()
    edge = 2 / CELLS
    assert heights.heights.abs().max() > 0.1 * edge
    assert heights.heights.abs().max() <= 0.2 * edge * 1.25


def test_heights_of_another_mesh_are_refused():
    with pytest.raises(IntegrityError, match="heights"):
        _heights().load({"mesh.heights": np.zeros(3, np.float32)})

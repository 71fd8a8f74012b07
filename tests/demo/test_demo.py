"""The demo's scene: exact cameras, readable print, a mesh that is a little wrong, made once."""

import json

import numpy as np
import pytest
import torch

from xscale.cli import demo as command
from xscale.demo.make import make_demo, ring_of
from xscale.demo.pattern import Decal, octaves, print_page
from xscale.demo.photos import TINY, Studio, cameras
from xscale.demo.surface import BOARD, Paint, ground, height
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "scene"
    assert make_demo(path, TINY)
    return path


def test_demo_scene_opens_with_the_cameras_that_took_the_photos(folder):
    scene = Scene.open(folder)
    listed = {name: camera for name, _, camera in cameras(TINY)}
    assert len(scene.photos) == len(listed) == 16
    for photo in scene.photos:
        true = listed[photo.name]
        np.testing.assert_allclose(photo.camera.R, true.R, atol=1e-12)
        np.testing.assert_allclose(photo.camera.t, true.t, atol=1e-12)
        np.testing.assert_array_equal(photo.camera.K, true.K)


def test_demo_rings_stand_at_1_8_64(folder):
    scene = Scene.open(folder)
    heights = {}
    for photo in scene.photos:
        forward = photo.camera.R[2]
        distance = -photo.camera.position[2] / forward[2]
        heights.setdefault(ring_of(photo.name), []).append(distance)
    far, middle, near = (np.mean(heights[k]) for k in ("far", "middle", "near"))
    assert far / middle == pytest.approx(8, rel=1e-6)
    assert far / near == pytest.approx(64, rel=1e-6)


def test_demo_every_ring_has_test_photos(folder):
    split = Scene.open(folder).split()
    assert {ring_of(name) for name in split.test} == {"far", "middle", "near"}


def test_demo_scene_is_made_once(folder):
    before = (folder / "demo.json").stat().st_mtime_ns
    assert not make_demo(folder, TINY)
    assert (folder / "demo.json").stat().st_mtime_ns == before


def test_demo_training_mesh_is_coarser_and_wrong_but_near():
    true, fine = ground(256)
    wrong, faces = ground(64, wrong=0.06)
    assert len(faces) * 16 == len(fine)
    exact = height(torch.from_numpy(wrong[:, :2]).float()).double().numpy()
    stray = np.abs(wrong[:, 2] - exact)
    assert 0 < np.median(stray) < 0.01
    middle = np.abs(wrong[:, :2]).max(1) < 0.05
    assert stray[middle].max() < 0.001
    np.testing.assert_allclose(
        true[:, 2], height(torch.from_numpy(true[:, :2]).float()).double().numpy()
    )


def test_demo_photos_differ_in_exposure_only():
    size = TINY
    _, ring, camera = next(iter(cameras(size)))
    studio = Studio(size)
    one, two = (studio.photograph(camera, ring.distance).astype(float) for _ in range(2))
    linear = [
        np.where(p <= 10.3, p / 255 / 12.92, ((p / 255 + 0.055) / 1.055) ** 2.4) for p in (one, two)
    ]
    free = ((one > 20) & (one < 235) & (two > 20) & (two < 235)).all(2)
    ratio = linear[0][free] / linear[1][free]
    assert np.abs(np.log2(np.median(ratio))) > 0.01
    assert ratio.std(0).max() / ratio.mean() < 0.06


def test_print_is_sharp_near_and_gone_far():
    decal = Decal(print_page([("HHHHHHHH", 64)], 512, 96), (0.0, 0.0), 1.0)
    along = torch.linspace(-0.4, 0.4, 2000)
    xy = torch.stack([along, torch.zeros(2000)], 1)
    near, on = decal.sample(xy, 1e-4)
    assert bool(on.all())
    assert near.max() > 0.95
    assert near.min() < 0.05
    far, _ = decal.sample(xy, 0.1)
    assert far.std() < 0.35 * near.std()


def test_noise_finer_than_the_samples_is_left_out():
    xy = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    coarse = octaves(xy, 0.5, 1e-3, 0.25, 31)
    assert float(coarse.abs().max()) == 0.0
    step = torch.tensor([1e-3, 0.0])
    smooth = octaves(xy, 0.5, 1e-3, 0.02, 31) - octaves(xy + step, 0.5, 1e-3, 0.02, 31)
    rough = octaves(xy, 0.5, 1e-3, 1e-4, 31) - octaves(xy + step, 0.5, 1e-3, 1e-4, 31)
    assert smooth.std() < 0.2 * rough.std()


def test_board_carries_ink_and_paper():
    generator = torch.Generator().manual_seed(2)
    xy = (torch.rand(20000, 2, generator=generator) - 0.5) * 1.4 * BOARD
    colour, gloss = Paint().albedo(xy, torch.zeros(len(xy)), 1e-5)
    dark, light = (colour.mean(1) < 0.1), (colour.mean(1) > 0.4)
    assert 0.03 < dark.float().mean() < 0.5
    assert light.float().mean() > 0.4
    assert bool((gloss == 0.30).all())


def test_demo_command_trains_scores_and_reports(folder, tmp_path, capsys):
    out = tmp_path / "demo"
    out.mkdir()
    folder_copy = out / "scene"
    folder_copy.symlink_to(folder)
    small = ["optim.batch=1024", "model.grid.levels=6", "model.grid.log2_table_size=10"]
    arguments = ["--out", str(out), "--size", "tiny", "--steps", "3", "--set", *small]
    for number in (1, 2):
        assert command.run(arguments) == 0
        printed = capsys.readouterr()
        page = out / f"run_{number:03d}" / "report.html"
        assert str(page) in printed.out
        assert page.is_file()
        scores = json.loads((page.parent / "scores.json").read_text())
        assert len(scores["photos"]) == 3
    for ring in ("far", "middle", "near"):
        assert ring in printed.out

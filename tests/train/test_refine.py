"""Cameras that are off come back, those that are right stay, and what moved is reported."""

import contextlib
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from tests import builders
from xscale import ops
from xscale.errors import ConfigError
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.adjust import NUMBERS, adjusted
from xscale.geometry.mesh import Mesh
from xscale.io.mesh.ply import encode_ply
from xscale.training.align import Aligned, Template, align
from xscale.training.pool import TilePool, TrainPhoto
from xscale.training.refine import Refinement
from xscale.training.settings import PoolSettings, RefineSettings

SMALL = ["optim.batch=2048", "model.grid.levels=8", "model.grid.log2_table_size=14"]
OFF = np.array([0.008, -0.01, 0.006, 0.02, 0.015, -0.02, 0, 0, 0])


def _mesh(built):
    return Mesh(vertices=built.vertices.astype(np.float32), faces=built.faces, origin=np.zeros(3))


def _grey(picture):
    return torch.from_numpy(picture).float().mean(2) / 255


@pytest.fixture
def view():
    """A sharp picture of the asymmetric scene, its surface points and its camera."""
    built = builders.asymmetric_scene(width=224, height=128)
    camera = built.cameras["view_02.png"]
    surface = build_surface(_mesh(built))
    samples, _ = build_gbuffer(surface, torch.from_numpy(camera.packed()), 224, 128)
    position = torch.full((224 * 128, 3), torch.nan)
    position[samples.pixel_index] = samples.position
    depth = torch.full((224 * 128,), torch.inf)
    depth[samples.pixel_index] = samples.depth
    return built, camera, position.reshape(128, 224, 3), depth.reshape(128, 224)


def _template(view, photo):
    built, camera, position, depth = view
    model = _grey(builders.render(built, camera, 4))
    return Template(camera, model, photo, position, depth, depth.isfinite())


def _apart(built, one, two):
    """Pixels (root mean square) between where two cameras see the plate's points."""
    (a, _), (b, _) = one.project(built.points), two.project(built.points)
    return float(np.sqrt(((a - b) ** 2).sum(1).mean()))


def test_align_finds_by_how_much_a_camera_is_off_whatever_the_light(view):
    built, camera, *_ = view
    # Taken from elsewhere, darker, with something in front of a tenth of the mesh.
    photo = _grey(builders.render(built, adjusted(camera, OFF), 4)) * 0.8 + 0.05
    photo[50:70, 90:130] = 0.9
    before = _apart(built, camera, adjusted(camera, OFF))
    found = align(_template(view, photo), np.zeros(NUMBERS), prior=3.0)
    after = _apart(built, adjusted(camera, found.numbers), adjusted(camera, OFF))
    assert before > 2
    assert after < 0.2
    assert found.pixels(found.numbers) == pytest.approx(before, rel=0.25)
    assert not found.numbers[6:].any()


def test_align_leaves_a_camera_alone_that_is_right(view):
    built, camera, *_ = view
    photo = _grey(builders.render(built, camera, 4))
    found = align(_template(view, photo), np.zeros(NUMBERS), prior=3.0)
    assert found.pixels(found.numbers) < 0.02


def test_a_photo_without_contrast_moves_nothing_and_one_without_mesh_says_nothing(view):
    template = _template(view, torch.full((128, 224), 0.5))
    flat = replace(template, model=torch.full((128, 224), 0.4))
    found = align(flat, np.zeros(NUMBERS), prior=3.0)
    assert found.pixels(found.numbers) < 0.02
    bare = replace(template, usable=torch.zeros(128, 224, dtype=torch.bool))
    assert align(bare, np.zeros(NUMBERS), prior=3.0) is None


def _scene(folder, built, wrong):
    """Write a scene whose training cameras are off; test photos are every fourth."""
    views = {name: adjusted(c, wrong.get(name, np.zeros(9))) for name, c in built.cameras.items()}
    for name, camera in built.cameras.items():
        builders.save_photo(folder / "images" / name, builders.render(built, camera))
    (folder / "mesh.ply").write_bytes(encode_ply(built.vertices.astype(np.float32), built.faces))
    builders.write_model(replace(built, cameras=views), folder / "sparse" / "0")
    return xscale.Scene.open(folder)


def test_a_training_brings_cameras_back_and_says_so(tmp_path, rng):
    built = builders.asymmetric_scene(photos=12)
    tests = sorted(built.cameras)[::4]
    wrong = {
        name: np.r_[rng.normal(0, 0.012, 3), rng.normal(0, 0.03, 3), np.zeros(3)]
        for name in built.cameras
        if name not in tests
    }
    scene = _scene(tmp_path / "scene", built, wrong)
    settings = [*SMALL, "refine.cameras=pose"]
    lines = []
    run = xscale.train(
        scene, out=tmp_path / "run", steps=60, settings=settings, on_stage=lines.append
    )
    before, after = (
        {name: _apart(built, camera(name), built.cameras[name]) for name in wrong}
        for camera in (lambda name: scene.photo(name).camera, run.camera)
    )
    assert np.median(list(before.values())) > 1.5
    assert np.median(list(after.values())) < 0.6 * np.median(list(before.values()))
    for name in tests:
        assert run.camera(name).camera_from_world.tolist() == (
            scene.photo(name).camera.camera_from_world.tolist()
        )
    (line,) = [line for line in lines if line.startswith("cameras moved by")]
    report = json.loads((run.path / "refined_cameras.json").read_text())
    assert set(report["photos"]) == set(wrong)
    farthest = max(report["photos"], key=lambda name: report["photos"][name]["pixels"])
    assert farthest in line
    assert all(row["focal_factor"] == 1 for row in report["photos"].values())


def test_a_refined_run_goes_on_to_the_same_bits(asymmetric_folder, trained_through_and_in_parts):
    scene = xscale.Scene.open(asymmetric_folder)
    settings = [*SMALL, "refine.cameras=all", "pool.tile=32"]
    _, tensors = trained_through_and_in_parts(scene, stop=5, steps=12, settings=settings)
    assert tensors["cameras.adjustments"].any()
    assert tensors["cameras.rounds"] == [5]


def test_a_recast_pool_draws_what_one_made_with_the_cameras_would(asymmetric_folder):
    scene = xscale.Scene.open(asymmetric_folder)
    builders.save_photo(
        asymmetric_folder / "masks" / scene.photos[0].name,
        np.tile(np.uint8([[0], [255]]), (32, 112)),
    )
    scene = xscale.Scene.open(asymmetric_folder)
    cameras = [photo.camera.recentred(scene.origin) for photo in scene.photos]
    surface = build_surface(scene.mesh)

    def pool(packed):
        photos = [
            TrainPhoto(c.width, c.height, row, photo.pixels)
            for photo, c, row in zip(scene.photos, cameras, packed, strict=True)
        ]
        settings = PoolSettings(tile=16, refresh_steps=2)
        return TilePool(surface, photos, settings, seed=1, batch=300, capacity=60)

    def packed(numbers):
        return torch.from_numpy(np.stack([adjusted(c, numbers).packed() for c in cameras]))

    mine, theirs = packed(np.zeros(9)), pool(packed(OFF))
    recast = pool(mine)
    unlike = recast.draw(0, 400)
    recast.recast(lambda: mine.copy_(packed(OFF)))
    for step in range(7):
        one, two = recast.draw(step, 400), theirs.draw(step, 400)
        for name, part in vars(one).items():
            theirs_part = getattr(two, name)
            same = part is theirs_part if part is None else torch.equal(part, theirs_part)
            assert same, name
    assert not torch.equal(unlike.pixel, theirs.draw(0, 400).pixel)
    recast.close()
    theirs.close()


def test_a_recast_pool_is_written_on_the_stream_that_draws_from_it(asymmetric_folder, monkeypatch):
    scene = xscale.Scene.open(asymmetric_folder)
    surface = build_surface(scene.mesh)
    cameras = [photo.camera.recentred(scene.origin).packed() for photo in scene.photos]
    photos = [
        TrainPhoto(photo.camera.width, photo.camera.height, torch.from_numpy(row), photo.pixels)
        for photo, row in zip(scene.photos, cameras, strict=True)
    ]
    pool = TilePool(surface, photos, PoolSettings(tile=16), seed=1, batch=300, capacity=20)
    inside = threading.local()

    @contextlib.contextmanager
    def watched(device):
        inside.now = True
        yield
        inside.now = False

    kept, keep = [], pool._keep_faces

    def seen(*arguments):
        kept.append(getattr(inside, "now", False))
        keep(*arguments)

    monkeypatch.setattr(ops, "own_stream", watched)
    monkeypatch.setattr(pool, "_keep_faces", seen)
    pool.recast(lambda: None)
    assert kept
    assert not any(kept)
    pool.close()


def _aligned(camera, numbers, points):
    """What a photo says that would see ``points`` perfectly under an adjustment."""
    step = 1e-6
    jacobian = np.empty((len(points), 2, NUMBERS))
    for k in range(NUMBERS):
        by = np.zeros(NUMBERS)
        by[k] = step
        ahead, behind = (adjusted(camera, s * by).project(points)[0] for s in (1, -1))
        jacobian[:, :, k] = (ahead - behind) / (2 * step)
    rows = jacobian.reshape(-1, NUMBERS)
    moves = np.sqrt((jacobian**2).sum(1).mean(0))
    pose = np.r_[numbers[:6], np.zeros(3)]
    information = 1e4 * rows.T @ rows
    return Aligned(pose, information, information @ (pose - numbers), moves, jacobian, 0.0)


def _refinement(refine):
    built = builders.asymmetric_scene(photos=8)
    cameras = [built.cameras[name] for name in sorted(built.cameras)]
    photos = [xscale.scene.photo.Photo(str(k), c, None) for k, c in enumerate(cameras)]
    packed = torch.from_numpy(np.stack([c.packed() for c in cameras]))
    settings = RefineSettings(cameras=refine, prior=100.0)
    surface = build_surface(_mesh(built))
    return Refinement(settings, surface, photos, cameras, packed, 1), cameras, built.points


def test_what_all_cameras_would_move_together_is_taken_out():
    refinement, cameras, points = _refinement("pose")
    turn, shift = np.array([0.01, -0.02, 0.03]), np.array([0.1, -0.05, 0.02])
    found = {}
    for k, camera in enumerate(cameras):
        motion = np.r_[-camera.R @ turn, camera.R @ (shift + np.cross(turn, camera.position))]
        found[k] = _aligned(camera, np.r_[motion, np.zeros(3)], points)
    solved = refinement._solved(found)
    assert max(found[k].pixels(found[k].numbers) for k in found) > 2
    assert max(found[k].pixels(solved[k]) for k in found) < 1e-3


def test_intrinsics_are_solved_for_all_photos_of_a_camera_together(rng):
    refinement, cameras, points = _refinement("all")
    shared = np.array([0.01, 0.004, -0.006])
    true = [np.r_[rng.normal(0, 0.01, 6), shared] for _ in cameras]
    found = {k: _aligned(c, t, points) for k, (c, t) in enumerate(zip(cameras, true, strict=True))}
    # Photos say best together what one alone leaves open between turn and principal point.
    numbers = np.stack([a.numbers for a in found.values()])
    refinement._solve_intrinsics(list(found), found, numbers)
    assert np.allclose(numbers[:, 6:], shared, atol=2e-4)
    assert np.allclose(numbers[:, :6], np.stack(true)[:, :6], atol=2e-3)


def test_moves_that_may_all_be_chance_are_not_made():
    refinement, cameras, points = _refinement("pose")
    off = np.r_[0.01, -0.02, 0.01, np.zeros(6)]
    found = {k: _aligned(camera, off, points) for k, camera in enumerate(cameras)}
    assert refinement._trust(found) == 1
    pixels = found[0].pixels(off)
    unsure = {k: replace(aligned, chance=pixels * 2) for k, aligned in found.items()}
    assert refinement._trust(unsure) == 0
    half = {k: replace(a, chance=a.pixels(a.numbers) * 0.5**0.5) for k, a in found.items()}
    assert refinement._trust(half) == pytest.approx(0.5, abs=0.1)


def test_align_is_less_sure_where_parts_of_a_photo_disagree(view):
    built, camera, *_ = view
    plain = _grey(builders.render(built, camera, 4))
    torn = torch.cat([plain[:, :100], plain[:, 103:], plain[:, -3:]], 1)
    sure, unsure = (align(_template(view, p), np.zeros(NUMBERS), prior=3.0) for p in (plain, torn))
    assert unsure.chance > 3 * sure.chance


def test_a_camera_that_would_move_far_is_left_and_named(tmp_path):
    built = builders.asymmetric_scene(photos=12)
    far = sorted(built.cameras)[5]
    scene = _scene(tmp_path / "scene", built, {far: np.r_[0, 0.02, 0, np.zeros(6)]})
    settings = [*SMALL, "refine.cameras=pose", "refine.most=0.8"]
    lines = []
    run = xscale.train(
        scene, out=tmp_path / "run", steps=40, settings=settings, on_stage=lines.append
    )
    assert any(line.startswith("cameras moved by") and far in line for line in lines)
    report = json.loads((run.path / "refined_cameras.json").read_text())
    assert far in report["left_alone"]
    assert report["photos"][far]["pixels"] <= 0.8


def test_refinement_without_rounds_makes_no_sense():
    with pytest.raises(ConfigError, match=r"refine\.rounds must be above 0"):
        RefineSettings(rounds=0)

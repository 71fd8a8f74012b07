"""Pixels that the mesh does not cover show what the photos show there."""

import os
import shutil
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

import xscale
from tests.builders import BACKGROUND, look_at
from xscale import ops
from xscale.errors import (
    DamagedPhotoError,
    IntegrityError,
    InterruptedRunError,
    UsageError,
)
from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.checkpoints import load_newest
from xscale.model.background import Background, leaving_points
from xscale.render.run import Run
from xscale.run import folder
from xscale.training.background import LaterBackground, fit_background, uncovered_pixels
from xscale.training.pool import TrainPhoto

SMALL = ["optim.batch=512", "model.grid.levels=4", "model.grid.log2_table_size=12"]


def _sky(direction):
    """A sky of smooth colours by direction, in [0, 1]."""
    x, y, z = direction.T
    return np.stack([0.5 + 0.3 * x, 0.4 + 0.3 * np.sin(3 * y), 0.6 - 0.3 * z], 1)


@dataclass
class _Painted:
    rgb: np.ndarray
    mask: np.ndarray | None = None

    def rect(self, left, top, width, height):
        inside = np.s_[top : top + height, left : left + width]
        return self.rgb[inside], None if self.mask is None else self.mask[inside]


def _camera(angle):
    position = np.array([4 * np.cos(angle), 4 * np.sin(angle), 0.3])
    K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
    return Camera("PINHOLE", 64, 48, K, *look_at(position, (0, 0, 0)))


def _pixels():
    rows, columns = np.mgrid[:48, :64]
    return np.stack([columns.ravel(), rows.ravel()], 1) + 0.5


@pytest.fixture(scope="module")
def parts():
    """A small triangle, and cameras around it that see sky on all sides of it."""
    vertices = np.array([[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0, 0.5]], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    surface = build_surface(Mesh(vertices=vertices, faces=faces, origin=np.zeros(3)))
    cameras = [_camera(2 * np.pi * k / 12) for k in range(12)]
    photos = []
    for camera in cameras:
        rgb = np.rint(255 * _sky(camera.rays(_pixels()))).astype(np.uint8).reshape(48, 64, 3)
        packed = torch.from_numpy(camera.packed())
        photos.append(TrainPhoto(64, 48, packed, lambda rgb=rgb: _Painted(rgb)))
    return surface, photos, cameras


def test_a_view_between_the_photos_shows_the_sky_of_its_directions(parts):
    background = fit_background(*parts, seed=0)
    camera = _camera(2 * np.pi * 3.5 / 12)
    direction = camera.rays(_pixels())
    position = torch.from_numpy(camera.position).float()
    colour = background.colour(position, torch.from_numpy(direction).float())
    error = np.abs(colour.numpy() - _sky(direction))
    assert error.mean() < 0.02


def test_the_same_seed_gives_the_same_bits_and_reading_them_back_too(parts):
    one, two = (fit_background(*parts, seed=3) for _ in range(2))
    read = Background.load(one.tensors())
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, two.tensors()[name]), name
        assert torch.equal(tensor, read.tensors()[name]), name
    direction = torch.tensor([[0.6, 0.0, 0.8]])
    start = torch.zeros(3)
    assert torch.equal(one.colour(start, direction), read.colour(start, direction))


def test_ground_is_looked_up_by_place_and_sky_by_direction(parts):
    surface, photos, cameras = parts
    assert fit_background(*parts, seed=0).kind == "direction"
    ground = []
    for camera, photo in zip(cameras, photos, strict=True):
        direction = camera.rays(_pixels())
        # The box of mesh and cameras ends 0.5 below: there lies the ground, above is grey.
        along = (-0.5 - camera.position[2]) / np.minimum(direction[:, 2], -1e-3)
        x, y, _ = (camera.position + along[:, None] * direction).T
        rgb = np.where(direction[:, 2:] < -0.1, np.stack([x > 1, y > 0, x > y], 1) * 200.0, 128.0)
        painted = _Painted(rgb.astype(np.uint8).reshape(48, 64, 3))
        ground.append(TrainPhoto(64, 48, photo.camera, lambda painted=painted: painted))
    assert fit_background(surface, ground, cameras, seed=0).kind == "box"


@pytest.fixture(scope="module")
def avenue():
    """Cameras along a line that all look across it at stripes that stand near."""
    vertices = np.array([[0, -0.1, -90], [0, 0.1, -90], [0.1, 0, -90]], np.float32)
    surface = build_surface(
        Mesh(vertices=vertices, faces=np.array([[0, 1, 2]], np.int32), origin=np.zeros(3))
    )
    cameras = [_camera_at((0.0, y, 0.0)) for y in np.linspace(-6, 6, 25)]
    photos = [_photo_of(camera, _stripes(camera)) for camera in cameras]
    return surface, photos, cameras


def _camera_at(position):
    """A camera that looks along +x."""
    R = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
    return Camera("PINHOLE", 64, 48, K, R, -R @ np.array(position))


def _stripes(camera):
    direction = camera.rays(_pixels())
    at = camera.position + direction * (2 / direction[:, :1])
    grey = 0.5 + 0.4 * np.sign(np.sin(2.0 * at[:, 1]))
    return np.repeat(np.rint(255 * grey).astype(np.uint8)[:, None], 3, 1).reshape(48, 64, 3)


def _photo_of(camera, rgb):
    return TrainPhoto(64, 48, torch.from_numpy(camera.packed()), lambda: _Painted(rgb))


def test_pictures_of_several_places_are_mixed_by_distance():
    texture = torch.zeros(2, 4, 8, 3, dtype=torch.uint8)
    texture[1] = 200
    places = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    box = (torch.full((3,), -9.0), torch.full((3,), 9.0))
    background = Background.load(Background(texture, "direction", *box, places, 1).tensors())
    assert background.axis == 1
    direction = torch.tensor([[0.0, 0, 1], [0.6, 0.8, 0]])
    for x, grey in ((0.0, 0), (0.5, 100), (1.0, 200), (5.0, 200)):
        colour = background.colour(torch.tensor([x, 0, 0]), direction)
        assert (colour * 255 - grey).abs().max() < (1 if x < 5 else 90)
    with pytest.raises(ValueError, match="places"):
        Background.load(background.tensors() | {"places": places * torch.nan})


def test_a_moving_camera_sees_the_background_change_smoothly(avenue):
    background = fit_background(*avenue, seed=0, exposure=ops.identity_exposure(len(avenue[2])))
    direction = torch.from_numpy(_camera_at((0, 0, 0)).rays(_pixels())).float()
    seen = [
        background.colour(torch.tensor([0.0, y, 0.0]), direction)
        for y in torch.linspace(-7, 7, 561).tolist()
    ]
    steps = torch.stack([(b - a).abs().mean() for a, b in pairwise(seen)])
    assert steps.max() < 0.08
    assert steps.sum() > 0.3


def test_the_picture_s_poles_lie_where_photos_do_not_look(parts, avenue):
    # Photos look around in the plane of x and y, or along x.
    assert fit_background(*parts, seed=0).axis == 2
    assert fit_background(*avenue, seed=0).axis != 0


def test_masked_and_covered_pixels_teach_nothing(parts):
    surface, photos, cameras = parts
    mask = np.zeros((48, 64), bool)
    mask[:, :10] = True
    rgb = photos[0].open().rgb
    masked = TrainPhoto(64, 48, photos[0].camera, lambda: _Painted(rgb, mask))
    found = uncovered_pixels(surface, [masked, photos[1]], cameras[:2], seed=0)
    assert int((found.photo == 0).sum()) == 480
    covered = 64 * 48 - int((found.photo == 1).sum())
    assert 0 < covered < 200  # the triangle, about 0.5 * 10 * 10 pixels
    expected = cameras[0].rays(_pixels()).reshape(48, 64, 3)[:, :10].reshape(-1, 3)
    np.testing.assert_allclose(found.direction[found.photo == 0], expected, atol=1e-6)


def test_rays_leave_the_box_where_they_meet_its_side(rng):
    low, high = torch.tensor([-1.0, -2, -3]), torch.tensor([3.0, 2, 1])
    direction = torch.from_numpy(rng.normal(size=(500, 3))).float()
    direction /= direction.norm(dim=1, keepdim=True)
    direction[0] = torch.tensor([1.0, 0, 0])
    start = torch.from_numpy(rng.uniform(low.numpy(), high.numpy(), (500, 3))).float()
    point = leaving_points(low, high, start, direction)
    away = point - start
    assert torch.allclose(torch.cross(away, direction, dim=1), torch.zeros(500, 3), atol=1e-5)
    assert ((away * direction).sum(1) >= -1e-6).all()
    on_side = torch.minimum((point - low).abs(), (point - high).abs()).amin(1)
    assert (on_side < 1e-5).all()
    assert ((point >= low) & (point <= high)).all()


@pytest.fixture(scope="module")
def runs(asymmetric_template, tmp_path_factory):
    scene = xscale.Scene.open(asymmetric_template)
    folder = tmp_path_factory.mktemp("background")
    return scene, [
        xscale.train(
            scene, out=folder / kind, steps=4, settings=[*SMALL, f"model.background={kind}"]
        )
        for kind in ("white", "learned")
    ]


def test_only_uncovered_pixels_change_and_they_show_the_photos_surroundings(runs):
    _, (white, learned) = runs
    name = white.names("test")[0]
    outputs = ("colour", "srgb")
    before, after = (
        run.render(run.camera(name), outputs, smooth=False) for run in (white, learned)
    )
    hit = before.coverage
    assert torch.equal(hit, after.coverage)
    for field in ("colour", "srgb"):
        assert torch.equal(getattr(before, field)[hit], getattr(after, field)[hit]), field
    assert (before.colour[~hit] == 255).all()
    error = (after.colour[~hit].float() - BACKGROUND).abs()
    assert error.mean() < 6
    assert torch.equal(after.colour, (after.srgb * 255 + 0.5).to(torch.uint8))
    assert white.fingerprint != learned.fingerprint


def test_renders_choose_what_uncovered_pixels_show(runs):
    _, (white, learned) = runs
    camera = learned.camera(learned.names("test")[0])
    missed = ~learned.render(camera).coverage
    assert (learned.render(camera, background="white").colour[missed] == 255).all()
    black = learned.render(camera, ("colour", "srgb"), background="black", samples=2)
    missed = ~black.coverage
    assert (black.colour[missed] == 0).all()
    assert (black.srgb[missed] == 0).all()
    same = (learned.render(camera, background=name).colour for name in ("run", "learned"))
    assert torch.equal(*same)
    with pytest.raises(UsageError, match="learned no background; train with --background"):
        white.render(camera, background="learned")
    with pytest.raises(UsageError, match="no background 'blue'"):
        white.render(camera, background="blue")


def test_background_is_learned_by_default_but_not_around_masked_objects(
    asymmetric_template, tmp_path
):
    kinds = {}
    for name, masks in (("plain", 0), ("masked", 6)):
        shutil.copytree(asymmetric_template, tmp_path / name)
        photos = sorted((tmp_path / name / "images").iterdir())
        for photo in photos[:masks]:
            (tmp_path / name / "masks").mkdir(exist_ok=True)
            with Image.open(photo) as opened:
                mask = Image.new("L", opened.size, 255)
            mask.save(tmp_path / name / "masks" / f"{photo.stem}.png")
        scene = xscale.Scene.open(tmp_path / name)
        assert len(scene.photos) == 6
        made = xscale.train(scene, out=tmp_path / f"{name}-run", steps=1, settings=SMALL)
        kinds[name] = made.manifest.model.background
        assert (made.background is None) == (kinds[name] == "white")
    assert kinds == {"plain": "learned", "masked": "white"}


def test_photos_that_show_nothing_else_give_white(parts):
    surface, photos, cameras = parts
    rgb, nothing = photos[0].open().rgb, np.zeros((48, 64), bool)
    masked = [TrainPhoto(64, 48, p.camera, lambda: _Painted(rgb, nothing)) for p in photos]
    background = fit_background(surface, masked, cameras, seed=0)
    colour = background.colour(torch.zeros(3), torch.tensor([[0.6, 0.0, 0.8]]))
    assert torch.equal(colour, torch.ones(1, 3))


def test_parts_and_several_samples_show_the_same_background(runs):
    learned = runs[1][1]
    camera = learned.camera(learned.names("test")[0])
    whole = learned.render(camera)
    part = learned.render(camera, rect=(30, 10, 40, 20))
    assert torch.equal(part.colour, whole.colour[10:30, 30:70])
    fine = learned.render(camera, samples=2)
    missed = ~fine.coverage
    assert (fine.colour[missed].float() - BACKGROUND).abs().mean() < 6


def test_a_resumed_run_keeps_its_background_and_a_damaged_one_is_named(runs):
    scene, (_, learned) = runs
    file = learned.path / "background.safetensors"
    before = file.read_bytes()
    settings = [*SMALL, "model.background=learned"]
    xscale.train(scene, out=learned.path, steps=4, settings=settings, resume=True)
    assert file.read_bytes() == before
    file.write_bytes(before[: len(before) // 2])
    with pytest.raises(IntegrityError, match="background"):
        Run.open(learned.path).render(learned.camera(learned.names("test")[0]))
    file.write_bytes(before)


def test_later_background_is_the_same_and_tells_of_damage_when_it_is_asked_for(parts):
    surface, photos, cameras = parts

    def damaged():
        raise DamagedPhotoError("is damaged", where="photo")

    broken = [*photos[:-1], TrainPhoto(64, 48, photos[-1].camera, damaged, "last")]
    written, told = [], []
    later = LaterBackground(
        lambda on_damage: fit_background(surface, broken, cameras, 3, on_damage),
        written.append,
        lambda name, error: told.append(name),
    )
    later.start()
    found = later.finish()
    assert later.finish() is found
    assert written == [found]
    assert told == ["last"]
    at_once = fit_background(surface, broken, cameras, 3, lambda name, error: None)
    for name, tensor in at_once.tensors().items():
        assert torch.equal(tensor, found.tensors()[name]), name


def test_a_run_with_a_checkpoint_has_its_background_and_one_without_gets_it_again(runs, tmp_path):
    scene, (_, learned) = runs

    def kept(run):
        arrays = run.folder.read(folder.BACKGROUND)
        return {name: array.tobytes() for name, array in arrays.items()}

    expected = kept(learned)
    settings = [*SMALL, "model.background=learned"]

    def train(**more):
        return xscale.train(scene, out=tmp_path / "run", steps=4, settings=settings, **more)

    with pytest.raises(InterruptedRunError):
        train(on_progress=lambda _: os.kill(os.getpid(), 2))
    assert load_newest(tmp_path / "run/checkpoints")[0].step == 1
    # The first fit; the last one divides out the exposures of the whole training.
    assert kept(Run.open(tmp_path / "run")).keys() == expected.keys()
    # Killed before the first checkpoint, with and without the file.
    for there in (False, True):
        shutil.rmtree(tmp_path / "run/checkpoints")
        (tmp_path / "run/metrics.jsonl").unlink()
        if not there:
            (tmp_path / "run/background.safetensors").unlink()
        train(resume=True)
        assert kept(Run.open(tmp_path / "run")) == expected

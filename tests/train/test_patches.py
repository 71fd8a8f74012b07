"""Squares are what the photos hold, and their losses are what scoring says."""

import numpy as np
import pytest
import torch

import xscale
from xscale.config import override
from xscale.errors import ConfigError
from xscale.metrics.ssim import ssim_map
from xscale.training.losses import PatchLoss
from xscale.training.pool import TilePool
from xscale.training.rays import Rays, Squares
from xscale.training.settings import PatchSettings, PoolSettings, preset

SIZE = 20


@pytest.fixture
def squares(rng):
    """Three squares with holes, and colours for their rays."""
    target = torch.from_numpy(rng.integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8))
    place = torch.from_numpy(rng.random(3 * SIZE * SIZE) < 0.8).nonzero().squeeze(1)
    count = len(place)
    none = torch.zeros(count, dtype=torch.int32)
    theirs = target.reshape(-1, 3)[place]
    rays = Rays(none, torch.zeros(count, 2), none, theirs)
    noise = torch.from_numpy(rng.normal(0, 0.1, (count, 3))).float()
    return Squares(rays, place, target), theirs / 255 + noise


def test_ssim_of_squares_is_that_of_scoring(squares):
    given, colour = squares
    loss = PatchLoss(
        PatchSettings(share=0.1, size=SIZE, colour=0, ssim=1), "l1", torch.device("cpu")
    )
    photo = given.target.double() / 255
    picture = photo.reshape(-1, 3).index_copy(0, given.place, colour.double()).reshape(photo.shape)
    covered = torch.zeros(3 * SIZE * SIZE, dtype=torch.bool)
    covered[given.place] = True
    inner = covered.reshape(3, SIZE, SIZE)[:, 5:-5, 5:-5].numpy()
    maps = [ssim_map(a.numpy(), b.numpy()) for a, b in zip(picture, photo, strict=True)]
    expected = 1 - np.stack(maps)[inner].mean()
    assert loss.grade(colour, given, 255).loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pixel_loss", ["charbonnier", "l2"])
def test_gradient_of_squares_is_the_slope_of_their_loss(squares, rng, pixel_loss):
    given, colour = squares
    loss = PatchLoss(PatchSettings(share=0.1, size=SIZE, ssim=0.3), pixel_loss, torch.device("cpu"))
    along = torch.from_numpy(rng.normal(0, 1, colour.shape)).float()
    step = 1e-3
    ahead, behind = (loss.grade(colour + s * along, given, 255).loss for s in (step, -step))
    slope = float((loss.grade(colour, given, 255).gradient * along).sum())
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=0.02, abs=1e-4)


def test_squares_are_cut_from_the_photos_around_covered_pixels(asymmetric_folder):
    scene = xscale.Scene.open(asymmetric_folder)
    settings = override(preset("default"), ["pool.tile=32"])
    prepared = _prepared(scene, settings)
    pool = TilePool(prepared.surface, prepared.photos, PoolSettings(tile=32), seed=1, batch=300)
    drawn = pool.draw_squares(3, 40 * 16**2, 16)
    again = pool.draw_squares(3, 40 * 16**2, 16)
    pool.close()
    assert drawn.target.shape == (40, 16, 16, 3)
    assert torch.equal(drawn.rays.pixel, again.rays.pixel)
    assert (drawn.rays.face_id >= 0).all()
    assert torch.equal(drawn.target.reshape(-1, 3)[drawn.place], drawn.rays.target)
    square = drawn.place // 16**2
    assert square.unique().numel() == 40
    photos = [photo.read() for photo in scene.photos]
    names = [photo.name for photo in scene.photos]
    train = scene.split().train
    for ray in range(0, len(drawn.place), 7):
        u, v = drawn.rays.pixel[ray].tolist()
        photo = photos[names.index(train[int(drawn.rays.photo[ray])])]
        assert np.array_equal(photo[int(v), int(u)], drawn.rays.target[ray].numpy())
    # Neighbours in a square are neighbours in the photo.
    corner = drawn.rays.pixel - torch.stack([drawn.place % 16, drawn.place // 16 % 16], 1)
    for k in range(40):
        assert (corner[square == k] == corner[square == k][0]).all()


def _prepared(scene, settings):
    from xscale.training.prepare import prepare

    return prepare(scene, scene.split(), settings, 1, 0, "default", torch.device("cpu"))


SMALL = ["optim.batch=1024", "model.grid.levels=4", "model.grid.log2_table_size=12"]
LAST = ["patch.share=0.5", "patch.size=16"]


@pytest.mark.parametrize(
    ("name", "more"), [("default", []), ("paper", ["optim.dense_table=false"])]
)
def test_a_run_stopped_in_the_last_stage_goes_on_to_the_same_bits(
    asymmetric_folder, trained_through_and_in_parts, name, more
):
    scene = xscale.Scene.open(asymmetric_folder)
    settings = [*SMALL, *LAST, *more]
    trained_through_and_in_parts(scene, stop=6, steps=8, preset=name, settings=settings)


def test_with_no_weight_on_structure_the_last_stage_learns_what_single_pixels_do(
    asymmetric_folder, tmp_path
):
    scene = xscale.Scene.open(asymmetric_folder)
    lines = {}
    for name, more in (("plain", []), ("squares", [*LAST, "patch.ssim=0"])):
        run = xscale.train(scene, out=tmp_path / name, settings=[*SMALL, *more], steps=60)
        name_of_test = run.names("test")[0]
        picture = run.render(run.camera(name_of_test))
        error = picture.colour.numpy() / 255.0 - scene.photo(name_of_test).read() / 255.0
        lines[name] = float(np.square(error[picture.coverage.numpy()]).mean())
    assert lines["squares"] < 1.5 * lines["plain"]


def test_squares_larger_than_a_tile_and_features_of_tiny_squares_are_refused():
    with pytest.raises(ConfigError, match=r"pool\.tile"):
        override(preset("default"), ["patch.share=0.1", "patch.size=64", "pool.tile=32"])
    with pytest.raises(ConfigError, match=r"patch\.size of 32"):
        PatchSettings(features=1.0, size=16)

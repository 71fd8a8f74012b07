import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from xscale import Scene
from xscale.gbuffer.build import build_surface
from xscale.training import pool as pool_module
from xscale.training.pool import TilePool, TrainPhoto
from xscale.training.settings import PoolSettings
from xscale.training.stream import TileStream


@pytest.fixture
def parts(asymmetric_folder):
    scene = Scene.open(asymmetric_folder)
    photos = []
    for photo in scene.photos:
        camera = photo.camera.recentred(scene.origin)
        packed = torch.from_numpy(camera.packed())
        photos.append(TrainPhoto(camera.width, camera.height, packed, photo.pixels))
    return build_surface(scene.mesh, "cpu"), photos, scene


def test_rays_carry_the_pixel_they_name(parts):
    surface, photos, scene = parts
    pool = TilePool(surface, photos, PoolSettings(tile=32), seed=1, batch=300)
    rays = pool.draw(0, 5000)
    decoded = [photo.read() for photo in scene.photos]
    for photo, (u, v), target in zip(
        rays.photo.tolist(), rays.pixel.tolist(), rays.target, strict=True
    ):
        stored = decoded[photo][int(v - 0.5), int(u - 0.5)]
        assert np.array_equal(target.numpy(), stored)
    assert (rays.face_id >= 0).all()
    assert (rays.face_id < len(scene.mesh.faces)).all()
    pool.close()


def test_every_covered_pixel_is_equally_likely(parts):
    surface, photos, _ = parts
    pool = TilePool(surface, photos, PoolSettings(tile=32), seed=1, batch=300)
    total = pool.covered_pixels
    counts = {}
    for step in range(20):
        rays = pool.draw(step, total)
        keys = zip(
            rays.photo.tolist(), rays.pixel[:, 0].tolist(), rays.pixel[:, 1].tolist(), strict=True
        )
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
    # Stratified: every pixel is expected 20 times, and never more than 40.
    assert len(counts) == total
    assert max(counts.values()) <= 40
    pool.close()


def _visits(pool, steps):
    """How often each covered pixel was drawn, when a step takes an eighth of them."""
    count = pool.covered_pixels // 8
    drawn = [pool.draw(step, count) for step in range(steps)]
    keys = torch.cat([torch.cat([rays.photo[:, None].float(), rays.pixel], 1) for rays in drawn])
    visits = keys.unique(dim=0, return_counts=True)[1]
    return torch.cat([visits, visits.new_zeros(pool.covered_pixels - len(visits))])


def test_even_draws_leave_no_pixel_out_and_random_ones_do(parts):
    surface, photos, _ = parts
    visits = {}
    for draw in ("even", "random"):
        pool = TilePool(surface, photos, PoolSettings(tile=32, draw=draw), seed=1, batch=300)
        visits[draw] = _visits(pool, 40)
        pool.close()
    assert visits["even"].sum() == visits["random"].sum()
    # Five visits each are expected.
    assert visits["even"].min() >= 3
    assert visits["even"].max() <= 7
    assert visits["random"].min() == 0
    assert visits["random"].max() >= 10


def test_even_draws_depend_on_the_seed(parts):
    surface, photos, _ = parts
    pixels = []
    for seed in (1, 2):
        pool = TilePool(surface, photos, PoolSettings(tile=32), seed=seed, batch=300)
        pixels.append(pool.draw(3, 500).pixel)
        pool.close()
    assert not torch.equal(*pixels)


def test_draws_are_a_function_of_seed_and_step_also_when_tiles_are_replaced(parts):
    surface, photos, _ = parts
    settings = PoolSettings(tile=16, refresh_steps=2, refresh_ratio=1.3)
    walked = TilePool(surface, photos, settings, seed=5, batch=300, capacity=30)
    assert not walked.whole
    batches = [walked.draw(step, 300) for step in range(41)]
    jumped = TilePool(surface, photos, settings, seed=5, batch=300, first_step=40, capacity=30)
    again = jumped.draw(40, 300)
    assert torch.equal(batches[40].pixel, again.pixel)
    assert torch.equal(batches[40].target, again.target)
    assert torch.equal(batches[40].face_id, again.face_id)
    seen = {p for batch in batches for p in batch.photo.tolist()}
    assert seen == set(range(len(photos)))
    walked.close()
    jumped.close()


def test_stream_holds_every_tile_once_an_epoch_in_groups_of_one_photo():
    sizes = [(70, 50), (33, 16), (16, 90)]
    stream = TileStream(sizes, 16, seed=3)
    for epoch in range(2):
        tiles = [stream.tile(epoch * len(stream) + k) for k in range(len(stream))]
        covered = [np.zeros((height, width), int) for width, height in sizes]
        for tile in tiles:
            rows = slice(tile.top, tile.top + tile.height)
            covered[tile.photo][rows, tile.left : tile.left + tile.width] += 1
        assert all((count == 1).all() for count in covered)
        changes = sum(a.photo != b.photo for a, b in itertools.pairwise(tiles))
        assert changes < len(tiles) / 2
    assert tiles != [stream.tile(k) for k in range(len(stream))]


def test_pool_reads_only_the_rectangles_it_needs(parts):
    surface, photos, _ = parts
    asked = []

    class Recording:
        def __init__(self, pixels):
            self._pixels = pixels

        def rect(self, left, top, width, height):
            asked.append(width * height)
            return self._pixels.rect(left, top, width, height)

    recorded = [replace(p, open=lambda p=p: Recording(p.open())) for p in photos]
    settings = PoolSettings(tile=16, refresh_ratio=0.5)
    pool = TilePool(surface, recorded, settings, seed=2, batch=64, capacity=4)
    pool.draw(0, 64)
    pool.close()
    # Four tiles at the start and what was asked for ahead: two tiles of 256 pixels.
    assert sum(asked) <= 6 * 256


def test_waiting_for_slow_tiles_is_measured(parts):
    surface, photos, _ = parts

    def slow(photo):
        time.sleep(0.03)
        return photo.open()

    slowed = [replace(p, open=lambda p=p: slow(p)) for p in photos]
    settings = PoolSettings(tile=16, refresh_steps=1)
    pool = TilePool(surface, slowed, settings, seed=2, batch=256, capacity=4)
    for step in range(5):
        pool.draw(step, 256)
    pool.close()
    # Four draws waited, each for a photo that takes 30 ms to open; the worker runs ahead a little.
    assert 0.04 < pool.seconds_waited < 30


@pytest.fixture
def slow_growth(monkeypatch):
    """Pools of all tiles begin with two photos, however small."""
    monkeypatch.setattr(pool_module, "_FIRST_PIXELS", 1)


def test_pool_of_all_begins_with_two_photos_and_ends_with_all(parts, slow_growth):
    surface, photos, _ = parts
    pool = TilePool(surface, photos, PoolSettings(tile=32), seed=1, batch=300)
    assert pool.whole
    seen = [set(pool.draw(step, 3000).photo.tolist()) for step in range(18)]
    assert len(seen[0]) == 2
    assert all(before <= after for before, after in itertools.pairwise(seen))
    assert seen[16] == set(range(len(photos)))
    pool.close()


def test_growing_pool_draws_a_function_of_seed_and_step_whatever_the_timing(parts, slow_growth):
    surface, photos, _ = parts

    def slow(photo):
        time.sleep(0.02)
        return photo.open()

    slowed = [replace(p, open=lambda p=p: slow(p)) for p in photos]
    settings = PoolSettings(tile=32)
    walked = TilePool(surface, photos, settings, seed=5, batch=300)
    late = TilePool(surface, slowed, settings, seed=5, batch=300)
    for step in range(18):
        jumped = TilePool(surface, photos, settings, seed=5, batch=300, first_step=step)
        rays = [pool.draw(step, 300) for pool in (walked, late, jumped)]
        for other in rays[1:]:
            for name, tensor in vars(rays[0]).items():
                theirs = getattr(other, name)
                same = tensor is theirs if tensor is None else torch.equal(tensor, theirs)
                assert same, (step, name)
        jumped.close()
    walked.close()
    late.close()


def test_pool_begins_with_photos_that_show_the_mesh(parts, slow_growth):
    surface, photos, _ = parts
    order = TilePool(surface, photos, PoolSettings(tile=32), seed=1, batch=300)
    first = set(order.draw(0, 500).photo.tolist())
    order.close()
    # Half a turn about the camera's y axis: the mesh is behind it.
    half = torch.ones(32, dtype=torch.float64)
    half[[0, 1, 2, 6, 7, 8, 9, 11]] = -1
    turned = [replace(p, camera=p.camera * half) if k in first else p for k, p in enumerate(photos)]
    pool = TilePool(surface, turned, PoolSettings(tile=32), seed=1, batch=300)
    rays = pool.draw(0, 500)
    assert len(rays.photo) == 500
    assert not first & set(rays.photo.tolist())
    pool.close()


def test_photos_of_a_growing_pool_follow_each_other():
    stream = TileStream([(70, 50), (33, 16), (16, 90)], 16, seed=3, fits=100)
    photos = [stream.photo(k) for k in range(len(stream))]
    assert stream.photo_ends[-1] == len(stream)
    assert [len(set(photos[a:b])) for a, b in itertools.pairwise([0, *stream.photo_ends])] == [
        1
    ] * 3
    assert len({stream.tile(k) for k in range(len(stream))}) == len(stream)

import numpy as np
import pytest
import torch

from xscale import Scene
from xscale.gbuffer.build import build_surface
from xscale.train.pool import TilePool, TrainPhoto
from xscale.train.settings import PoolSettings


@pytest.fixture
def parts(asymmetric_folder):
    scene = Scene.open(asymmetric_folder)
    photos = []
    for photo in scene.photos:
        camera = photo.camera.recentred(scene.origin)
        packed = torch.from_numpy(camera.packed())
        photos.append(TrainPhoto(camera.width, camera.height, packed, lambda p=photo: p.load(1)))
    return build_surface(scene.mesh, "cpu"), photos, scene


def test_rays_carry_the_pixel_they_name(parts):
    surface, photos, scene = parts
    pool = TilePool(surface, photos, PoolSettings(tile=32), seed=1)
    rays = pool.draw(0, 5000)
    decoded = [photo.read()[0] for photo in photos]
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
    pool = TilePool(surface, photos, PoolSettings(tile=32), seed=1)
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
        pool = TilePool(surface, photos, PoolSettings(tile=32, draw=draw), seed=1)
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
        pool = TilePool(surface, photos, PoolSettings(tile=32), seed=seed)
        pixels.append(pool.draw(3, 500).pixel)
        pool.close()
    assert not torch.equal(*pixels)


def test_draws_are_a_function_of_seed_and_step_also_when_tiles_are_replaced(parts):
    surface, photos, _ = parts
    settings = PoolSettings(tile=16, refresh_steps=2, refresh_share=0.1)
    walked = TilePool(surface, photos, settings, seed=5, capacity=30)
    assert not walked.whole
    batches = [walked.draw(step, 300) for step in range(21)]
    jumped = TilePool(surface, photos, settings, seed=5, first_step=20, capacity=30)
    again = jumped.draw(20, 300)
    assert torch.equal(batches[20].pixel, again.pixel)
    assert torch.equal(batches[20].target, again.target)
    assert torch.equal(batches[20].face_id, again.face_id)
    seen = {p for batch in batches for p in batch.photo.tolist()}
    assert seen == set(range(len(photos)))
    walked.close()
    jumped.close()

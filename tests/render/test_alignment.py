"""Renders lie on their photos to hundredths of a pixel; half a pixel of convention is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xscale
from tests import builders
from tests.registration import bicubic, shift
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

SAMPLES = 3
WAVES = np.random.default_rng(5).uniform((-1, -1, 0, 0.3), (1, 1, 7, 1), (24, 4))
K = np.array([[300.0, 9.0, 71.7], [0, 280.0, 66.1], [0, 0, 1]])
R, T = builders.look_at((0.4, -0.7, 2.1), (0.05, 0.02, 0), (0.1, -1, 0))


def texture(x, y):
    """Waves of 4 pixels and more, in every direction: band-limited, so nothing aliases."""
    return sum(a * np.sin(170 * (p * x + q * y) + s) for p, q, s, a in WAVES)


def analytic_photo(width, height, corner=0.0):
    """Photograph the plane z = 0; the first pixel's area begins at ``corner``, which is 0.

    Written out with R, T and K, without the package: K^-1 (u, v, 1), turned into the world.
    """
    inside = (np.arange(SAMPLES) + 0.5) / SAMPLES + corner
    v, u = np.meshgrid(
        (np.arange(height)[:, None] + inside).ravel(),
        (np.arange(width)[:, None] + inside).ravel(),
        indexing="ij",
    )
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ R
    eye = -R.T @ T
    length = -eye[2] / rays[..., 2]
    values = texture(eye[0] + length * rays[..., 0], eye[1] + length * rays[..., 1])
    return values.reshape(height, SAMPLES, width, SAMPLES).mean((1, 3))


def engine_picture(width, height):
    """The same texture at the surface points that the G-buffer gives, with the same samples."""
    vertices, faces = builders.checker_quad(6.0)
    mesh = Mesh.from_world(vertices + np.array([0.3, 0.2, 0]), faces)
    surface = build_surface(mesh)
    packed = torch.from_numpy(
        Camera("PINHOLE", width, height, K, R, T).recentred(mesh.origin).packed()
    )
    total = np.zeros((height, width))
    for j in range(SAMPLES):
        for i in range(SAMPLES):
            offset = ((i + 0.5) / SAMPLES, (j + 0.5) / SAMPLES)
            samples, coverage = build_gbuffer(surface, packed, width, height, offset=offset)
            assert coverage.all()
            point = samples.position.numpy().astype(float) + mesh.origin
            total += texture(point[:, 0], point[:, 1]).reshape(height, width)
    return total / SAMPLES**2


@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.3, -0.2), (-0.75, 0.5)])
def test_the_measure_itself_finds_a_known_shift(moved):
    v, u = np.mgrid[:90, :110] + 0.5
    first = texture(u / 300, v / 300)
    second = texture((u - moved[0]) / 300, (v - moved[1]) / 300)
    found = shift(2.5 * second + 7, first, np.ones(u.shape, bool))
    np.testing.assert_allclose(found, moved, atol=0.005)


def test_surface_points_are_where_an_analytic_photo_shows_them():
    width, height = 141, 120
    everywhere = np.ones((height, width), bool)
    picture = engine_picture(width, height)
    photo = analytic_photo(width, height)
    np.testing.assert_allclose(shift(photo, picture, everywhere), 0, atol=0.02)
    assert np.abs(photo - picture).max() < 1e-3 * np.abs(photo).max()
    # A source that puts (0, 0) at the first pixel's centre is half a pixel off, and is seen to be.
    wrong = analytic_photo(width, height, corner=-0.5)
    np.testing.assert_allclose(shift(wrong, picture, everywhere), 0.5, atol=0.02)


def test_trained_views_lie_on_their_photos(asymmetric_folder, tmp_path):
    # The whole line: pool, shader and renderer have to agree on where a pixel's centre is. After
    # a few steps the letter's edges are soft, each view is a tenth or two of a pixel off in its own
    # direction; a wrong convention would be half a pixel in all of them.
    scene = xscale.Scene.open(asymmetric_folder)
    small = ["optim.batch=2048", "model.grid.levels=8", "model.grid.log2_table_size=12",
             "model.shader.hidden=16"]  # fmt: skip
    run = xscale.train(scene, out=tmp_path / "run", steps=150, settings=small)
    found = []
    for photo in scene.photos:
        frame = run.render(photo.camera)
        found.append(shift(photo.read(), frame.colour.numpy(), frame.coverage.numpy()))
    np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=0.2)


DOWNSCALE = 2
SAME_SURFACE = 0.01


def _depth(scene, surface, camera, offset=(0.5, 0.5)):
    packed = torch.from_numpy(camera.recentred(scene.origin).packed())
    samples, coverage = build_gbuffer(surface, packed, camera.width, camera.height, offset=offset)
    coverage = coverage.numpy()
    depth = np.full(coverage.shape, np.inf)
    depth[coverage] = samples.depth.numpy()
    return samples.position.numpy().astype(float) + scene.origin, coverage, depth


def seen_from(scene, surface, photo, other, offset=(0.5, 0.5)):
    """What ``photo`` should look like by the colours of ``other``, by way of the mesh.

    Returns the picture float64 [H, W, 3] and where both see the same surface, bool [H, W].
    """
    points, coverage, _ = _depth(scene, surface, photo.camera_at(DOWNSCALE), offset)
    camera = other.camera_at(DOWNSCALE)
    _, _, depth = _depth(scene, surface, camera)
    pixel, z = camera.project(points)
    column, row = np.floor(np.nan_to_num(pixel, nan=-1)).astype(int).T
    visible = (z > 0) & (column >= 0) & (row >= 0)
    visible &= (column < camera.width) & (row < camera.height)
    apart = np.abs(depth[row[visible], column[visible]] / z[visible] - 1)
    visible[visible] = apart < SAME_SURFACE
    picture, both = np.zeros((*coverage.shape, 3)), coverage.copy()
    both[coverage] = visible
    picture[both] = bicubic(other.read(DOWNSCALE).astype(float), *pixel[visible].T)
    return picture, both


@pytest.mark.data
def test_fountain_photos_meet_each_other_on_the_mesh(scenes):
    # A neighbour's colours, carried over by the mesh, carry the mesh's error with them: a shift
    # towards one side, and towards the other in the pair turned round. Their mean is the error of
    # cameras, pixels and rasterizer, which has to be zero.
    scene = xscale.Scene.open(scenes / "fountain")
    surface = build_surface(scene.mesh)
    found = []
    for a, b in ((4, 5), (5, 6)):
        for photo, other in ((a, b), (b, a)):
            photo, other = scene.photos[photo], scene.photos[other]
            picture, both = seen_from(scene, surface, photo, other)
            assert both.mean() > 0.5
            found.append(shift(photo.read(DOWNSCALE), picture, both, block=96))
    assert np.abs(found).max() < 0.25
    np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=0.05)
    # The same with rays through the pixels' corners is half a pixel too far to the right and down,
    # so the test can fail.
    photo, other = scene.photos[5], scene.photos[4]
    picture, both = seen_from(scene, surface, photo, other, offset=(0.0, 0.0))
    wrong = shift(photo.read(DOWNSCALE), picture, both, block=96) - found[1]
    np.testing.assert_allclose(wrong, -0.5, atol=0.1)


@pytest.mark.data
def test_fountain_renders_lie_on_their_photos(scenes, tmp_path):
    # What the mesh has wrong pulls the views at either end of the row of cameras in opposite
    # directions, by a tenth of a pixel: the mean over the row is what the pixels have wrong.
    scene = xscale.Scene.open(scenes / "fountain")
    small = ["optim.batch=8192", "model.grid.log2_table_size=16"]
    run = xscale.train(scene, out=tmp_path / "run", downscale=4, steps=300, settings=small)
    found = []
    for photo in scene.photos:
        frame = run.render(run.camera(photo.name))
        render, covered = frame.colour.numpy(), frame.coverage.numpy()
        found.append(shift(photo.read(4), render, covered, block=48))
    assert np.abs(found).max() < 0.25
    np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=0.05)

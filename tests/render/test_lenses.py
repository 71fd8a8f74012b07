"""Photos through bending lenses: G-buffer, training and rendering agree with COLMAP's formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from tests import builders
from tests.geometry.test_lens import colmap_pixel
from tests.lenses import BENT, DISTORTIONS, WIDE, camera_of
from tests.registration import shift
from tests.render.test_alignment import R, T, texture
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

WIDTH, HEIGHT, SAMPLES = 97, 80, 2
K = np.array([[105.0, 0, 47.7], [0, 98.0, 42.1], [0, 0, 1]])


def painted(x, y):
    return texture(x / 3, y / 3)


def numeric_rays(model, u, v):
    """Rays (x, y, 1) that COLMAP's forward formula sends to pixels, by Newton's method on it."""

    def miss(a, b):
        one = np.ones_like(a)
        return np.stack(colmap_pixel(model, K, DISTORTIONS[model], a, b, one)) - (u, v)

    a, b = (u - K[0, 2]) / K[0, 0] + 1e-9, (v - K[1, 2]) / K[1, 1] + 1e-9
    if model in WIDE and model != "EQUIRECTANGULAR":
        angle = np.hypot(a, b)
        a, b = a * np.tan(angle) / angle, b * np.tan(angle) / angle
    step = 1e-6
    for _ in range(12):
        off, right, down = miss(a, b), miss(a + step, b), miss(a, b + step)
        (xx, yx), (xy, yy) = (right - off) / step, (down - off) / step
        det = xx * yy - xy * yx
        a, b = a - (yy * off[0] - xy * off[1]) / det, b - (xx * off[1] - yx * off[0]) / det
    assert np.abs(miss(a, b)).max() < 1e-8
    return np.stack([a, b, np.ones_like(a)], -1)


def analytic_photo(model, corner=0.0):
    """Photograph the plane z = 0 without the package's lenses."""
    inside = (np.arange(SAMPLES) + 0.5) / SAMPLES + corner
    v, u = np.meshgrid(
        (np.arange(HEIGHT)[:, None] + inside).ravel(),
        (np.arange(WIDTH)[:, None] + inside).ravel(),
        indexing="ij",
    )
    rays = numeric_rays(model, u, v) @ R
    eye = -R.T @ T
    length = -eye[2] / rays[..., 2]
    values = painted(eye[0] + length * rays[..., 0], eye[1] + length * rays[..., 1])
    return values.reshape(HEIGHT, SAMPLES, WIDTH, SAMPLES).mean((1, 3))


@pytest.mark.parametrize("model", BENT)
def test_surface_points_are_where_an_analytic_photo_shows_them(model):
    vertices, faces = builders.checker_quad(9.0)
    mesh = Mesh.from_world(vertices + np.array([0.3, 0.2, 0]), faces)
    surface = build_surface(mesh)
    camera = Camera(model, WIDTH, HEIGHT, K, R, T, DISTORTIONS[model])
    packed = torch.from_numpy(camera.recentred(mesh.origin).packed())
    picture = np.zeros((HEIGHT, WIDTH))
    for k in range(SAMPLES**2):
        offset = ((k % SAMPLES + 0.5) / SAMPLES, (k // SAMPLES + 0.5) / SAMPLES)
        samples, coverage = build_gbuffer(surface, packed, WIDTH, HEIGHT, offset=offset)
        assert coverage.all()
        point = samples.position.numpy().astype(float) + mesh.origin
        picture += painted(point[:, 0], point[:, 1]).reshape(HEIGHT, WIDTH) / SAMPLES**2
    photo = analytic_photo(model)
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    np.testing.assert_allclose(shift(photo, picture, everywhere), 0, atol=0.02)
    assert np.abs(photo - picture).max() < 2e-3 * np.abs(photo).max()
    wrong = analytic_photo(model, corner=-0.5)
    np.testing.assert_allclose(shift(wrong, picture, everywhere), 0.5, atol=0.05)


@pytest.mark.parametrize("model", ["FULL_OPENCV", "THIN_PRISM_FISHEYE", "EQUIRECTANGULAR"])
def test_lenses_survive_training_and_the_manifest(model, tmp_path):
    built = builders.asymmetric_scene(photos=5)
    lens = camera_of(model)
    cameras = {name: replace(lens, R=c.R, t=c.t) for name, c in built.cameras.items()}
    folder = builders.write_colmap(replace(built, cameras=cameras), tmp_path / "scene")
    scene = xscale.Scene.open(folder)
    small = ["optim.batch=512", "model.grid.levels=4", "model.grid.log2_table_size=10"]
    xscale.train(scene, out=tmp_path / "run", steps=2, downscale=2, settings=small)
    run = xscale.Run.open(tmp_path / "run")
    for photo in scene.photos:
        camera, wanted = run.camera(photo.name), photo.camera_at(2)
        assert camera.model == model
        np.testing.assert_array_equal(camera.distortion, lens.distortion)
        np.testing.assert_array_equal(camera.K, wanted.K)
        assert camera.K[0, 0] == pytest.approx(lens.K[0, 0] * camera.width / lens.width)
    frame = run.render(camera)
    # The mesh covers the render where the oracle's rays through the same lens hit it.
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    distance, _ = builders.hits(
        built.vertices, built.faces, camera, np.stack([u.ravel(), v.ravel()], 1)
    )
    hit = np.isfinite(distance).reshape(camera.height, camera.width)
    assert hit.mean() > 0.02
    assert (frame.coverage.numpy() != hit).mean() < 2e-3

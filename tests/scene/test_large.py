"""Twenty million faces: opened in half a minute, and a wrong scene named within one."""

import time
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.errors import SceneError
from xscale.geometry.camera import Camera
from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.io.mesh.ply import encode_ply
from xscale.scene.scene import Scene

SIDE = 3163
PHOTOS = 500
CORES = 2


def _height(x, y):
    return 5 * np.sin(x / 7) * np.cos(y / 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hills of 1000 x 1000 units, each photo a thousandth of them from 30 units above."""
    root = tmp_path_factory.mktemp("large")
    along = np.linspace(0, 1000, SIDE, dtype=np.float32)
    x, y = np.meshgrid(along, along)
    vertices = np.stack([x, y, _height(x, y)], -1).reshape(-1, 3)
    row = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1).astype(np.int32)
    a, b, c, d = (row + step for step in (0, 1, SIDE, SIDE + 1))
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    assert len(faces) > 19_900_000
    (root / "mesh.ply").write_bytes(encode_ply(vertices, faces))
    rng = np.random.default_rng(1)
    K = np.array([[95.0, 0, 56], [0, 95.0, 32], [0, 0, 1]])
    cameras = {}
    for k in range(PHOTOS):
        here = np.array([*rng.uniform(50, 950, 2), 30 + 3 * rng.random()])
        R, t = builders.look_at(here, (*(here[:2] + rng.normal(0, 8, 2)), 0), (0.1, -1, 0))
        cameras[f"{k:04d}.png"] = Camera("PINHOLE", 112, 64, K, R, t)
        builders.save_photo(root / "images" / f"{k:04d}.png", np.zeros((64, 112, 3), np.uint8))
    points = rng.uniform(0, 1000, (20_000, 3))
    points[:, 2] = _height(points[:, 0], points[:, 1])
    built = builders.Built(vertices[:0], faces[:0], cameras, None, points)
    builders.write_model(built, root / "sparse" / "0")
    return root, built


@pytest.mark.slow
def test_twenty_million_faces_are_read_in_half_a_minute(folder):
    begin = time.process_time()
    mesh = read_mesh_arrays(folder[0] / "mesh.ply")
    assert len(mesh.faces) > 19_900_000
    assert time.process_time() - begin < 30 * CORES


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [False, True])
def test_a_large_scene_is_opened_or_its_fault_named_within_a_minute(folder, wrong):
    root, built = folder
    flip = np.diag([1.0, -1, -1])
    cameras = {n: replace(c, R=flip @ c.R, t=flip @ c.t) for n, c in built.cameras.items()}
    builders.write_model(replace(built, cameras=cameras) if wrong else built, root / "sparse" / "0")
    begin = time.process_time()
    if wrong:
        with pytest.raises(SceneError, match="do not meet") as refused:
            Scene.open(root)
        assert "--pose-convention world-to-camera-opengl" in refused.value.advice
    else:
        assert Scene.open(root).warnings == ()
    assert time.process_time() - begin < 60 * CORES

"""Distorted photos train as well as undistorted ones of the same scene, from the same places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xscale
from tests import builders
from xscale.demo.photos import DemoSize, Ring, Studio, cameras
from xscale.demo.surface import ground
from xscale.io.ply import encode_ply
from xscale.metrics.variants import score_photo

SIZE = DemoSize(
    width=200,
    height=150,
    supersampling=3,
    cells=384,
    rings=(Ring("1_far", 2.4, 18, 0.15), Ring("2_middle", 0.6, 24, 0.2)),
)
LENSES = {
    "PINHOLE": [],
    "OPENCV": [-0.12, 0.04, 0.004, -0.003],
    "OPENCV_FISHEYE": [-0.04, 0.01, 0.0, 0.0],
}
STEPS = 600
SETTINGS = ["optim.batch=8192", "model.grid.log2_table_size=16"]


def write_scene(root, model):
    """Photograph the demo's ground through a lens; photo k has one exposure whatever the lens."""
    studio = Studio(SIZE)
    views = {}
    for name, ring, camera in cameras(SIZE):
        camera = replace(camera, model=model, distortion=LENSES[model])
        views[name] = camera
        builders.save_photo(root / "images" / name, studio.photograph(camera, ring.distance))
    vertices, faces = ground(SIZE.cells // 4, wrong=0.06)
    (root / "mesh.ply").write_bytes(encode_ply(vertices.astype(np.float32), faces))
    builders.write_model(
        builders.Built(vertices, faces, views, None, np.zeros((0, 3))), root / "sparse" / "0"
    )


@pytest.mark.slow
def test_twins_score_alike(tmp_path):
    # All three are judged by the same photos, the pinhole's held-out ones: the lens must cost
    # nothing, while what the pictures' edges show may differ between lenses.
    scores = {}
    for model in LENSES:
        write_scene(tmp_path / model, model)
        scene = xscale.Scene.open(tmp_path / model)
        run = xscale.train(scene, out=tmp_path / f"run_{model}", steps=STEPS, settings=SETTINGS)
        judges = xscale.Scene.open(tmp_path / "PINHOLE")
        rows = []
        for name in run.names("test"):
            photo = judges.photo(name)
            frame = run.render(photo.camera)
            rows.append(score_photo(frame.colour.numpy(), photo.read(), frame.coverage.numpy()))
        scores[model] = float(np.mean([row["psnr_covered_cc"] for row in rows]))
    assert scores["PINHOLE"] > 20
    for score in scores.values():
        assert abs(score - scores["PINHOLE"]) < 0.1, scores

"""``prepare`` makes a scene of the benchmark from every layout that xscale reads."""

from __future__ import annotations

import numpy as np
import pytest

from tests import builders
from tests.scene import test_openmvs
from tests.scene.programs import write_labelled_cameras
from xscale import Scene
from xscale.giganvs.prepare import prepare
from xscale.giganvs.verify import verify

PHOTOS = 8


def written(built, root, layout):
    """Write the scene as a program of that layout does."""
    if layout.startswith("colmap"):
        return builders.write_colmap(built, root, binary=layout == "colmap")
    if layout == "mvsnet":
        return builders.write_mvsnet(built, root)
    builders.write_photos_and_mesh(built, root)
    if layout == "openmvs":
        (root / "scene.mvs").write_bytes(test_openmvs.scene_mvs(built))
    else:
        write_labelled_cameras(built, root, layout)
    return root


@pytest.mark.parametrize(
    "layout",
    ["colmap", "colmap text", "mvsnet", "metashape", "realitycapture", "bundler", "nerfstudio",
     "openmvs"],
)  # fmt: skip
def test_a_scene_of_every_layout_is_prepared(tmp_path, layout):
    built = builders.asymmetric_scene(photos=PHOTOS, width=64, height=48)
    scene = Scene.open(written(built, tmp_path / "office", layout))
    made = prepare(scene, tmp_path / "root/office")
    assert verify(made.path).faults == ()
    assert made.split("every7").test == tuple(sorted(made.card["photos"]))[::7]
    for one, other in zip(scene.photos, made.scene.photos, strict=True):
        np.testing.assert_allclose(other.camera.K, one.camera.K, rtol=1e-12)
        np.testing.assert_allclose(other.camera.R, one.camera.R, atol=1e-12)
        np.testing.assert_allclose(other.camera.position, one.camera.position, atol=1e-9)
        assert other.camera.model == "PINHOLE"
        if one.camera.model == "PINHOLE":
            assert other.path.read_bytes() == one.path.read_bytes()

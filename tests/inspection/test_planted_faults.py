"""Planted faults are named, and named first; a clean scene names nothing."""

from dataclasses import replace

import numpy as np
import pytest

from tests.inspection.faults import shifted, textured, turned, write
from xscale.geometry.mesh import Mesh
from xscale.inspection.examine import examine
from xscale.scene.scene import Scene

BAD = "view_4.png"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = write(textured(), tmp_path_factory.mktemp("textured") / "scene")
    return Scene.open(folder)


def with_camera(scene, change):
    photos = tuple(
        replace(p, camera=change(p.camera)) if p.name == BAD else p for p in scene.photos
    )
    return replace(scene, photos=photos)


def without_points(scene):
    return replace(scene, points=None, observe=None)


def test_clean_scene_names_nothing(clean):
    found = examine(clean, measure=False)
    assert found.findings == []
    assert found.facts["warnings"] == []
    assert found.facts["agreement"]["neighbour_pixels"] < 0.5
    assert found.facts["agreement"]["mesh_fit"]["scale"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("sparse", [True, False], ids=["points", "no-points"])
@pytest.mark.parametrize(
    "change",
    [
        lambda camera: turned(camera, 2, 0),
        lambda camera: turned(camera, 2, 2),
        lambda camera: shifted(camera, (0.06, -0.05, 0)),
    ],
    ids=["turned", "rolled", "shifted"],
)
def test_wrong_camera_is_named_first_and_alone(clean, change, sparse):
    scene = with_camera(clean if sparse else without_points(clean), change)
    found = examine(scene, measure=False)
    assert [f.photo for f in found.findings] == [BAD]
    assert found.findings[0].code == "W-PHOTO-POSE"
    assert found.worst_first()[0].photo.name == BAD


def test_mesh_of_another_size_is_named_with_its_size(clean):
    mesh = clean.mesh
    world = mesh.vertices.astype(np.float64) + mesh.origin
    scene = replace(clean, mesh=Mesh.from_world(world * 1.01, mesh.faces))
    found = examine(scene, measure=False)
    assert found.findings[0].code == "W-MESH-SCALE"
    assert found.findings[0].photo is None
    assert found.facts["agreement"]["mesh_fit"]["scale"] == pytest.approx(1.01, abs=2e-3)


def test_mesh_elsewhere_is_named(clean):
    mesh = clean.mesh
    moved = replace(mesh, origin=mesh.origin + np.array([0, 0, 0.03]))
    found = examine(replace(clean, mesh=moved), measure=False)
    assert found.findings[0].code == "W-MESH-SHIFT"


def test_photos_of_another_lens_are_the_scenes_fault_not_one_photos(clean):
    photos = []
    for photo in clean.photos:
        K = np.array(photo.camera.K)
        K[[0, 1], [0, 1]] *= 1.05
        photos.append(replace(photo, camera=replace(photo.camera, K=K)))
    found = examine(replace(clean, photos=tuple(photos)), measure=False)
    assert found.findings
    assert found.findings[0].photo is None
    assert found.findings[0].code in ("W-CAMERA-REPROJECTION", "W-SCENE-DISAGREES")

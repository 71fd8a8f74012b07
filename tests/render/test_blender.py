"""The Blender add-on's path shows what Blender's own camera shows (needs the package bpy)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from xscale.render.camera_files import read_cameras
from xscale.render.camera_path import parse_camera_path

ADD_ON = Path(__file__).parents[2] / "docs" / "blender_camera_path.py"
OFFSET = (100.0, -20.0, 3.0)

# Blender's own modules and its importers do not keep our rule on warnings.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@pytest.fixture(scope="module")
def bpy():
    return pytest.importorskip("bpy")


@pytest.fixture(scope="module")
def add_on(bpy):
    spec = importlib.util.spec_from_file_location("blender_camera_path", ADD_ON)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(4).normal(size=(40, 3)).astype(np.float32)


@pytest.fixture
def scene(bpy, points, tmp_path):
    """A GLB in a fresh Blender, and a parented, scaled, shifted camera that moves and zooms."""
    trimesh = pytest.importorskip("trimesh")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    faces = np.stack([np.arange(38), np.arange(1, 39), np.arange(2, 40)], 1)
    trimesh.Trimesh(points, faces, process=False).export(tmp_path / "scene.glb")
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "scene.glb"))
    scene = bpy.context.scene
    data = bpy.data.cameras.new("shot")
    camera = bpy.data.objects.new("shot", data)
    rig = bpy.data.objects.new("rig", None)
    for thing in (rig, camera):
        scene.collection.objects.link(thing)
    rig.scale, rig.rotation_euler = (2, 2, 2), (0, 0, 0.3)
    camera.parent = rig
    scene.camera = camera
    scene.frame_start, scene.frame_end, scene.frame_step = 1, 9, 2
    scene.render.resolution_x, scene.render.resolution_y = 640, 360
    scene.render.resolution_percentage = 50
    scene.render.fps, scene.render.fps_base = 30, 1.001
    data.shift_x, data.shift_y = 0.08, -0.05
    for frame, place, turn, lens in (
        (1, (0, -3, 1), (1.3, 0.1, 0), 35), (9, (2, -2, 0), (1.5, 0.2, 0.6), 70),
    ):  # fmt: skip
        camera.location, camera.rotation_euler, data.lens = place, turn, lens
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
        data.keyframe_insert("lens", frame=frame)
    return scene


def _blenders_pixels(bpy, scene):
    """Where Blender sees the imported mesh's vertices: [N, 2] pixels, and whether in front."""
    from bpy_extras.object_utils import world_to_camera_view

    (mesh,) = (thing for thing in scene.objects if thing.type == "MESH")
    seen = np.array(
        [world_to_camera_view(scene, scene.camera, mesh.matrix_world @ v.co)
         for v in mesh.data.vertices]
    )  # fmt: skip
    return seen[:, :2] * (320, -180) + (0, 180), seen[:, 2] > 0.3


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("shift", [True, False])
def test_file_points_fall_on_blenders_pixels_in_every_frame(
    bpy, add_on, scene, points, tmp_path, fit, shift
):
    scene.camera.data.sensor_fit = fit
    if not shift:
        scene.camera.data.shift_x = scene.camera.data.shift_y = 0
    scene.frame_set(4)
    add_on.write(tmp_path / "path.json", add_on.camera_path(scene, "turned", OFFSET))
    assert scene.frame_current == 4
    path = read_cameras(tmp_path / "path.json")
    assert path.fps == pytest.approx(30 / 1.001)
    assert len(path.cameras) == 5
    places = []
    for frame, named in zip((1, 3, 5, 7, 9), path.cameras, strict=True):
        assert (named.camera.width, named.camera.height) == (320, 180)
        scene.frame_set(frame)
        expected, ahead = _blenders_pixels(bpy, scene)
        found, depth = named.camera.project(points + np.array(OFFSET))
        assert ahead.sum() > 10
        assert (depth[ahead] > 0).all()
        np.testing.assert_allclose(found[ahead], expected[ahead], atol=0.02)
        places.append(expected[ahead].mean(0))
    assert np.ptp(places, axis=0).max() > 20
    entry = json.loads((tmp_path / "path.json").read_text())["camera_path"][0]
    assert ("xscale" in entry) == shift


def test_command_line_writes_what_the_function_gives(add_on, scene, tmp_path):
    add_on.main([str(tmp_path / "p.json"), "--axes", "same", "--offset", "1", "2", "3"])
    document = json.loads((tmp_path / "p.json").read_text())
    assert document == add_on.camera_path(scene, "same", (1, 2, 3))
    turned = parse_camera_path(add_on.camera_path(scene), "p").cameras[0].camera
    same = parse_camera_path(document, "p").cameras[0].camera
    x, y, z = same.position - (1, 2, 3)
    np.testing.assert_allclose(turned.position, (x, z, -y), atol=1e-6)


def test_menu_entry_writes_and_says_what_it_cannot(bpy, add_on, scene, tmp_path):
    add_on.register()
    try:
        path = tmp_path / "menu.json"
        assert bpy.ops.export_scene.xscale_path(filepath=str(path)) == {"FINISHED"}
        assert len(read_cameras(path).cameras) == 5
        scene.camera.data.type = "ORTHO"
        with pytest.raises(RuntimeError, match="only perspective"):
            bpy.ops.export_scene.xscale_path(filepath=str(tmp_path / "no.json"))
        assert not (tmp_path / "no.json").exists()
    finally:
        add_on.unregister()
    scene.camera = None
    with pytest.raises(ValueError, match="frame 1 has no active camera"):
        add_on.camera_path(scene)

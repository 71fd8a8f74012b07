"""Exports as independent programs open them: the same surface, to a tenth of a millimetre.

Programs that are not installed are passed over: trimesh, open3d, pymeshlab (MeshLab), bpy
(Blender), and Khronos' glTF validator for Node (``npm install gltf-validator`` in a folder of
``NODE_PATH``).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from xscale.export.mesh_files import write_glb, write_obj
from xscale.export.points import write_points
from xscale.export.unwrap import Page

PLACE = np.array([500_000.123, 5_400_000.456, 312.5])
"""A scene in UTM coordinates, metres."""
TENTH_OF_A_MILLIMETRE = 1e-4


@pytest.fixture(scope="module")
def page():
    """A bumpy sheet of 40 metres with normals and texture coordinates."""
    along = np.linspace(-20, 20, 13)
    x, y = np.meshgrid(along, along)
    vertices = np.stack([x, y, np.sin(0.3 * x) * np.cos(0.2 * y)], -1).reshape(-1, 3)
    row = np.arange(12)[:, None] * 13 + np.arange(12)
    a, b, c, d = (row + s for s in (0, 1, 13, 14))
    faces = np.concatenate([np.stack(t, 2).reshape(-1, 3) for t in ((a, b, d), (a, d, c))])
    normals = np.tile(np.float32([0, 0, 1]), (len(vertices), 1))
    texel = ((vertices[:, :2] + 20) / 40 * 31).astype(np.float32)
    return Page(vertices.astype(np.float32), normals, faces.astype(np.int32), texel, 32, 32)


@pytest.fixture(scope="module")
def texture():
    return np.random.default_rng(2).integers(0, 255, (32, 32, 3)).astype(np.uint8)


@pytest.fixture
def truth(page):
    return page.vertices.astype(np.float64) + PLACE


@pytest.fixture
def files(page, texture, tmp_path):
    """The sheet as every kind of file, in a folder and under names with blanks."""
    folder = tmp_path / "to the client"
    folder.mkdir()
    write_glb(folder / "my model.glb", [page], [texture], PLACE)
    write_obj(folder / "my model.obj", [page], [texture], PLACE)
    colour = np.zeros_like(page.vertices, np.uint8)
    for end in ("ply", "las", "laz"):
        path = folder / f"my points.{end}"
        write_points(path, page.vertices, page.normals, colour, PLACE)
    return folder


def off(found, truth):
    """Return the largest distance of a true vertex from the nearest one found."""
    found = np.asarray(found, np.float64)
    return max(float(np.abs(found - one).max(axis=1).min()) for one in truth)


@pytest.mark.parametrize("name", ["my model.glb", "my model.obj", "my points.ply"])
def test_trimesh(files, truth, name):
    trimesh = pytest.importorskip("trimesh")
    loaded = trimesh.load(files / name, process=False)
    found = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
    assert off(found.vertices, truth) < TENTH_OF_A_MILLIMETRE
    if name != "my points.ply":
        assert len(found.faces) == 288
        assert found.visual.kind == "texture"


@pytest.mark.parametrize("name", ["my model.obj", "my points.ply"])
def test_open3d(files, truth, name):
    o3d = pytest.importorskip("open3d")
    if name.endswith("obj"):
        found = o3d.io.read_triangle_mesh(str(files / name), enable_post_processing=True)
        points = found.vertices
    else:
        points = o3d.io.read_point_cloud(str(files / name)).points
    # Open3D reads OBJ in single precision: half a metre is a step at five million.
    assert off(points, truth) < (0.5 if name.endswith("obj") else TENTH_OF_A_MILLIMETRE)
    if name.endswith("obj"):
        assert len(found.textures) == 1


@pytest.mark.parametrize("name", ["my points.las", "my points.laz"])
def test_laspy(files, truth, name):
    laspy = pytest.importorskip("laspy")
    assert off(laspy.read(files / name).xyz, truth) < TENTH_OF_A_MILLIMETRE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my model.obj", "my points.ply"])
def test_meshlab(files, truth, name):
    pymeshlab = pytest.importorskip("pymeshlab")
    loaded = pymeshlab.MeshSet()
    loaded.load_new_mesh(str(files / name))
    found = loaded.current_mesh()
    # MeshLab keeps doubles, and the place of a mesh in its matrix.
    move = np.asarray(found.transform_matrix())
    points = np.asarray(found.vertex_matrix()) @ move[:3, :3].T + move[:3, 3]
    assert off(points, truth) < TENTH_OF_A_MILLIMETRE
    if name.endswith("obj"):
        assert found.texture_number() == 1


BLENDER = """
import json, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=sys.argv[1])
(thing,) = (one for one in bpy.context.scene.objects if one.type == "MESH")
bpy.ops.export_scene.gltf(filepath=sys.argv[2])
print(json.dumps({
    "vertices": [[v.co.x, v.co.z, -v.co.y] for v in thing.data.vertices],
    "place": [list(row) for row in thing.matrix_world],
    "images": [list(image.size) for image in bpy.data.images],
}))
"""


@pytest.mark.slow
def test_blender_opens_and_writes_the_same_again(files, page, tmp_path):
    """Blender computes in float32: the sheet is right, as its place is its node's."""
    trimesh = pytest.importorskip("trimesh")
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("not installed: bpy")
    again = tmp_path / "again.glb"
    # In a process of its own: it shares libraries with MeshLab, of another version.
    done = subprocess.run(
        [sys.executable, "-c", BLENDER, str(files / "my model.glb"), str(again)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    found = json.loads(next(x for x in done.stdout.splitlines() if x.startswith('{"vertices')))
    local = page.vertices.astype(np.float64)
    assert off(found["vertices"], local) < TENTH_OF_A_MILLIMETRE
    assert [32, 32] in found["images"]
    (mesh,) = trimesh.load(again, process=False).geometry.values()
    assert off(mesh.vertices, local) < TENTH_OF_A_MILLIMETRE
    assert len(mesh.faces) == 288


VALIDATE = """
const validator = require('gltf-validator');
const data = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(data).then(r => console.log(JSON.stringify(r.issues)));
"""


def validated(path):
    """Return the glTF validator's issues; skips where it or Node is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("not installed: node")
    done = subprocess.run(
        [node, "-e", VALIDATE, str(path)], capture_output=True, text=True, check=False, timeout=60,
        env=dict(os.environ),
    )  # fmt: skip
    if "Cannot find module 'gltf-validator'" in done.stderr:
        pytest.skip("not installed: gltf-validator (npm), in a folder of NODE_PATH")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gltf_validator(files):
    issues = validated(files / "my model.glb")
    assert issues["numErrors"] == 0, issues["messages"]
    assert issues["numWarnings"] == 0, issues["messages"]


def test_gltf_validator_finds_what_is_wrong(files, tmp_path):
    data = (files / "my model.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(data[:-64])
    assert validated(tmp_path / "cut.glb")["numErrors"] > 0

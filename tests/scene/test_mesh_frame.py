"""The mesh's files and frame: put together, recognised when it lies elsewhere, moved on request."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.errors import InputError, MeshError, SceneError
from xscale.io.mesh.ply import encode_ply
from xscale.scene.scene import Scene
from xscale.scene.surface import read_surface, read_transform

TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.fixture
def folder(tmp_path):
    return builders.write_colmap(builders.asymmetric_scene(), tmp_path / "scene")


def _write(folder, vertices, faces, name="mesh.ply"):
    (folder / name).write_bytes(encode_ply(np.asarray(vertices, np.float64), faces))


def _world(scene):
    return scene.mesh.vertices[scene.mesh.faces] + scene.origin


def _suggested(folder, error):
    """Save the matrix that the advice gives, as it says."""
    rows = re.search(r"save '([^']+)' as mesh_to_scene.txt", str(error)).group(1)
    (folder / "mesh_to_scene.txt").write_text(rows)
    return folder / "mesh_to_scene.txt"


@pytest.mark.parametrize(
    ("unit", "axes"),
    [(1000.0, np.eye(3)), (1.0, TO_Y_UP), (1000.0, TO_Y_UP), (1 / 0.3048, TO_Y_UP)],
)
def test_mesh_of_other_axes_or_unit_is_refused_and_the_advice_sets_it_right(folder, unit, axes):
    built = builders.asymmetric_scene()
    truth = _world(Scene.open(folder))
    _write(folder, unit * built.vertices @ axes.T, built.faces)
    with pytest.raises(SceneError, match=r"--transform mesh_to_scene\.txt") as error:
        Scene.open(folder)
    moved = Scene.open(folder, transform=_suggested(folder, error.value))
    np.testing.assert_allclose(_world(moved), truth, atol=1e-6)
    assert moved.options["transform"].endswith("mesh_to_scene.txt")
    assert moved.fingerprint() != Scene.open(folder, mesh=_again(folder)).fingerprint()


def _again(folder):
    built = builders.asymmetric_scene()
    _write(folder, built.vertices, built.faces, "other.ply")
    return folder / "other.ply"


FLIP = np.diag([1.0, -1, -1])


@pytest.mark.parametrize(
    ("points", "change", "says"),
    [
        (True, lambda c: replace(c, R=FLIP @ c.R, t=FLIP @ c.t), "world-to-camera-opengl"),
        (True, lambda c: replace(c, R=c.R.T, t=c.position), "camera-to-world"),
        (
            False,
            lambda c: replace(c, R=c.R.T @ FLIP, t=c.position),
            "camera-to-world-opengl",
        ),
    ],
)
def test_cameras_of_another_convention_are_refused_by_its_name(folder, change, says, points):
    built = builders.asymmetric_scene()
    # Far off to the side, so that no convention looks like another one.
    turn = builders.look_at((1, 2, 3), (0.2, 0, 0.1))[0]
    shift = np.array([20.0, 30, -40])
    cameras = {
        name: replace(c, R=c.R @ turn.T, t=c.t - c.R @ turn.T @ shift)
        for name, c in built.cameras.items()
    }
    moved = replace(built, vertices=built.vertices @ turn.T + shift,
                    points=built.points @ turn.T + shift, cameras=cameras)  # fmt: skip
    _write(folder, moved.vertices, moved.faces)
    builders.write_model(moved, folder / "sparse" / "0")
    assert Scene.open(folder).warnings == ()
    wrong = replace(moved, cameras={name: change(c) for name, c in cameras.items()})
    builders.write_model(wrong, folder / "sparse" / "0")
    if not points:
        (folder / "sparse" / "0" / "points3D.bin").unlink()
    with pytest.raises(SceneError, match=f"do not meet.*--pose-convention {says}$"):
        Scene.open(folder)
    scene = Scene.open(folder, pose_convention=says)
    assert scene.warnings == ()
    for photo in scene.photos:
        np.testing.assert_allclose(photo.camera.R, cameras[photo.name].R, atol=1e-9)
        np.testing.assert_allclose(photo.camera.t, cameras[photo.name].t, atol=1e-9)
    assert Scene.open(folder, **scene.options).fingerprint() == scene.fingerprint()


def test_cameras_at_one_place_are_remarked(folder):
    built = builders.asymmetric_scene()
    here = np.array([0.1, 0.2, 2.9])
    cameras = {name: replace(c, t=-c.R @ here) for name, c in built.cameras.items()}
    builders.write_model(replace(built, cameras=cameras), folder / "sparse" / "0")
    (warning,) = Scene.open(folder).warnings
    assert warning.startswith("W-CAMERA-PARALLAX: all 6 cameras stand at one place")


def test_usual_scenes_get_no_remark_about_their_frame(folder):
    assert Scene.open(folder).warnings == ()


def test_transform_file_as_text_and_as_json(tmp_path):
    matrix = np.array([[0, -2.0, 0, 5e6], [2, 0, 0, 1e-3], [0, 0, 2, 0], [0, 0, 0, 1]])
    for text in (
        "# mesh to scene\n" + "\n".join(" ".join(map(repr, row)) for row in matrix.tolist()),
        ",".join(map(repr, matrix.reshape(-1).tolist())),
        json.dumps(matrix.tolist()),
        json.dumps({"transform": matrix.reshape(-1).tolist()}),
    ):
        (tmp_path / "t").write_text(text)
        np.testing.assert_array_equal(read_transform(tmp_path / "t"), matrix)


@pytest.mark.parametrize(("text", "words"), [
    ("1 0 0", "3 numbers"), ("1 " * 15 + "x", "is not a matrix"), ("nan " * 16, "finite"),
    ("1 0 0 0 0 1 0 0 0 0 1 0 5 6 7 1", "transposed"), ("1 0 0 0 " * 3 + "0 0 0 1", "flattens"),
])  # fmt: skip
def test_bad_transform_files_are_named(tmp_path, text, words):
    (tmp_path / "t").write_text(text)
    with pytest.raises(InputError, match=words):
        read_transform(tmp_path / "t")


def test_mirroring_transform_turns_the_faces_over(tmp_path):
    vertices, faces = builders.one_triangle()
    _write(tmp_path, vertices, faces)
    (tmp_path / "t").write_text("1 0 0 0 0 1 0 0 0 0 -1 0 0 0 0 1")
    mesh = read_surface([tmp_path / "mesh.ply"], transform=tmp_path / "t").mesh
    np.testing.assert_array_equal(mesh.normals, [[0, 0, -1]] * 3)


def test_several_meshes_are_one_in_the_order_of_their_names(folder):
    built = builders.asymmetric_scene()
    truth = _world(Scene.open(folder))
    (folder / "mesh.ply").unlink()
    for k, name in ((2, "mesh_b.ply"), (0, "mesh_B.ply"), (1, "mesh_a.ply")):
        _write(folder, built.vertices, built.faces[k : k + 1], name)
    scene = Scene.open(folder)
    assert [path.name for path in scene.mesh_files] == ["mesh_B.ply", "mesh_a.ply", "mesh_b.ply"]
    np.testing.assert_allclose(_world(scene), truth, atol=1e-6)
    given = Scene.open(folder, mesh=[folder / "mesh_b.ply", folder / "mesh_B.ply"])
    np.testing.assert_allclose(_world(given), truth[[2, 0]], atol=1e-6)
    assert Scene.open(folder, **given.options).fingerprint() == given.fingerprint()
    assert given.fingerprint() != scene.fingerprint()


def test_offset_file_brings_the_mesh_to_georeferenced_cameras(tmp_path):
    offset = np.array([471000.0, 5500000.0, 300.0])
    built = builders.asymmetric_scene()
    folder = builders.write_colmap(built.moved(offset), tmp_path / "utm")
    truth = _world(Scene.open(folder))
    _write(folder, built.vertices, built.faces)
    with pytest.raises(SceneError, match="do not meet"):
        Scene.open(folder)
    (folder / "site_offset.xyz").write_text("471000.000 5500000.000 300.000\n")
    (folder / "site.wkt").write_text('PROJCS["ETRS89 / UTM zone 32N",GEOGCS["ETRS89"]]')
    scene = Scene.open(folder)
    np.testing.assert_allclose(_world(scene), truth, atol=1e-6)
    assert any(line.startswith("W-MESH-SHIFT") for line in scene.warnings)
    system = {"file": "site.wkt", "name": "ETRS89 / UTM zone 32N"}
    assert scene.provenance["coordinate_system"] == system
    # With local cameras the same files change nothing.
    local = builders.write_colmap(built, tmp_path / "local")
    (local / "site_offset.xyz").write_text("471000 5500000 300")
    assert Scene.open(local).warnings == ()
    (local / "site_offset.xyz").write_text("471000 5500000")
    with pytest.raises(InputError, match="three numbers"):
        Scene.open(local)


def test_faces_with_nan_corners_are_refused_or_left_out_and_counted(folder):
    built = builders.asymmetric_scene()
    vertices = np.vstack([built.vertices, [[np.nan, 0, 0], [0, np.inf, 0]]])
    faces = np.vstack([built.faces, [[0, 1, len(vertices) - 2]]]).astype(np.int32)
    _write(folder, vertices, faces)
    with pytest.raises(MeshError, match="--mesh-repair drop-bad-faces"):
        Scene.open(folder)
    scene = Scene.open(folder, mesh_repair="drop-bad-faces")
    np.testing.assert_array_equal(scene.mesh.faces, built.faces)
    assert [line.split(":")[0] for line in scene.warnings] == ["W-MESH-REPAIR", "W-MESH-NAN"]
    assert "2 vertices" in scene.warnings[1]


def test_faces_without_area_twice_there_and_unused_vertices_are_counted(folder):
    built = builders.asymmetric_scene()
    faces = np.vstack([built.faces, [[0, 1, 1]], built.faces[:1, [1, 2, 0]], built.faces[:1]])
    _write(folder, np.vstack([built.vertices, [[0, 0, 0]]]), faces.astype(np.int32))
    scene = Scene.open(folder)
    assert scene.warnings[0].startswith("W-MESH-DEGENERATE: 1 of 6")
    mesh = scene.mesh
    assert (mesh.degenerate, mesh.duplicates, mesh.unreferenced) == (1, 2, 1)


def test_a_vertex_far_out_is_named(folder):
    grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 60), np.linspace(-1, 1, 60)), -1)
    vertices = np.column_stack([grid.reshape(-1, 2), np.zeros(3600)])
    a = (np.arange(59)[:, None] * 60 + np.arange(59)).reshape(-1)
    faces = np.concatenate([np.stack([a, a + 1, a + 61], 1), np.stack([a, a + 61, a + 60], 1)])
    vertices[-1] = 1e5
    _write(folder, vertices, faces.astype(np.int32))
    surface = read_surface([folder / "mesh.ply"])
    assert any("W-MESH-FAR" in line and "vertex 3599" in line for line in surface.warnings)


def test_single_precision_far_from_the_origin_is_remarked(folder):
    built = builders.asymmetric_scene()
    far = (built.vertices + np.array([5e6, 0, 0])).astype(np.float32)
    (folder / "far.ply").write_bytes(encode_ply(far, built.faces))
    assert read_surface([folder / "far.ply"]).warnings[0].startswith("W-MESH-PRECISION")

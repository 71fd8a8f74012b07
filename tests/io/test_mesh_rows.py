"""Faults of mesh files that no other test provokes, by the rows of docs/faults.md."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.io.test_gltf import _node
from tests.io.test_meshes import FACES, OBJ, POINTS, document, glb
from tests.io.test_ply import DIALECTS, VERTICES, _read, header
from tests.io.test_ply import FACES as PLY_FACES
from xscale.errors import LimitError, MeshError
from xscale.geometry.mesh import Mesh
from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.io.mesh.polygons import triangulate


@pytest.mark.parametrize(
    ("kind", "length", "words"),
    [
        ("uchar", 0, None),
        ("uchar", 1, None),
        ("uchar", 2, None),
        ("uchar", 255, r"face 1 has a list of 255 items at byte \d+, allowed are 0 to 64"),
        ("uchar", 65, "a list of 65 items"),
        ("uint", 2**31, "a list of 2147483648 items"),
        ("int", -3, "a list of -3 items"),
    ],
)
def test_list_lengths_of_every_kind_are_left_out_or_named(tmp_path, kind, length, words):
    width = 1 if kind == "uchar" else 4
    rows = b"".join(
        n.to_bytes(width, "little", signed=n < 0)
        + np.arange(n if 0 <= n < 9 else 5, dtype="<i4").tobytes()
        for n in (3, length, 4)
    )
    data = header("binary_little_endian", lists=f"{kind} int") + VERTICES.astype("<f4").tobytes()
    if words is None:
        mesh = _read(tmp_path, data + rows)
        assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]
        assert "1 faces with under 3 corners" in mesh.warnings[0]
    else:
        with pytest.raises(MeshError, match=words):
            _read(tmp_path, data + rows)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"property float x", b"property list uchar float x", "no plain property x"),
        (b"property float x", b"property float128 x", "not understood"),
        (b"end_header\n", b"", "end_header"),
        (b"property list uchar int vertex_indices", b"property int vertex_indices", "no list"),
    ],
)
def test_headers_that_describe_no_mesh_are_refused(tmp_path, old, new, words):
    with pytest.raises(MeshError, match=words):
        _read(tmp_path, DIALECTS["little"].replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"1.0 0.0 0.5\n", b"1.0 0.0 0.5 7\n", "vertex has 4 numbers"),
        (b"1.0 0.0 0.5\n", b"1.0 0.0 nan\n", None),
        (b"1.0 0.0 0.5\n", b"1.0 0.0 1_0\n", "'1_0' is not a number"),
        (b"3 0 2 3\n", b"3 0 2 3 4\n", "another number of corners"),
        (b"3 0 2 3\n", b"3 0 2\n", "another number of corners"),
        (b"3 0 2 3\n", b"3 0 2 1.5\n", "impossible vertex index"),
        (b"3 0 2 3\n", b"3 0 2 nan\n", "impossible vertex index"),
        (b"1.0 0.0 0.5\n", b"1.0 " + b"0" * (10 << 20) + b" 0.5\n", "longer than 1 MiB"),
    ],
)
def test_ascii_lines_that_are_none_are_named(tmp_path, old, new, words):
    data = DIALECTS["ascii"].replace(old, new)
    if words is None:
        # The reader takes it, and the mesh refuses it where a face uses it.
        mesh = _read(tmp_path, data)
        with pytest.raises(MeshError, match=r"vertex 1 is \(1.0, 0.0, nan\)"):
            Mesh.from_world(mesh.vertices, mesh.faces)
    else:
        with pytest.raises(MeshError, match=rf"mesh.ply:\d+: .*{words}"):
            _read(tmp_path, data)


def test_last_line_end_may_be_missing_in_texts_without_a_count(tmp_path):
    with pytest.raises(MeshError, match="the line is cut or missing"):
        _read(tmp_path, DIALECTS["ascii"].rstrip())


@pytest.mark.parametrize("value", [1e30, 3e38, -1e30])
def test_coordinates_beyond_all_measure_are_refused_with_their_size(value):
    points = np.vstack([VERTICES, [[value, 0, 0]]])
    with pytest.raises(MeshError, match=r"units large, at most 1e\+12"):
        Mesh.from_world(points, np.vstack([PLY_FACES, [[0, 1, 5]]]))


def test_denormals_and_needles_are_legal_and_counted():
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1e-12, 0], [0, 5e-324, 0], [0, 1, 0]])
    mesh = Mesh.from_world(points, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    assert np.isfinite(mesh.normals).all()
    assert mesh.degenerate == 2  # in single precision neither has an area


def test_sizes_beyond_32_bits_are_refused_by_arithmetic_alone():
    # Views of one number: nothing of this size is allocated.
    many = np.broadcast_to(np.float32(0), (2**31, 3))
    with pytest.raises(LimitError, match="2147483648 vertices, at most 2147483647"):
        Mesh.from_world(many, np.array([[0, 1, 2]]))
    corners = np.broadcast_to(np.int32(0), (2**26, 64))
    with pytest.raises(LimitError, match=r"has 4160749568 triangles, at most 2147483647"):
        triangulate(POINTS, corners, 64, Path(__file__))


def test_instances_on_the_gpu_are_refused_by_name(tmp_path):
    (tmp_path / "a.glb").write_bytes(glb(_node(extensions={"EXT_mesh_gpu_instancing": {}})))
    with pytest.raises(MeshError, match="uses EXT_mesh_gpu_instancing, which is not read"):
        read_mesh_arrays(tmp_path / "a.glb")


@pytest.mark.parametrize("uri", [".", "", "sub", "a%2f..%2f..%2fx", "sub/../../x", "~/x", "x%00"])
def test_buffers_that_are_folders_or_leave_theirs_are_refused(tmp_path, uri):
    folder = tmp_path / "scene"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "x").write_bytes(bytes(80))
    content = document(buffers=[{"byteLength": 80, "uri": uri}])
    (folder / "a.gltf").write_text(json.dumps(content))
    with pytest.raises(MeshError if uri in (".", "", "sub", "~/x") else Exception) as refused:
        read_mesh_arrays(folder / "a.gltf")
    assert "does not exist" in str(refused.value) or "outside" in str(refused.value)


def test_buffer_file_is_read_as_far_as_it_is_needed(tmp_path):
    body = POINTS.tobytes() + FACES.tobytes() + b"\0\0"
    with (tmp_path / "b.bin").open("wb") as file:
        file.write(body)
        file.truncate(1 << 40)  # a hole: a terabyte that nobody has to read
    content = document(buffers=[{"byteLength": 80, "uri": "b.bin"}])
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    mesh = read_mesh_arrays(tmp_path / "a.gltf")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], POINTS[FACES])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"vt 0.5 0.5", b"vt nan nan"),
        (b"vn 0 0 1", b"vn nan inf 0x1"),
        (b"f 1/1/1 2/1/1", b"f 1/99/-7 2/1/1"),
        (b"v 2 1 0\n", b"v 2 1 0 9 9 nan\n"),
    ],
)
def test_colours_normals_and_texture_places_are_never_looked_at(tmp_path, old, new):
    assert old in OBJ
    (tmp_path / "a.obj").write_bytes(OBJ.replace(old, new))
    mesh = read_mesh_arrays(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], POINTS[FACES])


def test_compressed_meshes_are_refused_unopened(tmp_path):
    bomb = gzip.compress(bytes(50 << 20))
    (tmp_path / "mesh.ply.gz").write_bytes(bomb)
    with pytest.raises(MeshError, match="meshes end in"):
        read_mesh_arrays(tmp_path / "mesh.ply.gz")
    for name, words in (("mesh.ply", "not a PLY"), ("mesh.glb", "is not a glTF")):
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(MeshError, match=words):
            read_mesh_arrays(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "inside.glb", "w") as archive:
        archive.writestr("a.glb", glb())
    with pytest.raises(MeshError, match="is not a glTF"):
        read_mesh_arrays(tmp_path / "inside.glb")

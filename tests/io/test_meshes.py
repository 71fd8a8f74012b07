"""Mesh files: what another program wrote comes back, and damage is named or harmless."""

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.readers import damage
from xscale.errors import InputError, MeshError
from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.io.mesh.polygons import triangulate

POINTS = np.array([[0, 0, 0], [2, 0, 0.5], [2, 1, 0], [0, 1, 0], [0.5, 0.5, 3]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3], [3, 4, 0]], np.uint16)

OBJ = b"""# made by a test
mtllib ../../outside.mtl
o thing
v 0 0 0
v 2.0 0 0.5 1.0
v 2 1 0
  v 0 1 0 0.1 0.2 0.3
v 0.5 0.5 3e0
vt 0.5 0.5
vn 0 0 1
g one two
usemtl brick
f 1/1/1 2/1/1 3/1/1
f -5//1 -3//1 -2//1
s off
f 4 \\
 5 1
"""
OFF = b"COFF\n# made by a test\n5 3 0\n" + b"".join(
    b"%g %g %g 9 9 9 255\n" % tuple(p) for p in POINTS
) + b"\n3 0 1 2\n3  0 2 3 200 100 0\n3 3 4 0\n"  # fmt: skip
ASCII_STL = b"solid thing\n" + b"".join(
    b" facet normal nan nan nan\n  outer loop\n"
    + b"".join(b"   vertex %g %g %g\n" % tuple(POINTS[k]) for k in face)
    + b"  endloop\n endfacet\n"
    for face in FACES
) + b"endsolid thing\n"  # fmt: skip


def binary_stl(head=b"solid but binary"):
    rows = np.zeros(3, [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    rows["v"] = POINTS[FACES]
    return head.ljust(80, b"\0") + struct.pack("<I", 3) + rows.tobytes()


def document(**changes):
    """A glTF of one node, with its buffer outside."""
    found = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 5, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 9, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 60},
            {"buffer": 0, "byteOffset": 60, "byteLength": 18},
        ],
        "buffers": [{"byteLength": 80}],
    }
    return {**found, **changes}


BODY = POINTS.tobytes() + FACES.tobytes() + b"\0\0"


def glb(content=None, body=BODY):
    text = json.dumps(content or document()).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(content=None):
    content = content or document()
    uri = "data:application/octet-stream;base64," + base64.b64encode(BODY).decode()
    return json.dumps({**content, "buffers": [{"byteLength": 80, "uri": uri}]}).encode()


SAMPLES = {
    "a.obj": OBJ,
    "a.off": OFF,
    "ascii.stl": ASCII_STL,
    "binary.stl": binary_stl(),
    "a.glb": glb(),
    "a.gltf": gltf(),
}


def _read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return read_mesh_arrays(tmp_path / name)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_gives_the_same_triangles_in_order(tmp_path, name):
    mesh = _read(tmp_path, name, SAMPLES[name])
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], POINTS[FACES])
    assert mesh.faces.dtype == np.int32
    assert mesh.warnings == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_every_prefix_is_refused_or_holds_whole_first_faces(tmp_path, name):
    data = SAMPLES[name]
    # Text formats without a count cannot tell that faces are missing behind the last line.
    uncounted = name.endswith((".obj", ".off"))
    for length in range(len(data) - 1):
        try:
            mesh = _read(tmp_path, name, data[:length])
        except InputError:
            continue
        named = name == "ascii.stl" and b"endsolid" in data[:length]
        assert uncounted or named, f"{length} of {len(data)} bytes were accepted"
        if name.endswith(".off"):
            assert data[length:].strip() in (b"", b"0")
        assert mesh.faces.max(initial=0) < len(mesh.vertices)


@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_files_never_escape_as_other_errors(tmp_path, name):
    import random

    for seed in range(250):
        try:
            mesh = _read(tmp_path, name, damage(SAMPLES[name], random.Random(seed)))
        except InputError:
            continue
        assert len(mesh.faces) == 0 or (
            mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
        )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (OBJ.replace(b"f 1/1/1", b"f 0/1/1"), "a.obj:13: face names vertex 0"),
        (OBJ.replace(b"f -5//1", b"f -6//1"), "a.obj:14: face names vertex -6"),
        (OBJ.replace(b"5 1\n", b"6 1\n"), "face 2 names vertex 5 of 5"),
        (OBJ.replace(b"v 2 1 0", b"v 2 1,5 0"), "a.obj:6: '1,5' is not a number"),
        (OBJ.replace(b"v 2 1 0", b"v 2 1"), "a.obj:6: vertex has 2 numbers"),
        (OBJ.replace(b"f 1/1/1", b"f 1.5"), "a.obj:13: vertex index is not a whole number"),
        (b"v 0 0 0\nf" + b" 1" * 1000 + b"\n", "1000 corners"),
        (b"v 0 0 0\nv 1 1 1\n", "point cloud"),
        (b"v 1 " + b"0" * (3 << 20) + b"\n", "longer than 1 MiB"),
    ],
)
def test_bad_obj_lines_are_named(tmp_path, data, words):
    with pytest.raises(MeshError, match=words):
        _read(tmp_path, "a.obj", data)


def test_obj_commands_are_counted_and_never_run(tmp_path):
    data = OBJ + b"csh touch " + str(tmp_path / "pwned").encode() + b"\nmystery 7\n"
    mesh = _read(tmp_path, "a.obj", data)
    assert [w.split(":")[0] for w in mesh.warnings] == ["W-MESH-COMMAND", "W-MESH-LINES"]
    assert not (tmp_path / "pwned").exists()


def test_obj_blocks_join_at_any_line(tmp_path, monkeypatch):
    for size in (64, 65, 97, 130):
        monkeypatch.setattr("xscale.io.mesh.text_numbers.BLOCK", size)
        data = OBJ.replace(b"\n", b"\r\n")
        mesh = _read(tmp_path, "a.obj", data)
        np.testing.assert_array_equal(mesh.vertices[mesh.faces], POINTS[FACES])


def test_obj_whose_last_line_is_continued_and_has_no_end(tmp_path):
    mesh = _read(tmp_path, "a.obj", OBJ.rstrip())
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], POINTS[FACES])
    assert mesh.warnings == ()


def _area_and_normal(points, faces):
    a, b, c = np.moveaxis(points[faces].astype(float), 1, 0)
    return np.cross(b - a, c - a) / 2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flip", [1, -1])
def test_concave_polygons_keep_their_area_and_turn(axis, flip):
    # An L and a dart, in each coordinate plane, seen from both sides.
    ell = np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [0, 2]], float)
    dart = np.roll(np.array([[9.0, 9], [12, 9.0], [9.5, 9.5], [9, 12]]), 1, axis=0)
    for flat, area in ((ell, 4.0), (dart, 1.5)):
        points = np.insert(flat[::flip], axis, 0.25, axis=1)
        for shift in range(len(flat)):
            corners = np.roll(np.arange(len(flat)), shift)[None]
            faces = triangulate(points, corners, len(flat), Path(__file__)).faces
            crossed = _area_and_normal(points, faces)[:, axis]
            assert np.abs(crossed.sum()) == pytest.approx(area)
            assert (np.sign(crossed) == np.sign(crossed.sum())).all()


def test_quads_and_triangles_mixed_keep_their_order(tmp_path):
    data = OBJ.replace(b"f 1/1/1 2/1/1 3/1/1\nf -5//1 -3//1 -2//1\n", b"f 1 2 3 4\nf 1 2\n")
    mesh = _read(tmp_path, "a.obj", data)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.warnings[0].startswith("W-MESH-CORNERS")


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("a.off", OFF.replace(b"5 3 0", b"5 3000000000 0"), MeshError, "3000000000 faces"),
        ("a.off", OFF.replace(b"3 3 4 0", b"3 3 5 0"), MeshError, "face 2 names vertex 5"),
        ("a.off", OFF.replace(b"3 3 4 0", b"4 3 4 0"), MeshError, "has 3 numbers"),
        ("a.off", b"4OFF\n1 1 0\n", MeshError, "three coordinates"),
        ("a.stl", binary_stl()[:-1], MeshError, "need 234 bytes; it has 233|without endsolid"),
        ("a.stl", b"\0" * 80 + struct.pack("<I", 2**32 - 1), MeshError, "4294967295 triangles"),
        ("a.stl", ASCII_STL.replace(b"endsolid thing\n", b""), MeshError, "without endsolid"),
        ("a.stl", ASCII_STL.replace(b"vertex 2 1 0", b"vertex 2 1"), MeshError, "not 3 numbers"),
        ("a.glb", glb()[:8] + struct.pack("<I", 9999) + glb()[12:], MeshError, "says 9999 bytes"),
        ("a.glb", b"glTF\1\0\0\0" + glb()[8:], MeshError, "version 1"),
        ("a.gltf", b"{}", MeshError, "no asset"),
        ("a.gltf", b"[" * 100_000, MeshError, "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path, name, data, error, words):
    with pytest.raises(error, match=words):
        _read(tmp_path, name, data)


@pytest.mark.parametrize("kind", ["ply", "ply_ascii", "obj", "glb", "stl", "stl_ascii", "off"])
def test_fifty_meshes_written_by_trimesh_come_back(tmp_path, kind):
    trimesh = pytest.importorskip("trimesh")
    suffix, _, encoding = kind.partition("_")
    for seed in range(50):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(3, 400))
        points = rng.normal(0, 10.0 ** rng.integers(-2, 3), (count, 3)).astype(np.float32)
        faces = rng.permuted(np.tile(np.arange(count), (int(rng.integers(1, 300)), 1)), axis=1)[
            :, :3
        ]
        source = trimesh.Trimesh(points, faces, process=False)
        options = {"encoding": "ascii"} if suffix == "ply" and encoding else {}
        file_type = "stl_ascii" if kind == "stl_ascii" else suffix
        if suffix in ("obj", "off"):
            options["digits"] = 12
        data = source.export(file_type=file_type, **options)
        data = data.encode() if isinstance(data, str) else data
        mesh = _read(tmp_path, f"a.{suffix}", data)
        # Digits are what the writer wrote: 8 behind the point in its ascii STL and PLY.
        tolerance = 0 if kind in ("ply", "glb", "stl") else 1e-7
        np.testing.assert_allclose(
            mesh.vertices[mesh.faces], points[faces], rtol=1e-6 if tolerance else 0, atol=tolerance
        )

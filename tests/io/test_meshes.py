"""Mesh files: what another program wrote comes back, and damage is named or harmless."""

import base64
import json
import struct

import numpy as np
import pytest

from tests.fuzz.readers import damage
from xscale.errors import InputError, LimitError, MeshError, SetupError, UnsafePathError
from xscale.io.meshes import read_mesh_arrays
from xscale.io.polygons import triangulate

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
        (OBJ.replace(b"f 1/1/1", b"f 1.5"), "a.obj:13: vertex index is no whole number"),
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
        monkeypatch.setattr("xscale.io.text_numbers.BLOCK", size)
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
            faces = triangulate(points, corners, len(flat)).faces
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


def _accessor(**changes):
    first, second = document()["accessors"]
    return document(accessors=[{**first, **changes}, second])


def _node(**changes):
    return document(nodes=[{"mesh": 0, **changes}])


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (_accessor(count=10**9), MeshError, "wants 1000000000 rows"),
        (_accessor(count=6), MeshError, "wants 6 rows"),
        (_accessor(count=0), MeshError, "names vertex"),
        (_accessor(byteOffset=2**52), MeshError, "wants 5 rows"),
        (_accessor(byteOffset=2**64), MeshError, "byteOffset"),
        (_accessor(componentType=5124), MeshError, "component type"),
        (_accessor(type="VEC4"), MeshError, "needed is VEC3"),
        (_accessor(bufferView=None, count=2**31), LimitError, "zeros|triangles"),
        (_accessor(bufferView=9), MeshError, r"bufferViews\[9\]"),
        (_node(children=[0]), MeshError, "two parents or is its own ancestor"),
        (_node(scale=[1, 1, 0]), MeshError, "singular"),
        (_node(translation=["x", 0, 0]), MeshError, "translation is not 3 finite"),
        (_node(matrix=[1] * 16, scale=[1, 1, 1]), MeshError, "a matrix and a translation"),
        (_node(skin=0), MeshError, "skinned"),
        (document(extensionsRequired=["EXT_meshopt_compression"]), MeshError, "EXT_meshopt"),
        (document(buffers=[{"byteLength": 81}]), MeshError, "says 81 bytes"),
        (document(buffers=[{"byteLength": 80, "uri": "../x.bin"}]), UnsafePathError, "outside"),
        (document(buffers=[{"byteLength": 80, "uri": "/etc/passwd"}]), UnsafePathError, "outside"),
        (document(buffers=[{"byteLength": 80, "uri": "%2e%2e/x"}]), UnsafePathError, "outside"),
        (document(buffers=[{"byteLength": 80, "uri": "http://h/x"}]), UnsafePathError, "outside"),
        (document(buffers=[{"byteLength": 80, "uri": "x.bin"}]), MeshError, "not there"),
        (document(buffers=[{"byteLength": 80, "uri": "data:;base64,%%"}]), MeshError, "decoded"),
        (
            document(nodes=[{"mesh": 0}] * 4000, scenes=[{"nodes": list(range(4000))}],
                     accessors=[{"componentType": 5126, "count": 10**6, "type": "VEC3"}] * 2),
            LimitError, "400000000 triangles",
        ),
    ],
)  # fmt: skip
def test_damaged_gltf_is_named(tmp_path, content, error, words):
    with pytest.raises(error, match=words):
        _read(tmp_path, "a.glb", glb(content))


def _chunks(*chunks, version=2):
    body = b"".join(struct.pack("<I4s", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<4sII", b"glTF", version, 12 + len(body)) + body


def _with_first_length(length):
    data = bytearray(glb())
    data[12:16] = struct.pack("<I", length)
    return bytes(data)


TEXT = json.dumps(document()).encode() + b" " * (-len(json.dumps(document())) % 4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_chunks((b"BIN\0", BODY), (b"JSON", TEXT)), "does not begin with a JSON chunk"),
        (_chunks((b"JSON", TEXT), (b"BIN\0", BODY), (b"BIN\0", BODY)), "two binary chunks"),
        (_chunks((b"JSON", TEXT), (b"BIN\0", BODY), version=3), "is GLB version 3"),
        (_with_first_length(2**31), "chunk at byte 12 has 2147483648 bytes"),
        (_with_first_length(len(TEXT) - 1), "chunk at byte|cannot be read"),
    ],
)
def test_damaged_glb_containers_are_named(tmp_path, data, words):
    with pytest.raises(MeshError, match=words):
        _read(tmp_path, "a.glb", data)


def _sparse(indices):
    rows = np.array(indices, "<u2").tobytes()
    body = BODY + rows + b"\0" * (-len(rows) % 4)
    sparse = {
        "count": len(indices),
        "indices": {"bufferView": 2, "componentType": 5123},
        "values": {"bufferView": 0},
    }
    content = _accessor(sparse=sparse)
    content["bufferViews"].append({"buffer": 0, "byteOffset": 80, "byteLength": len(rows)})
    return glb({**content, "buffers": [{"byteLength": len(body)}]}, body)


@pytest.mark.parametrize("indices", [[5], [3, 1], [2, 2]])
def test_sparse_indices_that_do_not_rise_or_leave_the_array_are_refused(tmp_path, indices):
    assert len(_read(tmp_path, "a.glb", _sparse([1, 3])).faces) == 3
    with pytest.raises(MeshError, match="sparse indices do not rise or leave"):
        _read(tmp_path, "a.glb", _sparse(indices))


@pytest.mark.parametrize("stride", [1, 11, 255])
def test_strides_that_no_accessor_can_have_are_refused(tmp_path, stride):
    views = [{**document()["bufferViews"][0], "byteStride": stride}, document()["bufferViews"][1]]
    with pytest.raises(MeshError, match=rf"stride (of )?{stride}"):
        _read(tmp_path, "a.glb", glb(document(bufferViews=views)))


def test_limits_that_lie_are_not_believed(tmp_path):
    mesh = _read(tmp_path, "a.glb", glb(_accessor(min=[9, 9, 9], max=[-9, 0, 0])))
    np.testing.assert_array_equal(mesh.vertices, POINTS)


@pytest.mark.parametrize("weights", [[0.5], [0, 1], 5, ["x"]])
def test_morphed_meshes_are_refused_and_unmorphed_ones_read(tmp_path, weights):
    primitive = {**document()["meshes"][0]["primitives"][0], "targets": [{"POSITION": 0}]}
    morphed = {"primitives": [primitive], "weights": weights}
    for content in (document(meshes=[morphed]), _node(weights=weights)):
        with pytest.raises(MeshError, match="is morphed"):
            _read(tmp_path, "a.glb", glb(content))
    still = document(meshes=[{**morphed, "weights": [0.0]}])
    assert len(_read(tmp_path, "a.glb", glb(still)).faces) == 3


def test_a_deep_chain_of_nodes_is_walked_without_recursion(tmp_path):
    count = 20_000
    nodes = [{"children": [k + 1], "translation": [0, 0, 1]} for k in range(count)]
    mesh = _read(tmp_path, "a.glb", glb(document(nodes=[*nodes, {"mesh": 0}])))
    assert mesh.vertices[:, 2].min() == count


def test_gltf_nodes_move_turn_and_mirror(tmp_path):
    half = np.sqrt(0.5)
    nodes = [
        {"children": [1], "translation": [10, 0, 0], "rotation": [0, 0, half, half]},
        {"mesh": 0, "scale": [2, 2, -2]},
    ]
    mesh = _read(tmp_path, "a.glb", glb(document(nodes=nodes)))
    scaled = POINTS * (2.0, 2, -2)
    expected = np.stack([10 - scaled[:, 1], scaled[:, 0], scaled[:, 2]], axis=1)
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-12)
    np.testing.assert_array_equal(mesh.faces, FACES[:, ::-1])
    column_major = [0, 2, 0, 0, -2, 0, 0, 0, 0, 0, -2, 0, 10, 0, 0, 1]
    again = _read(tmp_path, "a.glb", glb(_node(matrix=column_major)))
    np.testing.assert_allclose(again.vertices, expected, atol=1e-12)


@pytest.mark.parametrize("normalized", [False, True])
def test_quantised_positions_are_exact(tmp_path, normalized):
    rows = np.zeros((5, 4), "<i2")
    rows[:, :3] = np.arange(-7, 8).reshape(5, 3) * 4681
    accessor = {"bufferView": 0, "componentType": 5122, "count": 5, "type": "VEC3",
                "normalized": normalized}  # fmt: skip
    content = document(
        accessors=[accessor, document()["accessors"][1]],
        bufferViews=[{"buffer": 0, "byteLength": 40, "byteStride": 8},
                     {"buffer": 0, "byteOffset": 40, "byteLength": 18}],
        extensionsUsed=["KHR_mesh_quantization"],
        extensionsRequired=["KHR_mesh_quantization"],
    )  # fmt: skip
    body = rows.tobytes() + FACES.tobytes() + bytes(22)
    mesh = _read(tmp_path, "a.glb", glb(content, body))
    expected = rows[:, :3] / 32767.0 if normalized else rows[:, :3]
    np.testing.assert_array_equal(mesh.vertices, expected)


def test_strips_fans_and_sparse_positions(tmp_path):
    for mode, expected in ((5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
                           (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0]])):  # fmt: skip
        meshes = [{"primitives": [{"attributes": {"POSITION": 0}, "mode": mode}]}]
        mesh = _read(tmp_path, "a.glb", glb(document(meshes=meshes)))
        assert mesh.faces.tolist() == expected
    sparse = {
        "count": 1,
        "indices": {"bufferView": 1, "byteOffset": 2, "componentType": 5123},
        "values": {"bufferView": 0, "byteOffset": 48},
    }
    mesh = _read(tmp_path, "a.glb", glb(_accessor(sparse=sparse)))
    np.testing.assert_array_equal(mesh.vertices[1], POINTS[4])


def test_points_and_lines_are_left_out_and_counted(tmp_path):
    triangles = document()["meshes"][0]["primitives"][0]
    meshes = [{"primitives": [{**triangles, "mode": 1}, triangles]}]
    mesh = _read(tmp_path, "a.glb", glb(document(meshes=meshes)))
    assert len(mesh.faces) == 3
    assert mesh.warnings[0].startswith("W-MESH-PARTS: a.glb: 1 parts")


def _draco_file(data):
    extension = {"bufferView": 0, "attributes": {"POSITION": 0}}
    primitive = {"attributes": {"POSITION": 0}, "indices": 1,
                 "extensions": {"KHR_draco_mesh_compression": extension}}  # fmt: skip
    content = document(
        meshes=[{"primitives": [primitive]}],
        bufferViews=[{"buffer": 0, "byteLength": len(data)}],
        accessors=[{"componentType": 5126, "count": 5, "type": "VEC3"},
                   {"componentType": 5123, "count": 9, "type": "SCALAR"}],
        buffers=[{"byteLength": len(data)}],
        extensionsRequired=["KHR_draco_mesh_compression"],
    )  # fmt: skip
    return glb(content, data)


def test_draco_meshes_are_decompressed(tmp_path, monkeypatch):
    draco = pytest.importorskip("DracoPy")
    data = draco.encode(POINTS, FACES.astype(np.uint32), quantization_bits=16)
    mesh = _read(tmp_path, "a.glb", _draco_file(data))
    found = sorted(mesh.vertices[mesh.faces].round(3).tolist())
    assert len(found) == 3
    centres = np.sort(mesh.vertices[mesh.faces].mean(axis=1), axis=0)
    np.testing.assert_allclose(centres, np.sort(POINTS[FACES].mean(axis=1), axis=0), atol=1e-3)
    with pytest.raises(MeshError, match="Draco data cannot be decoded"):
        _read(tmp_path, "a.glb", _draco_file(data[:20]))
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    with pytest.raises(SetupError, match=r"pip install xscale\[formats\]"):
        _read(tmp_path, "a.glb", _draco_file(data))


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

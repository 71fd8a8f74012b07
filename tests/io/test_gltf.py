"""glTF: nodes, accessors and containers, and what is refused in each of them."""

import json
import struct

import numpy as np
import pytest

from tests.io.test_meshes import BODY, FACES, POINTS, document, glb
from xscale.errors import LimitError, MeshError, SetupError, UnsafePathError
from xscale.io.mesh.meshes import read_mesh_arrays


def _read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return read_mesh_arrays(tmp_path / name)


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
        (document(buffers=[{"byteLength": 80, "uri": "x.bin"}]), MeshError, "which does not exist"),
        (document(buffers=[{"byteLength": 80, "uri": "data:;base64,%%"}]), MeshError, "decoded"),
        (document(accessors=[{"componentType": {}, "count": 3, "type": "VEC3"}] * 2), MeshError,
         "component type {}"),
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

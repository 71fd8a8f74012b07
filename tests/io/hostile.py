"""Mesh files that would fill the memory of a reader that believes them (reliability.md, P5)."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tests.io.test_meshes import BODY, document, glb
from xscale.io.mesh.meshes import read_mesh_arrays

Case = tuple[str, int, Callable[[], object]]
_LITTLE = "binary_little_endian"
_CORNERS = np.eye(3, dtype="<f4").tobytes()
_POINTS = b"0 0 0\n1 0 0\n0 1 0\n"
_OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
_TRIANGLE = np.array([0, 1, 2], "<i4").tobytes()


def _ply(form, vertices, faces, lists="uchar int", kind="float"):
    return (
        f"ply\nformat {form} 1.0\nelement vertex {vertices}\nproperty {kind} x\nproperty {kind} y\n"
        f"property {kind} z\nelement face {faces}\nproperty list {lists} vertex_indices\n"
        "end_header\n"
    ).encode()


def _cases(folder: Path, files: Iterator[tuple[str, str, bytes]]) -> Iterator[Case]:
    for name, ending, data in files:
        path = folder / f"{name}.{ending}"
        path.write_bytes(data)
        yield name, len(data), partial(read_mesh_arrays, path)
        path.unlink()


def declared(folder: Path) -> Iterator[Case]:
    """Small files that say they are huge."""
    return _cases(folder, _declared())


def _declared() -> Iterator[tuple[str, str, bytes]]:
    body = _CORNERS + b"\3" + _TRIANGLE
    for count in (2, 10**9, 2**31, 2**40, 10**17):
        yield f"ply vertices {count}", "ply", _ply(_LITTLE, 3 + count, 1) + body
        yield f"ply faces {count}", "ply", _ply(_LITTLE, 3, count) + body
        yield f"ply ascii vertices {count}", "ply", _ply("ascii", 3 + count, 1) + _POINTS
        yield f"ply ascii faces {count}", "ply", _ply("ascii", 3, count) + _POINTS + b"3 0 1 2\n"
        yield f"off vertices {count}", "off", b"OFF\n%d 1 0\n" % (3 + count) + _POINTS
        yield f"off faces {count}", "off", b"OFF\n3 %d 0\n" % count + _POINTS + b"3 0 1 2\n"
    for kind, count in (("uint", 2**31), ("int", -3), ("uint", 10**9), ("ushort", 65)):
        width = {"uint": 4, "int": 4, "ushort": 2}[kind]
        length = count.to_bytes(width, "little", signed=count < 0)
        yield (
            f"ply list of {count}",
            "ply",
            (_ply(_LITTLE, 3, 1, f"{kind} int") + _CORNERS + length + bytes(64)),
        )
    yield "stl 4e9", "stl", b"\0" * 80 + struct.pack("<I", 2**32 - 1) + bytes(100)
    yield "obj index", "obj", _OBJ + b"f 1 2 2000000000\n"
    yield "glb length", "glb", glb()[:8] + struct.pack("<I", 2**32 - 1) + glb()[12:]
    yield "glb chunk", "glb", glb()[:12] + struct.pack("<I", 2**31) + glb()[16:]
    first, second = document()["accessors"]
    for count in (10**9, 2**31, 2**53):
        zeros = {k: v for k, v in first.items() if k != "bufferView"}
        sparse = {"count": count, "indices": {"bufferView": 1, "componentType": 5123},
                  "values": {"bufferView": 0}}  # fmt: skip
        for name, accessor in (
            ("count", {**first, "count": count}),
            ("zeros", {**zeros, "count": count}),
            ("sparse", {**first, "sparse": sparse}),
        ):
            content = document(accessors=[accessor, second])
            yield f"glb {name} {count}", "glb", glb(content)
        content = document(accessors=[first, {**second, "count": count}])
        yield f"glb indices {count}", "glb", glb(content)
    content = document(buffers=[{"byteLength": 2**50}])
    yield "glb buffer", "glb", glb(content)
    uri = "data:;base64," + base64.b64encode(BODY).decode()
    content = document(buffers=[{"byteLength": 2**50, "uri": uri}])
    yield "gltf buffer", "gltf", json.dumps(content).encode()


def dense(folder: Path, size: int) -> Iterator[Case]:
    """Files of about ``size`` bytes in which a few bytes stand for much."""
    return _cases(folder, _dense(size))


def _dense(size: int) -> Iterator[tuple[str, str, bytes]]:
    yield from _dense_ply(size)
    yield from _dense_text(size)
    yield from _dense_gltf(size)


def _dense_ply(size: int) -> Iterator[tuple[str, str, bytes]]:
    little, uchar = partial(_ply, _LITTLE), "uchar uchar"
    n = size // 13
    yield "ply triangles", "ply", little(3, n) + _CORNERS + (b"\3" + _TRIANGLE) * n
    n = size // 4
    yield "ply small indices", "ply", little(3, n, uchar) + _CORNERS + b"\3\0\1\2" * n
    n = size // 65
    yield "ply 64 corners", "ply", little(3, n, uchar) + _CORNERS + (b"\x40" + b"\0\1" * 32) * n
    n = size // 257
    many = b"\x40" + np.array([0, 1] * 32, "<i4").tobytes()
    yield "ply 64 large", "ply", little(3, n) + _CORNERS + many * n
    n = size // 9
    mixed = b"\3\0\1\2\4\0\1\2\1"
    yield "ply mixed", "ply", little(3, 2 * n, uchar) + _CORNERS + mixed * n
    yield "ply empty lists", "ply", little(3, size, uchar) + _CORNERS + bytes(size)
    n = size // 3
    points = little(n, 1, kind="uchar") + bytes(3 * n)
    yield "ply small vertices", "ply", points + b"\3" + _TRIANGLE
    n = size // 6
    yield "ply ascii vertices", "ply", _ply("ascii", n, 1) + b"0 0 0\n" * n + b"3 0 1 2\n"
    n = size // 8
    yield "ply ascii faces", "ply", _ply("ascii", 3, n) + _POINTS + b"3 0 1 2\n" * n
    n = size // 131
    row = b"64" + b" 0 1" * 32 + b"\n"
    yield "ply ascii 64 corners", "ply", _ply("ascii", 3, n) + _POINTS + row * n
    n = size // 6
    yield "ply ascii short", "ply", _ply("ascii", 3, 2 * n) + _POINTS + b"0\n1 0\n" * n


def _dense_text(size: int) -> Iterator[tuple[str, str, bytes]]:
    yield "obj vertices", "obj", b"v 0 0 0\n" * (size // 8) + b"f 1 2 3\n"
    yield "obj faces", "obj", _OBJ + b"f 1 2 3\n" * (size // 8)
    yield "obj quads", "obj", _OBJ + b"f 1 2 3 1\n" * (size // 10)
    yield "obj 64 corners", "obj", _OBJ + (b"f" + b" 1 2" * 32 + b"\n") * (size // 130)
    unknown = b"".join(b"x%d\n" % k for k in range(size // 8))
    yield "obj unknown", "obj", _OBJ + unknown + b"f 1 2 3\n"
    yield "obj short", "obj", _OBJ + b"f 1\nf 1 2\n" * (size // 10) + b"f 1 2 3\n"
    n = size // 8
    yield "off faces", "off", b"OFF\n3 %d 0\n" % n + _POINTS + b"3 0 1 2\n" * n
    n = size // 6
    yield "off vertices", "off", b"OFF\n%d 1 0\n" % n + b"0 0 0\n" * n + b"3 0 1 2\n"
    n = size // 50
    yield "stl", "stl", bytes(80) + n.to_bytes(4, "little") + bytes(50 * n)
    facet = b"facet\nvertex 0 0 0\nvertex 0 0 0\nvertex 0 0 1\n"
    yield "stl ascii", "stl", b"solid\n" + facet * (size // len(facet)) + b"endsolid\n"


def _dense_gltf(size: int) -> Iterator[tuple[str, str, bytes]]:
    n = size // 3 * 3
    content = document(
        accessors=[
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5121, "count": n, "type": "SCALAR"},
        ],
        bufferViews=[
            {"buffer": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": n},
        ],
        buffers=[{"byteLength": 36 + n}],
    )
    body = _CORNERS + b"\0\1\2" * (n // 3)
    for name, mode in (("faces", 4), ("strip", 5), ("fan", 6)):
        primitive = {"attributes": {"POSITION": 0}, "indices": 1, "mode": mode}
        content["meshes"] = [{"primitives": [primitive]}]
        yield f"glb small {name}", "glb", glb(content, body)
    for name, unit in (("lists", b"[],"), ("objects", b"{},"), ("numbers", b"1e5,"),
                       ("texts", b'"",')):  # fmt: skip
        head, rest = b'{"asset":{"version":"2.0"},"x":[', b"0]}"
        yield f"gltf {name}", "gltf", head + unit * (size // len(unit)) + rest

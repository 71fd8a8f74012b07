"""PLY meshes: ascii and both binary byte orders, any extra properties and elements.

No count in the file is trusted before it is compared with the bytes that are there, and every
index is checked once, on reading.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.ply_ascii import read_ascii
from xscale.io.mesh.ply_header import Element, Header, read_header
from xscale.io.mesh.ply_lists import ROWS, ListReader, cut, read_rows
from xscale.io.mesh.polygons import triangulate

_COORDINATES = ("x", "y", "z")


class PlyMesh(NamedTuple):
    """Contents of a PLY file that we use."""

    vertices: np.ndarray
    """float64 or float32 [V, 3], in the file's frame."""
    faces: np.ndarray
    """int32 [F, 3]; polygons are split into triangles, in the file's order."""
    warnings: tuple[str, ...] = ()
    """Coded one-line remarks about things that were left out."""


def read_ply(path: Path) -> PlyMesh:
    """Read vertices and triangles.

    Raises:
        MeshError: Not a PLY file, cut off, a point cloud, or an index that names no vertex.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = read_header(file, path)
        _check_elements(header, path)
        if header.byte_order is None:
            vertices, corners, counts, spare = read_ascii(file, header, path)
        else:
            try:
                vertices, corners, counts = _read_binary(file, header, size, path)
            except MeshError as error:
                raise _with_byte_order(error, header) from error
            spare = size - file.tell()
    return _finish(vertices, corners, counts, spare, path)


def _with_byte_order(error: MeshError, header: Header) -> MeshError:
    """Add a cause to an index so large that its bytes may stand in the other order."""
    named = re.search(r"names vertex (-?\d+) of (\d+)", error.what)
    if named is None:
        return error
    index, count = int(named[1]), int(named[2])
    swapped = int.from_bytes((index & 0xFFFFFFFF).to_bytes(4, "little"), "big")
    if not 0 <= swapped < count:
        return error
    order = "big" if header.byte_order == "<" else "little"
    advice = f"its header may name the wrong byte order: try binary_{order}_endian, or export again"
    return MeshError(error.what, where=error.where, advice=advice)


def _check_elements(header: Header, path: Path) -> None:
    """Refuse files without the elements and properties that a mesh needs."""
    vertex, face = header.element("vertex"), header.element("face")
    if vertex is None:
        raise MeshError("has no vertices", where=path, advice="export a triangle mesh")
    if face is None or not face.count:
        kind = "tristrips" if header.element("tristrips") else "no faces"
        what = "has no faces: this is a point cloud" if kind == "no faces" else f"has {kind} only"
        raise MeshError(what, where=path, advice="export a triangle mesh with faces")
    for name in _COORDINATES:
        found = vertex.find(name)
        if found is None or found.count_type is not None:
            raise MeshError(
                f"vertices have no plain property {name}", where=path, advice="export it again"
            )
    if face.index_list is None:
        raise MeshError(
            "faces have no list property vertex_indices or vertex_index",
            where=path,
            advice="export a triangle mesh with faces",
        )
    if face.index_list.item_type[1] == "f":
        raise MeshError(
            "vertex indices are fractional numbers", where=path, advice="export it again"
        )


def _finish(
    vertices: np.ndarray,
    corners: np.ndarray,
    counts: np.ndarray | int,
    spare: int,
    path: Path,
) -> PlyMesh:
    """Split polygons and collect the remarks; the arrays have been checked."""
    faces, short = triangulate(vertices, corners, counts, path)
    warnings = []
    if short:
        warnings.append(f"W-MESH-CORNERS: {path.name}: {short} faces with under 3 corners left out")
    if spare:
        warnings.append(f"W-MESH-TAIL: {path.name}: {spare} bytes after the last element ignored")
    return PlyMesh(vertices, faces, tuple(warnings))


def _read_binary(
    file: BinaryIO, header: Header, size: int, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
    """Read the elements of a binary file: vertices, checked corners, corners of each face."""
    vertices = corners = counts = None
    for element in header.elements:
        here = file.tell()
        _check_room(element, size - here, here, path)
        if element.name == "vertex":
            if element.has_list:
                raise MeshError(
                    "vertices have a list property", where=path, advice="export it again"
                )
            vertices = _read_vertices(file, element, path)
        elif element.has_list:
            lists = ListReader(file, element, path, header.element("vertex").count)
            found = lists.read()
            if element.name == "face":
                corners, counts = found
        else:
            file.seek(element.fixed_dtype().itemsize * element.count, 1)
    return vertices, corners, counts


def _check_room(element: Element, left: int, offset: int, path: Path) -> None:
    """Compare a declared count with the bytes that are left, before anything is allocated."""
    smallest = element.smallest_row
    if element.count * smallest > left:
        raise MeshError(
            f"element {element.name}: {element.count} rows need at least "
            f"{element.count * smallest} bytes, {left} are left at byte {offset}",
            where=path,
            advice="the file is cut or was edited: export it again",
        )


def _read_vertices(file: BinaryIO, element: Element, path: Path) -> np.ndarray:
    """Read x, y, z of every row, in blocks: float32 where that is exact, else float64."""
    dtype = element.fixed_dtype()
    single = all(np.can_cast(dtype[name], np.float32) for name in _COORDINATES)
    vertices = np.empty((element.count, 3), np.float32 if single else np.float64)
    for start in range(0, element.count, ROWS):
        here = file.tell()
        rows = read_rows(file, dtype, min(ROWS, element.count - start))
        if rows is None:
            raise cut(element, start, here, path)
        for axis, name in enumerate(_COORDINATES):
            vertices[start : start + len(rows), axis] = rows[name]
    return vertices


def encode_ply(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Encode a mesh as binary little-endian PLY.

    Args:
        vertices: [V, 3]; float64 is kept as double, everything else becomes float.
        faces: Integers [F, 3].
    """
    double = np.asarray(vertices).dtype == np.float64
    kind = "double" if double else "float"
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        f"property {kind} x\nproperty {kind} y\nproperty {kind} z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), np.dtype([("n", "u1"), ("v", "<i4", 3)]))
    rows["n"] = 3
    rows["v"] = faces
    body = np.asarray(vertices, "<f8" if double else "<f4").tobytes()
    return head.encode() + body + rows.tobytes()

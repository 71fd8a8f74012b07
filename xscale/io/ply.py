"""PLY meshes: ascii and both binary byte orders, any extra properties and elements.

No count in the file is believed before it is compared with the bytes that are there, and every
index is checked once, here. Binary files are read through a memory map.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from xscale.errors import MeshError
from xscale.io.ply_ascii import read_ascii
from xscale.io.ply_header import Element, Header, read_header
from xscale.io.polygons import MOST_CORNERS, check_vertices, fan

_BLOCK = 1 << 20
_COORDINATES = ("x", "y", "z")


class PlyMesh(NamedTuple):
    """What a PLY file holds of interest to us."""

    vertices: np.ndarray
    """float64 or float32 [V, 3], in the file's frame."""
    faces: np.ndarray
    """int32 [F, 3]; polygons are split into fans, in the file's order."""
    warnings: tuple[str, ...] = ()
    """Coded one-line remarks about things that were left out."""


def read_ply(path: str | Path) -> PlyMesh:
    """Read vertices and triangles.

    Raises:
        MeshError: Not a PLY file, cut off, a point cloud, or an index that names no vertex.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = read_header(file, path)
            _check_elements(header, path)
            if header.byte_order is None:
                return _finish(*read_ascii(file, header, path), path)
        return _read_binary(path, header, size)
    except OSError as error:
        raise MeshError(
            f"cannot be read: {error.strerror}",
            where=path,
            advice="check the path and its rights",
        ) from error


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
    faces: np.ndarray,
    dropped: int,
    spare: int,
    path: Path,
) -> PlyMesh:
    """Collect the remarks; the arrays have been checked."""
    warnings = []
    if dropped:
        warnings.append(
            f"W-MESH-CORNERS: {path.name}: {dropped} faces with under 3 corners left out"
        )
    if spare:
        warnings.append(f"W-MESH-TAIL: {path.name}: {spare} bytes after the last element ignored")
    return PlyMesh(vertices, faces, tuple(warnings))


def _read_binary(path: Path, header: Header, size: int) -> PlyMesh:
    """Walk the elements of a binary file in a memory map."""
    data = np.memmap(path, dtype=np.uint8, mode="r") if size else np.zeros(0, np.uint8)
    offset = header.size
    vertices = faces = None
    dropped = 0
    # Faces may come before vertices, so indices are checked when both are known.
    for element in header.elements:
        _check_room(element, size - offset, offset, path)
        if element.name == "vertex" and not element.has_list:
            rows = _rows(data, offset, element.fixed_dtype(), element.count)
            vertices = _coordinates(rows)
            offset += rows.nbytes
        elif element.has_list:
            corners, counts, offset = _read_lists(data, offset, element, path)
            if element.name == "face":
                check_vertices(corners, counts, header.element("vertex").count, path)
                faces, dropped = fan(corners, counts)
            elif element.name == "vertex":
                raise MeshError(
                    "vertices have a list property", where=path, advice="export it again"
                )
        else:
            offset += element.fixed_dtype().itemsize * element.count
    return _finish(vertices, faces, dropped, size - offset, path)


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


def _rows(data: np.ndarray, offset: int, dtype: np.dtype, count: int) -> np.ndarray:
    """View ``count`` rows of a structured type in the map, without copying."""
    return data[offset : offset + count * dtype.itemsize].view(dtype)


def _coordinates(rows: np.ndarray) -> np.ndarray:
    """Copy x, y, z out of structured rows, in blocks: float32 stays so, all else is float64."""
    single = all(rows.dtype[name].newbyteorder("=") == np.float32 for name in _COORDINATES)
    vertices = np.empty((len(rows), 3), np.float32 if single else np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for axis, name in enumerate(_COORDINATES):
            vertices[start : start + _BLOCK, axis] = block[name]
    return vertices


def _read_lists(
    data: np.ndarray, offset: int, element: Element, path: Path
) -> tuple[np.ndarray, np.ndarray | int, int]:
    """Read the index list of every row of an element that has lists.

    Returns:
        Indices int64 or narrower, [F, n] where all lists have n items, else flat [sum of n];
        the counts (n, or int64 [F]); and the offset after the element.
    """
    if element.count:
        uniform = _uniform_lists(data, offset, element)
        if uniform is not None:
            return uniform
    return _walk_lists(data, offset, element, path)


def _uniform_lists(
    data: np.ndarray, offset: int, element: Element
) -> tuple[np.ndarray, int, int] | None:
    """Read an element whose rows all have the list lengths of the first row, or return None."""
    lengths = element.first_lengths(data[offset:])
    if lengths is None:
        return None
    dtype = element.dtype_with(lengths)
    end = offset + dtype.itemsize * element.count
    if end > len(data):
        return None
    rows = _rows(data, offset, dtype, element.count)
    for name, length in lengths.items():
        for start in range(0, len(rows), _BLOCK):
            if (rows[f"{name}#"][start : start + _BLOCK] != length).any():
                return None
    wanted = element.index_list
    if wanted is None or not lengths[wanted.name]:
        return np.zeros((element.count, 0), np.int64), 0, end
    return rows[wanted.name], lengths[wanted.name], end


def _walk_lists(
    data: np.ndarray, offset: int, element: Element, path: Path
) -> tuple[np.ndarray, np.ndarray, int]:
    """Read rows of unequal length one after the other."""
    size = len(data)
    stream: BinaryIO = io.BytesIO(memoryview(data)[offset:])
    wanted = element.index_list
    counts = np.zeros(element.count, np.int64)
    pieces = []
    for row in range(element.count):
        for prop in element.properties:
            here = offset + stream.tell()
            if prop.count_type is None:
                if len(stream.read(prop.item_size)) < prop.item_size:
                    raise _cut(element, row, here, path)
                continue
            head = stream.read(prop.count_size)
            if len(head) < prop.count_size:
                raise _cut(element, row, here, path)
            count = int(np.frombuffer(head, prop.count_type)[0])
            if count < 0 or (prop is wanted and count > MOST_CORNERS):
                raise MeshError(
                    f"{element.name} {row} has a list of {count} items at byte {here}, allowed "
                    f"are 0 to {MOST_CORNERS}",
                    where=path,
                    advice="the file is damaged or its byte order is mislabelled: export it again",
                )
            if count * prop.item_size > size - here - prop.count_size:
                raise _cut(element, row, here, path)
            items = stream.read(count * prop.item_size)
            if prop is wanted:
                counts[row] = count
                pieces.append(items)
    flat = np.frombuffer(b"".join(pieces), wanted.item_type) if wanted else np.zeros(0, np.int64)
    return flat, counts, offset + stream.tell()


def _cut(element: Element, row: int, offset: int, path: Path) -> MeshError:
    return MeshError(
        f"ends inside {element.name} {row} of {element.count} at byte {offset}",
        where=path,
        advice="the file is cut: export it again",
    )


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

"""glTF 2.0 and GLB: all triangles of the file's scene, with their nodes' transforms applied.

Quantised positions are exact; Draco goes through DracoPy. Coordinates are the file's own: glTF says
that y points up, photogrammetry often writes its scene's frame as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import LimitError, MeshError, SetupError
from xscale.io.budget import check_growth
from xscale.io.mesh.gltf_buffers import Buffers, item, natural, read_document, wrong
from xscale.io.mesh.polygons import check_vertices

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_DRACO = "KHR_draco_mesh_compression"
_QUANTISED = "KHR_mesh_quantization"
_HARMLESS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "KHR_xmp")
_INSTANCES = "EXT_mesh_gpu_instancing"
_MOST_FACES = 400_000_000


class _Drawn(NamedTuple):
    """A mesh at a place."""

    mesh: int
    matrix: np.ndarray
    """float64 [4, 4], scene from mesh."""
    name: str


def read_gltf(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read vertices [V, 3] and triangles int32 [F, 3].

    Returns:
        Vertices (float64, or float32 where the file has those and no transform), faces and coded
        remarks.

    Raises:
        MeshError: Damaged, without triangles, or with an extension that is not read.
        LimitError: More faces than 400 million, or arrays that the file's size does not explain.
        UnsafePathError: A buffer lies outside the file's folder.
        SetupError: Draco is used and DracoPy is not installed.
    """
    document, binary, warnings = read_document(path)
    _check_extensions(document, path)
    buffers = Buffers(document, binary, path)
    drawn = _placed(document, path)
    _check_size(document, drawn, path)
    vertices, faces, first, skipped = [], [], 0, 0
    pieces: dict[tuple[int, int], tuple[np.ndarray, np.ndarray] | None] = {}
    for mesh, matrix, name in drawn:
        for number, primitive in enumerate(_primitives(document, mesh, path)):
            if (mesh, number) not in pieces:
                pieces[mesh, number] = _read_primitive(document, buffers, primitive, path)
            piece = pieces[mesh, number]
            if piece is None:
                skipped += 1
                continue
            points, corners = _moved(*piece, matrix, name, path)
            vertices.append(points)
            faces.append(corners + np.int32(first) if first else corners)
            first += len(points)
    if skipped:
        warnings.append(f"W-MESH-PARTS: {path.name}: {skipped} parts of points or lines left out")
    if not faces or not sum(map(len, faces)):
        raise MeshError("has no triangles", where=path, advice="export a triangle mesh")
    if len(faces) == 1:
        return vertices[0], faces[0], tuple(warnings)
    return np.concatenate(vertices), np.concatenate(faces), tuple(warnings)


def _check_extensions(document: dict, path: Path) -> None:
    required = document.get("extensionsRequired", [])
    if not isinstance(required, list):
        raise wrong("extensionsRequired is not a list", path)
    for name in map(str, required):
        if name not in (_DRACO, _QUANTISED) and not name.startswith(_HARMLESS):
            raise MeshError(
                f"needs the extension {name}, which is not read",
                where=path,
                advice="export it uncompressed (gltf-transform copy, gltfpack -noq)",
            )


def _placed(document: dict, path: Path) -> list[_Drawn]:
    """Walk the node trees of the scene and list the meshes with their matrices."""
    nodes = document.get("nodes", [])
    if not isinstance(nodes, list):
        raise wrong("nodes is not a list", path)
    if document.get("scenes"):
        scene = item(document, "scenes", document.get("scene", 0), path)
        roots = scene.get("nodes", [])
    else:
        children = {c for n in nodes if isinstance(n, dict) for c in _list(n, "children", path)}
        roots = [k for k in range(len(nodes)) if k not in children]
    drawn, seen = [], set()
    waiting = [(root, np.eye(4)) for root in reversed(_whole_numbers(roots, path))]
    while waiting:
        index, above = waiting.pop()
        if index in seen:
            raise wrong(f"node {index} has two parents or is its own ancestor", path)
        seen.add(index)
        node = item(document, "nodes", index, path)
        name = f"node {index} ({node.get('name', '')!s})"
        matrix = above @ node_matrix(node, name, path)
        if "mesh" in node:
            mesh = natural(node, "mesh", None, path)
            _check_node({**_weights(item(document, "meshes", mesh, path)), **node}, name, path)
            drawn.append(_Drawn(mesh, matrix, name))
        waiting += [(child, matrix) for child in reversed(_list(node, "children", path))]
    return drawn


def _weights(mesh: dict) -> dict:
    """Return a mesh's own morph weights, which hold where its node has none."""
    return {"weights": mesh["weights"]} if "weights" in mesh else {}


def _check_node(node: dict, name: str, path: Path) -> None:
    extensions = node.get("extensions", {})
    what = None
    if "skin" in node:
        what = "is skinned"
    elif node.get("weights") and not _all_zero(node["weights"]):
        what = "is morphed"
    elif isinstance(extensions, dict) and _INSTANCES in extensions:
        what = f"uses {_INSTANCES}"
    if what:
        raise MeshError(f"{name} {what}, which is not read", where=path, advice="export it baked")


def _all_zero(values: object) -> bool:
    return isinstance(values, list) and not any(values)


def _list(holder: dict, key: str, path: Path) -> list[int]:
    return _whole_numbers(holder.get(key, []), path)


def _whole_numbers(values: object, path: Path) -> list[int]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise wrong(f"{str(values)[:40]} is not a list of node numbers", path)
    return values


def _numbers(node: dict, key: str, count: int, name: str, path: Path) -> np.ndarray | None:
    if key not in node:
        return None
    try:
        values = np.array(node[key], np.float64)
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise wrong(f"{name}: {key} is not {count} finite numbers", path)
    return values


def node_matrix(node: dict, name: str, path: Path) -> np.ndarray:
    """Return a node's own transform, float64 [4, 4]."""
    whole = _numbers(node, "matrix", 16, name, path)
    move = _numbers(node, "translation", 3, name, path)
    turn = _numbers(node, "rotation", 4, name, path)
    scale = _numbers(node, "scale", 3, name, path)
    if whole is not None:
        if any(part is not None for part in (move, turn, scale)):
            raise wrong(f"{name} has a matrix and a translation, rotation or scale", path)
        matrix = whole.reshape(4, 4).T
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise wrong(f"{name}: the matrix is not an affine transform", path)
        return matrix
    matrix = np.eye(4)
    if turn is not None:
        length = np.linalg.norm(turn)
        if not 0.5 < length < 2:
            raise wrong(f"{name}: the rotation is not a unit quaternion", path)
        x, y, z, w = turn / length
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    if scale is not None:
        matrix[:3, :3] *= scale
    if move is not None:
        matrix[:3, 3] = move
    return matrix


def _primitives(document: dict, mesh: int, path: Path) -> list[dict]:
    found = item(document, "meshes", mesh, path).get("primitives", [])
    if not isinstance(found, list) or not all(isinstance(p, dict) for p in found):
        raise wrong(f"meshes[{mesh}] has no list of primitives", path)
    return found


def _check_size(document: dict, drawn: list[_Drawn], path: Path) -> None:
    """Count corners over all instances before anything is read."""
    corners = 0
    for mesh, _, _ in drawn:
        for primitive in _primitives(document, mesh, path):
            attributes = primitive.get("attributes")
            index = primitive.get("indices")
            if index is None and isinstance(attributes, dict):
                index = attributes.get("POSITION")
            accessor = item(document, "accessors", index, path)
            corners += natural(accessor, "count", None, path)
        if corners > 3 * _MOST_FACES:
            raise LimitError(
                f"has over {_MOST_FACES} triangles with all its instances",
                where=path,
                advice="take instances out of the file",
            )


def _read_primitive(
    document: dict, buffers: Buffers, primitive: dict, path: Path
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read points [V, 3] and faces int32 [F, 3]; None for points and lines."""
    mode = natural(primitive, "mode", _TRIANGLES, path)
    attributes, extensions = primitive.get("attributes"), primitive.get("extensions", {})
    if mode < _TRIANGLES:
        return None
    if mode > _FAN or not isinstance(attributes, dict) or "POSITION" not in attributes:
        raise wrong(f"a primitive of mode {mode} has no POSITION or is not known", path)
    if isinstance(extensions, dict) and _DRACO in extensions:
        return _draco(buffers, extensions[_DRACO], path)
    points = _positions(document, buffers, attributes["POSITION"], path)
    if "indices" in primitive:
        corners, _ = buffers.array(primitive["indices"], "SCALAR")
        if corners.dtype.kind != "u":
            raise wrong("vertex indices are not unsigned integers", path)
        corners = corners[:, 0]
    else:
        corners = np.arange(len(points), dtype=np.uint32)
    if mode != _TRIANGLES:
        check_growth(4 * 3 * len(corners), path, "its strips")
    if mode == _TRIANGLES:
        if len(corners) % 3:
            raise wrong(f"{len(corners)} corners make no whole number of triangles", path)
        faces = corners.reshape(-1, 3)
    else:
        faces = _unrolled(corners, strip=mode == _STRIP)
    check_vertices(faces, 3, len(points), path)
    return points, faces.astype(np.int32)


def _unrolled(corners: np.ndarray, *, strip: bool) -> np.ndarray:
    """Split a strip or a fan into triangles of one winding, [F, 3]."""
    faces = np.empty((max(len(corners) - 2, 0), 3), corners.dtype)
    if strip:
        faces[:, 0] = corners[:-2]
        faces[::2, 1], faces[1::2, 1] = corners[1:-1:2], corners[3::2]
        faces[::2, 2], faces[1::2, 2] = corners[2::2], corners[2:-1:2]
    else:
        faces[:, 0], faces[:, 1], faces[:, 2] = corners[1:-1], corners[2:], corners[:1]
    return faces


def _positions(document: dict, buffers: Buffers, index: object, path: Path) -> np.ndarray:
    points, normalized = buffers.array(index, "VEC3")
    if points.dtype.kind == "f":
        return np.array(points, np.float32)
    if _QUANTISED not in (document.get("extensionsUsed") or []):
        raise wrong(f"positions are integers and {_QUANTISED} is not named", path)
    if not normalized:
        return points.astype(np.float64)
    return np.maximum(points.astype(np.float64) / np.iinfo(points.dtype).max, -1.0)


def _draco(buffers: Buffers, given: object, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import DracoPy
    except ImportError as error:
        raise SetupError(
            "reading Draco needs DracoPy",
            where=path,
            advice="pip install xscale[formats], or export the mesh uncompressed",
        ) from error
    if not isinstance(given, dict):
        raise wrong(f"{_DRACO} is not an object", path)
    data, _ = buffers.view(given.get("bufferView"))
    try:
        decoded = DracoPy.decode(bytes(data))
        points, faces = np.asarray(decoded.points), np.asarray(decoded.faces)
    # The decoder has its own exceptions for damaged data, and plain ones too.
    except Exception as error:
        raise wrong(f"Draco data cannot be decoded: {error}", path) from None
    faces = faces.reshape(-1, 3)
    points = points.reshape(-1, 3)
    check_vertices(faces, 3, len(points), path)
    return points, faces.astype(np.int32)


def _moved(
    points: np.ndarray, faces: np.ndarray, matrix: np.ndarray, name: str, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a node's transform in float64; a mirrored one turns the faces over."""
    if np.array_equal(matrix, np.eye(4)):
        return points, faces
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = np.linalg.det(matrix[:3, :3])
        if not np.isfinite(matrix).all() or not np.isfinite(determinant) or determinant == 0:
            raise MeshError(
                f"{name}: its transform is singular or not finite",
                where=path,
                advice="export again",
            )
        moved = points.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return moved, faces[:, ::-1] if determinant < 0 else faces

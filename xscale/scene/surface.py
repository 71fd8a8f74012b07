"""The scene's mesh: its files, put together, moved into the scene's frame and checked.

A folder's mesh is its one ``mesh.*`` file; without that, all its ``mesh_*.*`` files together,
sorted by the bytes of their names. Of several files the faces come in that order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from xscale.errors import InputError, MeshError, SceneError
from xscale.geometry.mesh import Mesh
from xscale.io.mesh.meshes import EXTENSIONS, MeshArrays, read_mesh_arrays
from xscale.io.names import name_bytes
from xscale.scene.checks import plausibility as check
from xscale.scene.layouts.views import some

MeshRepair = Literal["none", "drop-bad-faces"]
_BLOCK = 1 << 20
_LAST_DIGITS = 0.05
"""Share of a step of single precision by which text may differ from it."""
_MOST_BYTES = 1 << 16
_NUMBERS = re.compile(r"[\s,;\[\](){}]+")
_CRS = re.compile(
    r'\b(?:PROJCS|PROJCRS|COMPD_CS|COMPOUNDCRS|GEOGCS|GEOGCRS|LOCAL_CS)\["([^"]{1,80})"'
)
_OTHER_MESHES = (
    *(".3ds", ".3mf", ".abc", ".blend", ".dae", ".dxf", ".fbx", ".mvs", ".osgb"),
    *(".usd", ".usda", ".usdc", ".usdz", ".vtk", ".vtp", ".wrl", ".x3d"),
)
_CLOUDS = re.compile("point|cloud|sparse|dense|fused")
"""Names of files that hold points rather than a mesh, mostly."""
_CRS_FILES = ("*.wkt", "*.prj")


@dataclass(frozen=True)
class SceneMesh:
    """A mesh and where it came from."""

    mesh: Mesh
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
    offset: np.ndarray | None = None
    """Offset that a file beside the mesh adds to its coordinates, float64 [3]."""
    offset_file: Path | None = None
    provenance: dict[str, object] = field(default_factory=dict)
    """Changes of the coordinates, and the coordinate system named beside the mesh."""


def find_meshes(root: Path) -> tuple[Path, ...]:
    """Return the file or files of a scene folder's mesh.

    Raises:
        SceneError: There is none, or there are several ``mesh.*``.
    """
    found = _meshes(root, "mesh.*")
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise SceneError(f"has several meshes: {names}", where=root, advice="choose one by --mesh")
    found = found or _meshes(root, "mesh_*.*")
    if not found:
        raise _no_mesh(root)
    return found


def _no_mesh(root: Path) -> SceneError:
    """Say which files the folder holds that may be the mesh, and the option that takes one."""
    usual = "mesh.ply (nor mesh.obj, .glb, .gltf, .stl, .off, nor mesh_*.ply and so on)"
    files = sorted(
        (path for folder in (root, *_folders(root)) for path in _files(folder)),
        key=lambda path: (len(path.parts), name_bytes(path.name)),
    )
    readable = [path for path in files if path.suffix.lower() in EXTENSIONS]
    readable = [path for path in readable if not _CLOUDS.search(path.name.lower())]
    if readable:
        names = [path.relative_to(root).as_posix() for path in readable]
        return SceneError(
            f"has no {usual}; it holds {some(names)}",
            where=root,
            advice=f"give the mesh by its name: --mesh {readable[0]}",
        )
    others = [path for path in files if path.suffix.lower() in _OTHER_MESHES]
    if others:
        names = [path.relative_to(root).as_posix() for path in others]
        return SceneError(
            f"has no {usual}; it holds {some(names)}, a kind that is not read",
            where=root,
            advice="export the mesh as PLY, OBJ or GLB, as mesh.ply or with --mesh FILE",
        )
    return SceneError(
        f"has no {usual}",
        where=root,
        advice="put the photogrammetry mesh there or give it by --mesh",
    )


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError:
        return []


def _meshes(root: Path, pattern: str) -> tuple[Path, ...]:
    found = (p for p in root.glob(pattern) if p.suffix.lower() in EXTENSIONS)
    return tuple(sorted(found, key=lambda path: name_bytes(path.name)))


def read_surface(
    files: Sequence[Path], *, transform: Path | None = None, repair: MeshRepair = "none"
) -> SceneMesh:
    """Read mesh files, merge them, move them into the scene's frame and check the result.

    Args:
        files: At least one.
        transform: File with a 4x4 matrix, scene from mesh.
        repair: ``drop-bad-faces`` leaves out faces with corners that are not finite, counted.

    Raises:
        InputError: A file is damaged, or the mesh or the matrix cannot be used.
    """
    matrix = None if transform is None else read_transform(transform)
    arrays = _merged([read_mesh_arrays(path) for path in files])
    warnings = list(arrays.warnings)
    provenance: dict[str, object] = {}
    vertices, faces = arrays.vertices, arrays.faces
    where = files[0] if len(files) == 1 else ", ".join(str(path) for path in files)
    step = _rounding(vertices)
    if step is not None:
        warnings.append(_precision(vertices, step, where))
        provenance["mesh_rounding"] = step
    bad = _not_finite(vertices)
    if bad.any() and repair == "drop-bad-faces":
        faces, dropped = _without(faces, bad)
        if dropped:
            provenance["mesh_repair"] = dropped
            warnings.append(
                f"W-MESH-REPAIR: {dropped} of {len(faces) + dropped} faces with corners that are "
                "not finite left out"
            )
    if matrix is not None:
        vertices, faces = apply_transform(matrix, vertices, faces)
    mesh = Mesh.from_world(vertices, faces, where=where)
    if bad.any():
        warnings.append(
            f"W-MESH-NAN: {int(bad.sum())} vertices, the first {int(np.argmax(bad))}, are not "
            "finite; no face uses them"
        )
    warnings += check.check_mesh(mesh, where)
    offset_file, offset = _offset_beside(files[0].parent)
    if matrix is not None:
        provenance["mesh_transform"] = matrix.tolist()
    system = coordinate_system(files[0].parent)
    if system:
        provenance["coordinate_system"] = system
    return SceneMesh(mesh, tuple(files), tuple(warnings), offset, offset_file, provenance)


def moved(surface: SceneMesh, shift: np.ndarray) -> Mesh:
    """Return the mesh with its world position shifted; local coordinates stay."""
    mesh = surface.mesh
    return Mesh(mesh.vertices, mesh.faces, mesh.origin + shift)


def _merged(parts: list[MeshArrays]) -> MeshArrays:
    """Put meshes one after the other."""
    if len(parts) == 1:
        return parts[0]
    dtype = np.result_type(*(part.vertices.dtype for part in parts))
    first = np.cumsum([0, *(len(part.vertices) for part in parts)])
    if first[-1] >= 2**31:
        raise MeshError(f"the meshes have {first[-1]} vertices together, at most {2**31 - 1}")
    vertices = np.concatenate([part.vertices.astype(dtype, copy=False) for part in parts])
    faces = np.concatenate(
        [part.faces + np.int32(start) for part, start in zip(parts, first[:-1], strict=True)]
    )
    return MeshArrays(vertices, faces, tuple(line for part in parts for line in part.warnings))


def _not_finite(vertices: np.ndarray) -> np.ndarray:
    bad = np.zeros(len(vertices), bool)
    for start in range(0, len(vertices), _BLOCK):
        rows = slice(start, start + _BLOCK)
        bad[rows] = ~np.isfinite(vertices[rows]).all(axis=1)
    return bad


def _without(faces: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, int]:
    keep = np.ones(len(faces), bool)
    for start in range(0, len(faces), _BLOCK):
        rows = slice(start, start + _BLOCK)
        keep[rows] = ~bad[faces[rows]].any(axis=1)
    return faces[keep], int((~keep).sum())


def _rounding(vertices: np.ndarray) -> float | None:
    """Return the step of single-precision coordinates so large that they have lost their detail.

    Text that was written from single precision counts too: its numbers lie close to such ones.
    """
    if not len(vertices):
        return None
    with np.errstate(invalid="ignore"):
        low, high = np.nanmin(vertices, axis=0), np.nanmax(vertices, axis=0)
        far = np.maximum(np.abs(low), np.abs(high))
        extent = float((high.astype(np.float64) - low).max())
    if not np.isfinite(far).all() or extent <= 0:
        return None
    axis = int(far.argmax())
    step = float(np.spacing(np.float32(far[axis])))
    # Within a mesh around its origin a step is 1e-7 of the size; 100 times that is lost detail.
    if step < 1e-5 * extent or not _single(vertices[:, axis]):
        return None
    return step


def _single(values: np.ndarray) -> bool:
    """Tell whether numbers are of single precision, some last digits aside."""
    if values.dtype == np.float32:
        return True
    for start in range(0, len(values), _BLOCK):
        some = values[start : start + _BLOCK]
        some = some[np.isfinite(some)]
        near = some.astype(np.float32)
        if (np.abs(some - near) > _LAST_DIGITS * np.spacing(np.abs(near))).any():
            return False
    return True


def _precision(vertices: np.ndarray, step: float, where: object) -> str:
    farthest = float(np.nanmax(np.abs(vertices)))
    return (
        f"W-MESH-PRECISION: {where}: coordinates of {farthest:.3g} in single precision are known "
        f"to {step:.2g} only; export doubles, or coordinates relative to an offset"
    )


def read_transform(path: Path) -> np.ndarray:
    """Read a 4x4 matrix that takes the mesh into the scene's frame, float64.

    The file holds 16 numbers, row by row: as text between blanks, commas or line ends (``#`` begins
    a comment), or as JSON (a list, a list of rows, or such a list under the key ``transform``).

    Raises:
        InputError: Missing, not 16 finite numbers, last row not 0 0 0 1, or singular.
    """
    text = _small_text(path)
    lines = (line.split("#")[0] for line in text.splitlines())
    body = re.sub(r'"transform"\s*:', " ", " ".join(lines))
    words = [word for word in _NUMBERS.split(body) if word]
    advice = "write 16 numbers, row by row: the matrix that takes mesh points to the scene"
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"is not a matrix: {error}", where=path, advice=advice) from None
    if values.size != 16 or not np.isfinite(values).all():
        raise InputError(
            f"has {values.size} numbers, not 16 finite ones", where=path, advice=advice
        )
    matrix = values.reshape(4, 4)
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        hint = ", it looks transposed" if np.array_equal(matrix[:, 3], (0, 0, 0, 1)) else ""
        raise InputError(f"its last row is not 0 0 0 1{hint}", where=path, advice=advice)
    if np.linalg.matrix_rank(matrix) < 4:
        raise InputError("the matrix flattens the mesh", where=path, advice=advice)
    return matrix


def apply_transform(
    matrix: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move vertices in float64; a mirroring matrix turns the faces over."""
    found = np.empty((len(vertices), 3))
    for start in range(0, len(vertices), _BLOCK):
        rows = slice(start, start + _BLOCK)
        found[rows] = vertices[rows].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return found, faces[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else faces


def _small_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    if len(data) > _MOST_BYTES:
        raise InputError("is larger than 64 KiB", where=path, advice="check the path")
    return data.decode("utf-8-sig", "replace")


def _offset_beside(folder: Path) -> tuple[Path | None, np.ndarray | None]:
    """Read the one ``*_offset.xyz`` of a folder: three numbers."""
    found = sorted(folder.glob("*_offset.xyz"))
    if len(found) != 1:
        return None, None
    try:
        words = _NUMBERS.split(_small_text(found[0]).strip())
        values = np.array([float(word) for word in words if word])
    except (ValueError, InputError):
        values = np.zeros(0)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise InputError(
            "does not hold three numbers",
            where=found[0],
            advice="write the x, y, z that are missing from the mesh, or take the file away",
        )
    return found[0], values


def coordinate_system(folder: Path) -> dict[str, str] | None:
    """Name the coordinate system that a WKT file in a folder describes."""
    for pattern in _CRS_FILES:
        for path in sorted(folder.glob(pattern)):
            try:
                found = _CRS.search(_small_text(path))
            except InputError:
                continue
            if found:
                return {"file": path.name, "name": found.group(1)}
    return None

"""Mesh files of every kind we read: PLY by ourselves, the others through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import MeshError, SetupError
from xscale.io.ply import read_ply

EXTENSIONS = (".ply", ".obj", ".glb", ".gltf", ".stl", ".off")
"""What can be read, in lower case."""


class MeshArrays(NamedTuple):
    """Triangles as the file has them, before recentring."""

    vertices: np.ndarray
    """float64 or float32 [V, 3], in the scene's frame."""
    faces: np.ndarray
    """int32 or int64 [F, 3]; indices of other formats than PLY are not checked yet."""
    warnings: tuple[str, ...] = ()
    """Coded one-line remarks."""


def read_mesh_arrays(path: str | Path) -> MeshArrays:
    """Read a mesh file; :meth:`xscale.geometry.mesh.Mesh.from_world` checks and recentres it.

    Raises:
        MeshError: Missing, of an unknown kind, damaged, or not a triangle mesh.
        SetupError: The format needs trimesh, which is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise MeshError(
            f"meshes end in {', '.join(EXTENSIONS)}", where=path, advice="export it as PLY"
        )
    if not path.is_file():
        raise MeshError(
            "there is no such mesh file", where=path, advice="check the path given with --mesh"
        )
    if path.suffix.lower() == ".ply":
        return MeshArrays(*read_ply(path))
    return _read_with_trimesh(path)


def _read_with_trimesh(path: Path) -> MeshArrays:
    """Read through trimesh, untouched: no merging, no repair, no side files."""
    try:
        import trimesh
    except ImportError as error:
        raise SetupError(
            f"reading {path.suffix} needs trimesh",
            where=path,
            advice="pip install xscale[formats], or export the mesh as PLY",
        ) from error
    try:
        with path.open("rb") as file:
            # Handing over the stream and not the name keeps references to other files unresolved.
            loaded = trimesh.load(file, file_type=path.suffix[1:].lower(), process=False)
        if isinstance(loaded, trimesh.Scene):
            loaded = loaded.to_mesh() if hasattr(loaded, "to_mesh") else loaded.dump(True)
        vertices = np.asarray(loaded.vertices, dtype=np.float64)
        faces = np.asarray(loaded.faces)
    # A third-party parser fed with damaged files raises nearly everything.
    except Exception as error:
        raise MeshError(
            f"trimesh could not read it: {type(error).__name__}: {error}",
            where=path,
            advice="export the mesh as PLY",
        ) from error
    return MeshArrays(vertices, faces)

"""Mesh files of every kind we read, by their extension."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.gltf import read_gltf
from xscale.io.mesh.obj import read_obj
from xscale.io.mesh.off import read_off
from xscale.io.mesh.ply import read_ply
from xscale.io.mesh.stl import read_stl

_READERS = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".stl": read_stl,
    ".off": read_off,
}
EXTENSIONS = tuple(_READERS)
"""Extensions that can be read, in lower case."""


class MeshArrays(NamedTuple):
    """Triangles as the file has them, before recentring."""

    vertices: np.ndarray
    """float64 or float32 [V, 3], in the scene's frame."""
    faces: np.ndarray
    """int32 [F, 3], rows of ``vertices``."""
    warnings: tuple[str, ...] = ()
    """Coded one-line remarks."""


def read_mesh_arrays(path: str | Path) -> MeshArrays:
    """Read a mesh file; :meth:`xscale.geometry.mesh.Mesh.from_world` checks and recentres it.

    Raises:
        MeshError: Missing, of an unknown kind, damaged, or not a triangle mesh.
        LimitError: It asks for far more memory than its size explains.
        UnsafePathError: It refers to a file outside its folder.
        SetupError: It is compressed in a way that needs a package which is not installed.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise MeshError(
            f"meshes end in {', '.join(EXTENSIONS)}", where=path, advice="export it as PLY"
        )
    if not path.is_file():
        raise MeshError(
            "there is no such mesh file", where=path, advice="check the path given with --mesh"
        )
    try:
        return MeshArrays(*reader(path))
    except OSError as error:
        raise MeshError(
            f"cannot be read: {error.strerror}",
            where=path,
            advice="check the path and its rights",
        ) from error

"""Point clouds in PLY files: positions only, from files that need no faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.ply_ascii import read_ascii
from xscale.io.mesh.ply_header import Header, read_header

_COORDINATES = ("x", "y", "z")


def read_ply_points(path: str | Path) -> np.ndarray:
    """Read the vertices of a PLY file.

    Returns:
        float64 [N, 3], in the file's frame; may hold NaN where the file does.

    Raises:
        MeshError: Not a PLY file, cut off, or without plain x, y, z.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = read_header(file, path)
            _check(header, path)
            if header.byte_order is None:
                return read_ascii(file, header, path)[0]
            offset = header.size
            for element in header.elements:
                if element.name == "vertex":
                    break
                offset += element.count * element.fixed_dtype().itemsize
            rows = element.fixed_dtype()
            left = path.stat().st_size - offset
            if element.count * rows.itemsize > left:
                raise MeshError(
                    f"says {element.count} vertices of {rows.itemsize} bytes, {left} bytes are "
                    f"left at byte {offset}",
                    where=path,
                    advice="the file is cut: export it again",
                )
            file.seek(offset)
            table = np.fromfile(file, rows, element.count)
    except OSError as error:
        raise MeshError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    return np.stack([table[name].astype(np.float64) for name in _COORDINATES], axis=1)


def _check(header: Header, path: Path) -> None:
    """Refuse files whose vertices cannot be found by counting bytes."""
    vertex = header.element("vertex")
    plain = vertex is not None and all(
        (found := vertex.find(name)) is not None and found.count_type is None
        for name in _COORDINATES
    )
    before = header.elements[: header.elements.index(vertex) + 1] if plain else []
    if not plain or any(element.has_list for element in before):
        raise MeshError(
            "has no plain vertices with x, y, z", where=path, advice="export the points again"
        )

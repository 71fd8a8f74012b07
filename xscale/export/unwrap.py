"""A mesh cut into pages and each page laid flat: texture coordinates by xatlas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from xscale.errors import SetupError, UsageError
from xscale.gbuffer.clusters import cluster_faces

LARGEST_PAGE = 8192
"""Texels along a page's edge; most viewers and engines take no more."""
_FILLED = 0.6
"""Share of a page that charts usually fill."""
_GROUP = 4000
"""Faces that are cut into charts together; xatlas takes more than proportionally long for more."""
_GUTTER = 4


@dataclass(frozen=True, eq=False)
class Page:
    """A part of the mesh with a texture of its own."""

    vertices: np.ndarray
    """Float32 [V, 3], local frame; repeated where charts meet."""
    normals: np.ndarray
    """Float32 [V, 3], unit."""
    faces: np.ndarray
    """Int32 [F, 3]."""
    texel: np.ndarray
    """Float32 [V, 2], place in the texture in texels, origin at the top left corner."""
    width: int
    height: int


def surface_area(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the areas of faces, float64 [F], square world units."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _xatlas() -> ModuleType:
    try:
        import xatlas
    except ImportError as error:
        raise SetupError(
            "a textured mesh needs xatlas", advice="pip install xscale[export]"
        ) from error
    return xatlas


def unwrap(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, texel_size: float, page: int
) -> Iterator[Page]:
    """Cut a mesh into pages of neighbouring faces and lay each flat.

    Args:
        vertices: Float32 [V, 3].
        faces: Int32 [F, 3].
        normals: Float32 [V, 3].
        texel_size: World units that a texel is long.
        page: Largest edge of a page in texels; only a single face may need more.

    Raises:
        SetupError: xatlas is not installed.
        UsageError: A page would be larger than ``LARGEST_PAGE``.
    """
    _ = _xatlas()
    area = surface_area(vertices, faces)
    faces, area = faces[area > 0], area[area > 0]
    order, _, _ = cluster_faces(vertices, faces)
    texels = np.cumsum(area[order]) / texel_size**2
    number = texels / (_FILLED * page * page)
    parts = np.split(order, np.flatnonzero(np.diff(number.astype(int))) + 1)
    while parts:
        part = parts.pop(0)
        made = _page(vertices, faces, normals, texel_size, part)
        if max(made.width, made.height) <= page or len(part) == 1:
            if max(made.width, made.height) > LARGEST_PAGE:
                raise UsageError(
                    f"a texture of {made.width} x {made.height} would be needed, "
                    f"at most {LARGEST_PAGE}",
                    advice="give a larger --texel",
                )
            yield made
            continue
        parts[:0] = np.array_split(part, 2)


def _page(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    texel_size: float,
    part: np.ndarray,
) -> Page:
    """Lay some faces flat."""
    xatlas = _xatlas()
    atlas = xatlas.Atlas()
    groups = [part[first : first + _GROUP] for first in range(0, len(part), _GROUP)]
    used = []
    for group in groups:
        rows, inverse = np.unique(faces[group], return_inverse=True)
        atlas.add_mesh(vertices[rows], inverse.reshape(-1, 3).astype(np.uint32))
        used.append(rows)
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    pack.padding = _GUTTER
    pack.texels_per_unit = 1 / texel_size
    pack.resolution = 0
    pack.rotate_charts_to_axis = True
    atlas.generate(charts, pack)
    size = (max(int(atlas.width), 1), max(int(atlas.height), 1))
    rows, corners, texels_at, first = [], [], [], 0
    for number, group_rows in enumerate(used):
        mapping, triangles, uv = atlas.get_mesh(number)
        rows.append(group_rows[mapping])
        corners.append(triangles.astype(np.int32) + first)
        texels_at.append(uv.astype(np.float32) * np.float32(size))
        first += len(mapping)
    row = np.concatenate(rows)
    return Page(
        vertices[row],
        normals[row],
        np.concatenate(corners),
        np.concatenate(texels_at),
        *size,
    )

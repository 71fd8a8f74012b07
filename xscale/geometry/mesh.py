"""A triangle mesh in local coordinates, its normals and its size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xscale.errors import LimitError, MeshError
from xscale.geometry.bounds import Bounds

_BLOCK = 1 << 20
_EDGE_SAMPLE = 200_000
_LARGEST = 1e12
_MOST_VERTICES = (1 << 31) - 1
_MIX = tuple(np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def check_indices(faces: np.ndarray, vertices: int, where: object, first: int = 0) -> None:
    """Refuse faces that name a vertex which is not there; nothing later checks again.

    Args:
        faces: Integers [F, 3] of any width.
        vertices: How many vertices there are.
        where: File, for the error.
        first: Number of the first of these faces in the file, for the error.

    Raises:
        MeshError: An index is negative or too large.
    """
    for start in range(0, len(faces), _BLOCK):
        block = faces[start : start + _BLOCK]
        if not block.size or (int(block.min()) >= 0 and int(block.max()) < vertices):
            continue
        row, column = np.argwhere((block < 0) | (block >= vertices))[0]
        raise MeshError(
            f"face {first + start + row} names vertex {block[row, column]} of {vertices}",
            where=where,
            advice="the file is cut or was edited: export it again",
        )


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the mesh's local frame: world coordinates minus ``origin``."""

    vertices: np.ndarray
    """float32 [V, 3], local. Vertices that no face uses and that were not finite are zero."""
    faces: np.ndarray
    """int32 [F, 3], rows of ``vertices``, in the file's order."""
    origin: np.ndarray
    """float64 [3], world: centre of the box around the vertices that faces use."""

    @classmethod
    def from_world(
        cls, vertices: np.ndarray, faces: np.ndarray, *, where: object | None = None
    ) -> Mesh:
        """Recentre in float64, then keep float32, so that 5,000,000 m offsets cost no detail.

        Args:
            vertices: [V, 3] in the scene's frame, float64 or float32.
            faces: Integers [F, 3], rows of ``vertices``.
            where: File, for the error.

        Raises:
            MeshError: No face, an index out of range, a used vertex that is not finite, or no
                face with an area.
            LimitError: More vertices than 32-bit indices can name.
        """
        vertices = np.asarray(vertices).reshape(-1, 3)
        faces = np.asarray(faces).reshape(-1, 3)
        if len(vertices) > _MOST_VERTICES:
            raise LimitError(f"{len(vertices)} vertices, at most {_MOST_VERTICES}", where=where)
        if not len(faces):
            raise MeshError(
                "the mesh has no faces",
                where=where,
                advice="export a triangle mesh, not a point cloud",
            )
        check_indices(faces, len(vertices), where)
        used = _used(faces, len(vertices))
        bad = used & ~_finite(vertices)
        if bad.any():
            vertex = int(np.argmax(bad))
            raise MeshError(
                f"vertex {vertex} is {tuple(float(v) for v in vertices[vertex])} and "
                f"{int(bad.sum())} such vertices are used by faces",
                where=where,
                advice="export it again, or leave such faces out with --mesh-repair drop-bad-faces",
            )
        low, high = _limits(vertices, used)
        origin = (low.astype(np.float64) + high.astype(np.float64)) / 2
        local = np.empty((len(vertices), 3), np.float32)
        for start in range(0, len(vertices), _BLOCK):
            rows = slice(start, start + _BLOCK)
            shifted = np.where(used[rows, None], vertices[rows] - origin, 0.0)
            if np.abs(shifted).max(initial=0.0) > _LARGEST:
                raise MeshError(
                    f"the mesh is {np.abs(shifted).max():.3g} units large, at most {_LARGEST:g}",
                    where=where,
                    advice="remove stray vertices or choose a larger unit",
                )
            local[rows] = shifted
        return cls(local, np.ascontiguousarray(faces, dtype=np.int32), origin)

    @cached_property
    def bounds(self) -> Bounds:
        """Box around the vertices that faces use: ``(lo, hi)``, float32 [3] each, local."""
        return Bounds(*_limits(self.vertices, _used(self.faces, len(self.vertices))))

    @property
    def world_bounds(self) -> Bounds:
        """The same box in the scene's frame, float64."""
        return Bounds(self.bounds.lo + self.origin, self.bounds.hi + self.origin)

    @cached_property
    def normals(self) -> np.ndarray:
        """Vertex normals, float32 [V, 3]: face normals weighted by area, unit length.

        Zero where no face with an area meets the vertex, or where its faces cancel out. They
        follow the winding of the faces and are not flipped towards any camera.
        """
        total = np.zeros((len(self.vertices), 3))
        for start in range(0, len(self.faces), _BLOCK):
            faces = self.faces[start : start + _BLOCK]
            a, b, c = (self.vertices[faces[:, k]].astype(np.float64) for k in range(3))
            # The cross product's length is twice the area: summing it unscaled is the weighting.
            normal = np.cross(b - a, c - a)
            corners = faces.reshape(-1)
            for axis in range(3):
                weights = np.repeat(normal[:, axis], 3)
                total[:, axis] += np.bincount(corners, weights, minlength=len(total))
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(
            np.float32
        )

    @cached_property
    def median_edge(self) -> float:
        """Median length of an edge, world units, from at most 200,000 evenly spread faces."""
        faces = self.faces[:: max(1, len(self.faces) // _EDGE_SAMPLE)]
        corners = self.vertices[faces].astype(np.float64)
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        return float(np.median(edges))

    @cached_property
    def degenerate(self) -> int:
        """How many faces have two equal corners or no area at all."""
        count = 0
        for start in range(0, len(self.faces), _BLOCK):
            a, b, c = (
                self.vertices[self.faces[start : start + _BLOCK, k]].astype(np.float64)
                for k in range(3)
            )
            count += int((np.cross(b - a, c - a) == 0).all(axis=1).sum())
        return count

    @cached_property
    def unreferenced(self) -> int:
        """How many vertices no face uses."""
        return int((~_used(self.faces, len(self.vertices))).sum())

    @cached_property
    def duplicates(self) -> int:
        """How many faces have the same three vertices as a face before them, in any order.

        They are legal; where faces coincide the lower face id wins.
        """
        keys = np.empty(len(self.faces), np.uint64)
        for start in range(0, len(self.faces), _BLOCK):
            rows = slice(start, start + _BLOCK)
            low, middle, high = np.sort(self.faces[rows], axis=1).astype(np.uint64).T
            # 93 bits into 64: two faces of one key are told apart below.
            keys[rows] = (low * _MIX[0]) ^ (middle * _MIX[1]) ^ (high * _MIX[2])
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        alike = np.unique(np.concatenate([order[same], order[same + 1]]))
        corners = np.sort(self.faces[alike], axis=1)
        return len(corners) - len(np.unique(corners, axis=0))


def _finite(vertices: np.ndarray) -> np.ndarray:
    """Mark vertices that are finite, bool [V]."""
    finite = np.empty(len(vertices), bool)
    for start in range(0, len(vertices), _BLOCK):
        rows = slice(start, start + _BLOCK)
        finite[rows] = np.isfinite(vertices[rows]).all(axis=1)
    return finite


def _limits(vertices: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the box (low, high) around the used vertices, without copying them all."""
    blocks = (slice(k, k + _BLOCK) for k in range(0, len(vertices), _BLOCK))
    kept = (vertices[rows][used[rows]] for rows in blocks)
    pairs = [(block.min(axis=0), block.max(axis=0)) for block in kept if len(block)]
    return np.min([low for low, _ in pairs], axis=0), np.max([high for _, high in pairs], axis=0)


def _used(faces: np.ndarray, vertices: int) -> np.ndarray:
    """Mark the vertices that faces use, bool [V]."""
    used = np.zeros(vertices, dtype=bool)
    for start in range(0, len(faces), _BLOCK):
        used[faces[start : start + _BLOCK].reshape(-1)] = True
    return used

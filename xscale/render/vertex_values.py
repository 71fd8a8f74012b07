"""Values at the mesh's vertices, and between them: what is too slow to compute for every pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xscale.errors import IntegrityError, StorageError
from xscale.gbuffer.gbuffer import Surface
from xscale.render.sight import Sight
from xscale.run.folder import PHOTO_COUNTS

if TYPE_CHECKING:
    from xscale.render.run import Run

_CHUNK = 1 << 18
_LEAST_PHOTOS = 0.5
"""As in ``expected_error``."""


def interpolated(surface: Surface, values: Tensor, face_id: Tensor, position: Tensor) -> Tensor:
    """Return vertex values between the corners of faces, float32 [N].

    Args:
        surface: The mesh.
        values: Float32 [V].
        face_id: Int32 [N], the faces that the points lie on.
        position: Float32 [N, 3], local frame.
    """
    # Rows of one array: three look-ups a point instead of twelve.
    rows = torch.cat([surface.vertices, values[:, None]], 1)
    corner = surface.faces.index_select(0, face_id.long()).long()
    first, second, third = (rows.index_select(0, corner[:, k]) for k in range(3))
    one, other = second[:, :3] - first[:, :3], third[:, :3] - first[:, :3]
    away = position - first[:, :3]
    a, b, c = ((x * y).sum(1) for x, y in ((one, one), (one, other), (other, other)))
    d, e = ((away * side).sum(1) for side in (one, other))
    area = (a * c - b * b).clamp_(min=1e-30)
    u, v = ((c * d - b * e) / area).clamp_(0, 1), ((a * e - b * d) / area).clamp_(0, 1)
    v = torch.minimum(v, 1 - u)
    return first[:, 3] + u * (second[:, 3] - first[:, 3]) + v * (third[:, 3] - first[:, 3])


def photo_counts(
    surface: Surface, views: list[Sight], check: Callable[[], None] = lambda: None
) -> Tensor:
    """Return in how many photos each vertex is seen, float32 [V].

    Args:
        surface: The mesh.
        views: What the training cameras see.
        check: Called between parts of the work; may raise to give it up.
    """
    vertices = surface.vertices.cpu().numpy()
    total = torch.zeros(len(vertices))
    for first in range(0, len(vertices), _CHUNK):
        part = vertices[first : first + _CHUNK]
        for view in views:
            check()
            total[first : first + _CHUNK] += torch.from_numpy(view.sees(part)).float()
    return total.to(surface.vertices.device)


def run_photo_counts(run: Run, check: Callable[[], None] = lambda: None) -> Tensor:
    """Return in how many training photos each vertex of a run is seen, from its folder or made now.

    A folder that cannot be written keeps nothing; the counts are then made again the next time.

    Args:
        run: The opened run.
        check: As for ``photo_counts``.
    """
    key = _counts_key(run)
    if run.folder.has(PHOTO_COUNTS):
        try:
            arrays = run.folder.read(PHOTO_COUNTS)
            counts, stored = arrays.get("counts"), arrays.get("key")
            if stored is not None and np.array_equal(stored, key):
                if counts is None or counts.shape != (len(run.surface.vertices),):
                    raise IntegrityError("holds no count for every vertex")
                return torch.from_numpy(counts.astype(np.float32)).to(run.device)
        except IntegrityError as error:
            run.warnings.append(f"W-PHOTO-COUNTS: they are counted again: {error}")
    counts = photo_counts(run.surface, run.views, check)
    arrays = {"counts": counts.cpu().numpy().astype(np.int32), "key": key}
    try:
        run.folder.write(PHOTO_COUNTS, arrays, run.manifest.run)
    except StorageError as error:
        run.warnings.append(f"W-PHOTO-COUNTS: they were not kept: {error}")
    return counts


def _counts_key(run: Run) -> np.ndarray:
    """Return a hash of what counts depend on, uint8 [32]: the cameras and the mesh as trained."""
    digest = hashlib.sha256()
    for name in run.names("train"):
        camera = run.camera(name)
        digest.update(camera.packed().tobytes() + bytes(f"{camera.width}x{camera.height}", "ascii"))
    # Every vertex of a mesh that was moved differs a little; a few hundred tell.
    vertices = run.surface.vertices
    some = vertices[:: max(1, len(vertices) // 500)].cpu().numpy()
    digest.update(some.tobytes() + bytes(str(len(vertices)), "ascii"))
    return np.frombuffer(digest.digest(), np.uint8)


def expected_errors(residuals: Tensor, counts: Tensor) -> Tensor:
    """Return how far colours at vertices are likely to be off, float32 [V].

    Args:
        residuals: Float32 [V], see ``xscale.render.uncertainty``.
        counts: Float32 [V], photos that see each vertex.
    """
    return residuals * (1 + 1 / counts.clamp(min=_LEAST_PHOTOS))

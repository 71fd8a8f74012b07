"""The types of this stage: the mesh ready for the ops, and the G-buffer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Surface:
    """A mesh as the ops want it, in its local frame."""

    vertices: Tensor
    """Float32 [V, 3]."""
    faces: Tensor
    """Int32 [F, 3], file order: what face ids count."""
    normals: Tensor
    """Float32 [V, 3], unit."""
    cluster_faces: Tensor
    """Int32 [F, 3], sorted into clusters of neighbours."""
    cluster_face_ids: Tensor
    """Int32 [F], file row of each sorted face."""
    cluster_start: Tensor
    """Int32 [C + 1]."""
    cluster_box: Tensor
    """Float32 [C, 6]."""


@dataclass(frozen=True, eq=False)
class GBuffer:
    """Surface points of covered pixels or of rays, struct of arrays."""

    position: Tensor
    """Float32 [N, 3], local frame."""
    normal: Tensor
    """Float32 [N, 3], unit; empty [0, 3] where not asked for."""
    direction: Tensor
    """Float32 [N, 3], unit, camera to point."""
    footprint: Tensor
    """Float32 [N], world units."""
    depth: Tensor
    """Float32 [N], camera z; for wide lenses (fisheyes, equirectangular) the distance."""
    pixel_index: Tensor | None = None
    """Int64 [N], row-major in the rectangle (frames only)."""

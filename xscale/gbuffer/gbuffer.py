"""The types of this stage: the mesh ready for the ops, and the G-buffer."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    cluster_points: Tensor
    """Float32 [M, 3], the vertices of each cluster of neighbouring faces, cluster by cluster."""
    cluster_face_ids: Tensor
    """Int32 [F], file row of each sorted face."""
    cluster_start: Tensor
    """Int32 [C + 1], first sorted face of each cluster."""
    cluster_point_start: Tensor
    """Int32 [C + 1], first point of each cluster."""
    cluster_box: Tensor
    """Float32 [C, 6]."""
    cluster_corners: Tensor
    """Uint16 [F, 3], the sorted faces as rows of their cluster's points. The last but bytes: what
    followed it in a file would not be aligned."""
    sides: Tensor | None = None
    """Uint8 [F], sides of each face that are surface, bits of ``ops.FRONT`` and ``ops.BACK``
    (``xscale.gbuffer.sides``); None: both of all."""

    def two_sided(self) -> Surface:
        """Return the surface with both sides of every face, as a solid that hides and is met."""
        return self if self.sides is None else replace(self, sides=None)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by field, those that exist."""
        return {name: value for name, value in vars(self).items() if value is not None}


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
    face_id: Tensor | None = None
    """Int32 [N], the face that each point lies on."""
    pixel_index: Tensor | None = None
    """Int64 [N], row-major in the rectangle (frames only)."""

"""sides: from which side each pixel sees its face, and which pixels that leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._rays import dot
from xscale.ops.rasterize import CAMERA_SIZE, camera_points, cross

FRONT, BACK = 1, 2
BOTH = FRONT | BACK
"""Sides of a face, as bits; 0 is none."""


def sides(
    vertices: Tensor,
    faces: Tensor,
    normals: Tensor,
    camera: Tensor,
    face_id: Tensor,
    allowed: Tensor | None = None,
    *,
    side: bool = True,
) -> tuple[Tensor | None, Tensor]:
    """Tell from which side pixels see their faces, and leave out sides that are not surface.

    A face is seen from behind where both its winding (counter-clockwise in front) and the sum of
    its vertex normals point away from the camera: small faces that are folded over within a
    surface count as the side around them.

    Args:
        vertices: Float32 [V, 3], local frame.
        faces: Int32 [F, 3] in the order that ``face_id`` counts.
        normals: Float32 [V, 3], unit.
        camera: Float64 [32], packed, mapping the same local frame.
        face_id: Int32 [...], -1 for none.
        allowed: Uint8 [F], the sides of each face that are surface; None: both of all.
        side: Whether the sides are wanted.

    Returns:
        The side that each pixel sees, uint8 [...], ``FRONT``, ``BACK`` or 0 for none (None where it
        is not wanted); and the face ids, -1 where the side that is seen is not allowed.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    check_tensor("sides", "vertices", vertices, ("vertices", 3), (torch.float32,))
    device = vertices.device
    check_tensor("sides", "faces", faces, ("faces", 3), (torch.int32,), device)
    check_tensor("sides", "normals", normals, (len(vertices), 3), (torch.float32,), device)
    check_tensor("sides", "camera", camera, (CAMERA_SIZE,), (torch.float64,), device)
    check_tensor("sides", "face_id", face_id, tuple(face_id.shape), (torch.int32,), device)
    if allowed is not None:
        check_tensor("sides", "allowed", allowed, (len(faces),), (torch.uint8,), device)
    if use_reference("sides", device):
        seen, kept = sides_reference(vertices, faces, normals, camera, face_id, allowed)
        return seen if side else None, kept
    seen = torch.empty(face_id.shape, dtype=torch.uint8, device=device) if side else None
    kept = torch.empty_like(face_id)
    _ext.call(
        "sides", device, vertices=vertices, faces=faces, normals=normals, camera=camera,
        face_id=face_id, allowed=allowed, n=face_id.numel(), side=seen, kept=kept,
    )  # fmt: skip
    return seen, kept


def sides_reference(
    vertices: Tensor,
    faces: Tensor,
    normals: Tensor,
    camera: Tensor,
    face_id: Tensor,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Reference of ``sides`` in float64."""
    hit = face_id >= 0
    id_of = face_id.clamp(min=0).long()
    if not len(faces):
        return torch.zeros_like(face_id, dtype=torch.uint8), face_id.clone()
    face = faces[id_of].long()  # [..., 3]
    corners = camera_points(camera, vertices[face])  # [..., 3, 3]
    a, b, c = corners.unbind(-2)
    x, y, z = normals[face].double().unbind(-2)
    summed = (x + y) + z
    rows = camera[:9].reshape(3, 3)
    turned = torch.stack([dot(rows[i].expand_as(summed), summed) for i in range(3)], -1)
    away = (dot(a, cross(b, c)) > 0) & (dot((a + b) + c, turned) > 0)
    seen = torch.where(away, BACK, FRONT).to(torch.uint8) * hit
    if allowed is None:
        return seen, face_id.clone()
    keep = ~hit | ((allowed[id_of] & seen) != 0)
    return seen, torch.where(keep, face_id, -1)

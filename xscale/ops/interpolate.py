"""interpolate: the surface point each pixel's ray hits on a known face, and what belongs to it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._rays import camera_rays, dot
from xscale.ops.rasterize import CAMERA_SIZE, camera_points, cross, edge_normals

_F32 = (torch.float32,)
_I32 = (torch.int32,)


class SurfacePoints(NamedTuple):
    """Surface points of rays; one without a face or direction has zeros and depth +inf."""

    position: Tensor
    """Float32 [N, 3], local frame."""
    normal: Tensor
    """Float32 [N, 3], unit vertex normals interpolated; empty [0, 3] where not asked for."""
    direction: Tensor
    """Float32 [N, 3], unit, camera to point."""
    footprint: Tensor
    """Float32 [N], the pixel's size on the surface, world units."""
    depth: Tensor
    """Float32 [N], camera z; for wide lenses (fisheyes, equirectangular) the distance."""


def interpolate(
    vertices: Tensor,
    faces: Tensor,
    normals: Tensor | None,
    cameras: Tensor,
    camera_index: Tensor,
    pixel: Tensor,
    face_id: Tensor,
) -> SurfacePoints:
    """Intersect pixel rays with the planes of known faces: exact at any sub-pixel position.

    Args:
        vertices: Float32 [V, 3], local frame.
        faces: Int32 [F, 3] in the order that ``face_id`` counts.
        normals: Float32 [V, 3], or None if normals are not wanted.
        cameras: Float64 [C, 32], packed.
        camera_index: Int32 [N], camera of each ray.
        pixel: Float32 [N, 2], continuous (u, v).
        face_id: Int32 [N], -1 for none.

    Returns:
        The surface points. The footprint is the square root of the pixel's solid angle projected
        to the face's plane, with the cosine held above 0.1.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    check_tensor("interpolate", "vertices", vertices, ("vertices", 3), _F32)
    device = vertices.device
    check_tensor("interpolate", "faces", faces, ("faces", 3), _I32, device)
    if normals is not None:
        check_tensor("interpolate", "normals", normals, (len(vertices), 3), _F32, device)
    doubles = (torch.float64,)
    check_tensor("interpolate", "cameras", cameras, ("cameras", CAMERA_SIZE), doubles, device)
    n = len(face_id)
    check_tensor("interpolate", "face_id", face_id, ("rays",), _I32, device)
    check_tensor("interpolate", "camera_index", camera_index, (n,), _I32, device)
    check_tensor("interpolate", "pixel", pixel, (n, 2), _F32, device)
    if use_reference("interpolate", device):
        return interpolate_reference(
            vertices, faces, normals, cameras, camera_index, pixel, face_id
        )
    out = SurfacePoints(
        position=torch.empty(n, 3, device=device),
        normal=torch.empty(0 if normals is None else n, 3, device=device),
        direction=torch.empty(n, 3, device=device),
        footprint=torch.empty(n, device=device),
        depth=torch.empty(n, device=device),
    )
    _ext.call(
        "interpolate", device, normals=normals, n=n, **out._asdict(),
        points={
            "vertices": vertices, "faces": faces, "cameras": cameras,
            "camera_index": camera_index, "pixel": pixel, "face_id": face_id,
        },
    )  # fmt: skip
    return out


def interpolate_reference(
    vertices: Tensor,
    faces: Tensor,
    normals: Tensor | None,
    cameras: Tensor,
    camera_index: Tensor,
    pixel: Tensor,
    face_id: Tensor,
) -> SurfacePoints:
    """Reference of ``interpolate`` in float64."""
    camera = cameras[camera_index.long()]  # [N, 32]
    ray, solid_angle = camera_rays(camera, pixel[:, 0].double(), pixel[:, 1].double())
    hit = (face_id >= 0) & (ray != 0).any(1)
    face = faces[face_id.clamp(min=0).long()].long()  # [N, 3]
    corners = camera_points(camera[:, None], vertices[face])  # [N, 3, 3]
    inward, det = edge_normals(corners)
    e = dot(ray[:, None], inward)
    total = e[:, 0] + e[:, 1] + e[:, 2]
    usable = total != 0
    weights = torch.where(usable[:, None], e / total[:, None], torch.eye(3, device=e.device)[0])
    z = torch.where(usable, det / total, corners[:, 0, 2])
    length = torch.where(hit, dot(ray, ray).sqrt(), 1)
    rotation = camera[:, :9].reshape(-1, 3, 3)
    direction = (rotation * ray[:, :, None]).sum(1) / length[:, None]
    flat = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = dot(flat, flat).sqrt()
    slope = torch.where(area > 0, dot(flat, ray).abs() / (area * length), 1).clamp(min=0.1)
    position = (weights[:, :, None] * vertices[face].double()).sum(1)
    normal = torch.zeros(0, 3, dtype=torch.float64, device=e.device)
    if normals is not None:
        normal = (weights[:, :, None] * normals[face].double()).sum(1)
        normal = normal / normal.norm(dim=1, keepdim=True).clamp(min=1e-300) * hit[:, None]
    return SurfacePoints(
        position=(position * hit[:, None]).float(),
        normal=normal.float(),
        direction=(direction * hit[:, None]).float(),
        footprint=(z * length * solid_angle.sqrt() / slope.sqrt() * hit).float(),
        depth=torch.where(hit, z, float("inf")).float(),
    )

"""rasterize: which face each pixel's centre ray hits first."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops import _ext, _peers
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._rays import camera_rays, dot

_F32 = (torch.float32,)
_I32 = (torch.int32,)
_F64 = (torch.float64,)
CAMERA_SIZE = 32


def rasterize(
    points: Tensor,
    corners: Tensor,
    face_ids: Tensor,
    cluster_start: Tensor,
    point_start: Tensor,
    cluster_box: Tensor,
    camera: Tensor,
    rect: tuple[int, int, int, int],
    offset: tuple[float, float] = (0.5, 0.5),
    *,
    depth: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Find the nearest face in front of the near plane for every pixel of a rectangle.

    Faces are two-sided. A sample exactly on an edge that two faces share belongs to one of them
    (top-left rule). Pixels outside the lens's domain see nothing. Depths are compared in float32;
    ties go to the lower id. The result depends neither on the order of the faces nor on the number
    of threads.

    Args:
        points: Float32 [M, 3], local frame: the vertices of each cluster, cluster by cluster.
        corners: Uint16 [F, 3], faces sorted into clusters, as rows of their cluster's points.
        face_ids: Int32 [F], the id to report for each row of ``corners``.
        cluster_start: Int32 [C + 1], first face of each cluster.
        point_start: Int32 [C + 1], first point of each cluster.
        cluster_box: Float32 [C, 6], low and high corner of each cluster.
        camera: Float64 [32], packed, mapping the same local frame.
        rect: (left, top, width, height) in pixels.
        offset: Sample position inside a pixel; (0.5, 0.5) is its centre.
        depth: Whether depths are wanted.

    Returns:
        Face id int32 [height, width], -1 where nothing is hit; camera z float32, +inf there. For
        wide lenses (fisheyes, equirectangular) the distance takes the place of z. None where depths
        are not wanted.

    Raises:
        ShapeError: An argument has another shape, dtype or device.

    Source: Olano and Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", 1997.
    """
    check_tensor("rasterize", "points", points, ("points", 3), _F32)
    device = points.device
    check_tensor("rasterize", "corners", corners, ("faces", 3), (torch.uint16,), device)
    check_tensor("rasterize", "face_ids", face_ids, (len(corners),), _I32, device)
    check_tensor("rasterize", "cluster_start", cluster_start, ("starts",), _I32, device)
    clusters = len(cluster_start) - 1
    check_tensor("rasterize", "point_start", point_start, (clusters + 1,), _I32, device)
    check_tensor("rasterize", "cluster_box", cluster_box, (clusters, 6), _F32, device)
    check_tensor("rasterize", "camera", camera, (CAMERA_SIZE,), _F64, device)
    theirs = _peers.plugin("rasterizer")
    if theirs is not None or use_reference("rasterize", device):
        starts = point_start[:-1].repeat_interleave(cluster_start.diff())
        faces = corners.int() + starts[:, None]
        body = theirs or rasterize_reference
        face_id, z = body(points, faces, face_ids, camera, rect, offset)
        return face_id, z if depth else None
    left, top, width, height = rect
    face_id = torch.empty(height, width, dtype=torch.int32, device=device)
    z = torch.empty(height, width, dtype=torch.float32, device=device) if depth else None
    _ext.call(
        "rasterize", device, points=points, corners=corners, face_ids=face_ids,
        cluster_start=cluster_start, point_start=point_start, cluster_box=cluster_box,
        clusters=clusters, camera=camera, left=left, top=top, width=width, height=height,
        offset_x=offset[0], offset_y=offset[1], face_id=face_id, depth=z,
    )  # fmt: skip
    return face_id, z


def camera_points(camera: Tensor, points: Tensor) -> Tensor:
    """Return camera-space points float64 [..., 3] of local points, in the kernels' order."""
    x, y, z = points.double().unbind(-1)
    rows = [
        camera[..., 3 * i] * x
        + camera[..., 3 * i + 1] * y
        + camera[..., 3 * i + 2] * z
        + camera[..., 9 + i]
        for i in range(3)
    ]
    return torch.stack(rows, -1)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return a x b with products and differences rounded as the kernels round them."""
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def edge_normals(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return edge normals [..., 3 edges, 3] turned inwards and det [...] of corners [..., 3, 3]."""
    a, b, c = corners.unbind(-2)
    normals = torch.stack([cross(b, c), cross(c, a), cross(a, b)], -2)
    det = dot(a, normals[..., 0, :])
    sign = torch.where(det < 0, -1.0, 1.0)
    return normals * sign[..., None, None], det * sign


def rasterize_reference(
    vertices: Tensor,
    faces: Tensor,
    face_ids: Tensor,
    camera: Tensor,
    rect: tuple[int, int, int, int],
    offset: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Reference of ``rasterize``: every face against every pixel, in float64."""
    left, top, width, height = rect
    device = vertices.device
    row, column = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    u = left + column.reshape(-1).double() + offset[0]
    v = top + row.reshape(-1).double() + offset[1]
    rays, _ = camera_rays(camera, u, v)  # [P, 3]
    best = torch.full((height * width,), float("inf"), dtype=torch.float32, device=device)
    best_id = torch.full((height * width,), -1, dtype=torch.int32, device=device)
    points = camera_points(camera, vertices)
    block = max(1, (1 << 22) // max(len(rays), 1))
    order = torch.argsort(face_ids, stable=True)
    for chunk in order.split(block):
        normals, det = edge_normals(points[faces[chunk].long()])
        n = normals[:, None]  # [B, 1, 3, 3]
        e = dot(rays[None, :, None, :], n)  # [B, P, 3]
        zero_in = (n[..., 0] > 0) | ((n[..., 0] == 0) & (n[..., 1] > 0))
        inside = ((e > 0) | ((e == 0) & zero_in)).all(-1)
        total = e[..., 0] + e[..., 1] + e[..., 2]
        valid = ((det != 0) & det.isfinite())[:, None]
        z = torch.where(inside & valid & (total > 0), det[:, None] / total, 0)
        z = torch.where(z > camera[17], z, float("inf")).float()
        z, first = z.min(0)
        # argmin may give any of equal depths: take the lowest id among them.
        better = z < best
        best = torch.where(better, z, best)
        best_id = torch.where(better, face_ids[chunk][first], best_id)
    return best_id.reshape(height, width), best.reshape(height, width)

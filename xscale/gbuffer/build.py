"""build_gbuffer: the only function that turns a mesh and a camera into pixels."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.clusters import cluster_mesh
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.mesh import Mesh

Rect = tuple[int, int, int, int]


_built: WeakKeyDictionary[Mesh, dict[str, Surface]] = WeakKeyDictionary()


def build_surface(mesh: Mesh, device: torch.device | str = "cpu") -> Surface:
    """Cluster a mesh and put it on a device; what was built is shared while the mesh lives."""
    built = _built.setdefault(mesh, {})
    if str(device) not in built:
        built[str(device)] = _build(mesh, device)
    return built[str(device)]


def _build(mesh: Mesh, device: torch.device | str) -> Surface:
    clusters = cluster_mesh(mesh)

    def tensor(array: np.ndarray) -> Tensor:
        # Arrays of the scene are read-only; the ops only read them too, torch wants to be sure.
        array = np.ascontiguousarray(array)
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)

    return Surface(
        vertices=tensor(mesh.vertices),
        faces=tensor(np.asarray(mesh.faces, np.int32)),
        normals=tensor(mesh.normals),
        cluster_points=tensor(clusters.points),
        cluster_corners=tensor(clusters.corners),
        cluster_face_ids=tensor(clusters.face_ids),
        cluster_start=tensor(clusters.start),
        cluster_point_start=tensor(clusters.point_start),
        cluster_box=tensor(clusters.box),
    )


def visibility(
    surface: Surface,
    camera: Tensor,
    width: int,
    height: int,
    rect: Rect | None = None,
    offset: tuple[float, float] = (0.5, 0.5),
) -> Tensor:
    """Return the face id int32 [h, w] that each pixel of a rectangle sees, -1 for none.

    Args:
        surface: The mesh.
        camera: Float64 [32], packed, in the surface's frame.
        width: Of the whole picture.
        height: Of the whole picture.
        rect: (left, top, width, height); None is the whole picture.
        offset: Sample position inside a pixel.
    """
    return _rasterized(surface, camera, rect or (0, 0, width, height), offset, depth=False)[0]


def visible_depths(
    surface: Surface, camera: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Return the face ids int32 [h, w] and depths float32 [h, w] of a whole picture.

    Depths are those of ``ops.rasterize``: +inf where nothing is hit. The arguments are those of
    ``visibility``.
    """
    return _rasterized(surface, camera, (0, 0, width, height), (0.5, 0.5), depth=True)


def _rasterized(
    surface: Surface, camera: Tensor, rect: Rect, offset: tuple[float, float], *, depth: bool
) -> tuple[Tensor, Tensor | None]:
    return ops.rasterize(
        surface.cluster_points,
        surface.cluster_corners,
        surface.cluster_face_ids,
        surface.cluster_start,
        surface.cluster_point_start,
        surface.cluster_box,
        camera,
        rect,
        offset,
        depth=depth,
    )


def surface_samples(
    surface: Surface,
    cameras: Tensor,
    camera_index: Tensor,
    pixel: Tensor,
    face_id: Tensor,
    *,
    normals: bool = False,
) -> GBuffer:
    """Return the surface points of single rays whose faces are known.

    Args:
        surface: The mesh.
        cameras: Float64 [C, 32], packed.
        camera_index: Int32 [N].
        pixel: Float32 [N, 2], continuous (u, v).
        face_id: Int32 [N].
        normals: Whether normals are wanted.
    """
    points = ops.interpolate(
        surface.vertices,
        surface.faces,
        surface.normals if normals else None,
        cameras,
        camera_index,
        pixel,
        face_id,
    )
    return GBuffer(**points._asdict(), face_id=face_id)


def pixel_samples(
    surface: Surface,
    camera: Tensor,
    face_id: Tensor,
    corner: tuple[int, int] = (0, 0),
    offset: tuple[float, float] = (0.5, 0.5),
) -> GBuffer:
    """Return the surface points of a rectangle's covered pixels whose faces are known.

    Args:
        surface: The mesh.
        camera: Float64 [32], packed, in the surface's frame.
        face_id: Int32 [h, w], see ``visibility``.
        corner: Left and top pixel of the rectangle.
        offset: Sample position inside a pixel.
    """
    columns = face_id.shape[1]
    flat = face_id.reshape(-1)
    index = (flat >= 0).nonzero().squeeze(1)
    u = corner[0] + index % columns + offset[0]
    v = corner[1] + index // columns + offset[1]
    faces = flat[index]
    points = ops.interpolate(
        surface.vertices,
        surface.faces,
        surface.normals,
        camera[None].contiguous(),
        torch.zeros(len(index), dtype=torch.int32, device=index.device),
        torch.stack([u, v], 1).float(),
        faces,
    )
    return GBuffer(**points._asdict(), face_id=faces, pixel_index=index)


def build_gbuffer(
    surface: Surface,
    camera: Tensor,
    width: int,
    height: int,
    rect: Rect | None = None,
    offset: tuple[float, float] = (0.5, 0.5),
) -> tuple[GBuffer, Tensor]:
    """Return the covered pixels' surface points and the coverage bool [h, w] of a rectangle.

    The arguments are those of ``visibility``.
    """
    left, top, *_ = rect or (0, 0, width, height)
    face_id = visibility(surface, camera, width, height, rect, offset)
    return pixel_samples(surface, camera, face_id, (left, top), offset), face_id >= 0

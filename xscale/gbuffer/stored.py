"""A surface from a file: every index is checked before native code follows it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from xscale.errors import IntegrityError
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.clusters import CLUSTER_FACES
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.mesh import Mesh

_TYPES = {
    "vertices": (np.float32, 2, 3),
    "faces": (np.int32, 2, 3),
    "normals": (np.float32, 2, 3),
    "cluster_points": (np.float32, 2, 3),
    "cluster_face_ids": (np.int32, 1, None),
    "cluster_start": (np.int32, 1, None),
    "cluster_point_start": (np.int32, 1, None),
    "cluster_box": (np.float32, 2, 6),
    "cluster_corners": (np.uint16, 2, 3),
}
"""By field: type, dimensions, and size of the last one where it is fixed."""


def stored_surface(
    arrays: Mapping[str, np.ndarray],
    device: torch.device | str,
    where: object,
    origin: np.ndarray | None = None,
) -> Surface:
    """Return the surface that arrays by field hold.

    Args:
        arrays: Of all fields of ``Surface``; without ``sides`` both of every face are surface.
        device: Where it is wanted.
        where: Their file, for errors.
        origin: World position of the local frame's origin. Given one, vertices and faces are
            enough: a run of version 0.1.0 before clusters with their points were kept.

    Raises:
        IntegrityError: A field is missing, has another type or shape, or an index leads out of
            what it counts.
    """
    if origin is not None and "cluster_points" not in arrays:
        try:
            mesh = Mesh(vertices=arrays["vertices"], faces=arrays["faces"], origin=origin.copy())
        except KeyError as error:
            raise IntegrityError(f"lacks the mesh's {error.args[0]}", where=where) from error
        return build_surface(mesh, device)
    for name, (kind, dimensions, last) in _TYPES.items():
        array = arrays.get(name)
        fits = array is not None and array.dtype == kind and array.ndim == dimensions
        if not fits or (last is not None and array.shape[-1] != last):
            _refuse(f"its {name} is missing or has another type or shape", where)
    check_indices(arrays, where)
    surface = {name: torch.from_numpy(arrays[name]).to(device) for name in _TYPES}
    if (sides := arrays.get("sides")) is not None:
        if sides.dtype != np.uint8 or sides.shape != arrays["faces"].shape[:1]:
            _refuse("its sides have another type or shape", where)
        surface["sides"] = torch.from_numpy(sides).to(device)
    return Surface(**surface)


def check_indices(arrays: Mapping[str, np.ndarray], where: object) -> None:
    """Refuse indices that lead out of what they count; arguments and errors of the above."""
    faces, vertices = len(arrays["faces"]), len(arrays["vertices"])
    start, point_start = arrays["cluster_start"], arrays["cluster_point_start"]
    points, ids = len(arrays["cluster_points"]), arrays["cluster_face_ids"]
    if len(arrays["normals"]) != vertices or len(ids) != faces:
        _refuse("its parts have different lengths", where)
    if len(arrays["cluster_corners"]) != faces or len(start) != len(point_start):
        _refuse("its parts have different lengths", where)
    if len(start) != len(arrays["cluster_box"]) + 1:
        _refuse("its parts have different lengths", where)
    if faces and not _within(arrays["faces"], vertices):
        _refuse(f"a face names a vertex beyond its {vertices}", where)
    if faces and not _within(ids, faces):
        _refuse(f"a cluster names a face beyond its {faces}", where)
    for ends, count in ((start, faces), (point_start, points)):
        if ends[0] != 0 or ends[-1] != count or (np.diff(ends) < 0).any():
            _refuse("its clusters do not follow one another", where)
    sizes = np.diff(start)
    if len(sizes) and sizes.max() > CLUSTER_FACES:
        _refuse(f"a cluster has more than {CLUSTER_FACES} faces", where)
    if faces:
        most = np.repeat(np.diff(point_start), sizes)
        if (arrays["cluster_corners"].max(axis=1) >= most).any():
            _refuse("a cluster's face names a point beyond its own", where)


def _within(index: np.ndarray, count: int) -> bool:
    return bool(index.min() >= 0 and index.max() < count)


def _refuse(what: str, where: object) -> None:
    raise IntegrityError(
        f"is damaged: {what}", where=where, advice="restore the folder from a copy, or train again"
    )

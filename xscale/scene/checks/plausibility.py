"""Plausibility checks: do cameras, mesh and sparse points belong to one world?

Only samples are looked at, so that a scene of thousands of photos is judged in seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xscale.errors import MeshError, SceneError
from xscale.geometry.bounds import box_of
from xscale.geometry.lens import Projection
from xscale.scene.layouts.views import some

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.geometry.mesh import Mesh
    from xscale.scene.photo import Photo

_MOST_CAMERAS = 64
_FEW_VERTICES, _MOST_VERTICES, _MANY_VERTICES = 2_000, 20_000, 400_000
_FACE_BUDGET = 50_000_000
_LEAST_CAMERAS = 5
_CELLS = 16
_RAYS = 16
_LEAST_COVERAGE, _USUAL_COVERAGE = 0.01, 0.1
_LEAST_POINTS = 100
_RAY_BLOCK = 1 << 20
_FACE_BLOCK = 1 << 18
_FOCAL_RATIO = 1.5
_CENTRE_MARGIN = 0.2
_FAR_OUT = 100
_LEAST_PARALLAX = 1e-3


def check_cameras(photos: Sequence[Photo]) -> list[str]:
    """Remark on calibrations that are legal but unusual."""
    odd = []
    for photo in photos:
        camera = photo.camera
        ratio = max(camera.fx, camera.fy) / min(camera.fx, camera.fy)
        inside = all(
            -_CENTRE_MARGIN < centre / size < 1 + _CENTRE_MARGIN
            for centre, size in ((camera.cx, camera.width), (camera.cy, camera.height))
        )
        if ratio > _FOCAL_RATIO or not inside:
            odd.append(photo.name)
    if not odd:
        return []
    return [
        "W-CAMERA-ODD: focal lengths differ by more than 1.5 or the principal point lies outside "
        f"the picture: {some(odd)}"
    ]


def check_parallax(cameras: Sequence[Camera], mesh: Mesh) -> list[str]:
    """Remark on cameras that all stand at one place, seen from the mesh."""
    positions = np.array([camera.position for camera in cameras])
    away = np.median(np.linalg.norm(positions - mesh.world_bounds.centre, axis=1))
    if box_of(positions).diagonal > _LEAST_PARALLAX * away:
        return []
    return [
        f"W-CAMERA-PARALLAX: all {len(cameras)} cameras stand at one place: how the surface looks "
        "from elsewhere cannot be learned"
    ]


def check_mesh(mesh: Mesh, where: object) -> list[str]:
    """Remark on faces without area.

    Raises:
        MeshError: No face has an area.
    """
    degenerate = mesh.degenerate
    if degenerate == len(mesh.faces):
        raise MeshError(
            f"none of the {degenerate} faces has an area", where=where, advice="export it again"
        )
    found = []
    if degenerate:
        found.append(
            f"W-MESH-DEGENERATE: {degenerate} of {len(mesh.faces)} faces have no area; they are "
            "never seen"
        )
    return [*found, *_outliers(mesh)]


def _outliers(mesh: Mesh) -> list[str]:
    """Remark on a few vertices so far out that the mesh's box says nothing about the mesh."""
    used = mesh.faces[_spread(len(mesh.faces), _MOST_VERTICES)].reshape(-1)
    middle = box_of(np.percentile(mesh.vertices[used], (0.1, 99.9), axis=0).astype(np.float64))
    whole = mesh.bounds
    if not middle.diagonal or whole.diagonal < _FAR_OUT * middle.diagonal:
        return []
    away = np.abs(mesh.vertices - middle.centre.astype(np.float32)).max(axis=1)
    vertex = int(np.argmax(away))
    place = tuple(float(x) for x in mesh.vertices[vertex] + mesh.origin)
    return [
        f"W-MESH-FAR: the mesh's box is over {_FAR_OUT} times as large as 99.8 % of its vertices; "
        f"vertex {vertex} at {place} is the farthest: remove stray parts"
    ]


def check_views(
    cameras: Sequence[Camera], mesh: Mesh, where: object, advice: str | None = None
) -> list[str]:
    """Refuse a scene whose cameras do not see its mesh, remark on one whose cameras hardly do.

    The measure is the share of the picture that the mesh covers, not the share of the mesh that a
    picture shows: a close-up of a city sees little of the city and is right.

    Args:
        cameras: In the scene's frame, at least one.
        mesh: The mesh.
        where: The scene, for the error.
        advice: What to do about it, where the layout has a usual cause.

    Raises:
        SceneError: In the median over cameras, under 1 % of the picture is covered.
    """
    # Casting rays at 20 M faces takes seconds a camera: the larger the mesh, the fewer are asked.
    most = max(_LEAST_CAMERAS, _affordable(mesh))
    chosen = [cameras[i].recentred(mesh.origin) for i in _spread(len(cameras), most)]
    shares = _shares_by_vertices(chosen, mesh)
    # Vertices miss the picture of a close-up that lies inside one triangle: there, rays decide.
    unsure = np.flatnonzero(shares < _USUAL_COVERAGE)
    if 2 * len(unsure) < len(chosen):
        return []
    by_rays = _rays_hit([chosen[k] for k in unsure], mesh, _USUAL_COVERAGE)
    shares[unsure] = np.maximum(shares[unsure], by_rays)
    seen = int((shares >= _LEAST_COVERAGE).sum())
    if 2 * seen <= len(chosen):
        centres = box_of(np.array([camera.position for camera in cameras]))
        raise SceneError(
            f"cameras and mesh do not meet: {len(chosen) - seen} of {len(chosen)} cameras see the "
            f"mesh in under 1 % of their picture; cameras stand in {centres}, the mesh fills "
            f"{mesh.world_bounds}",
            where=where,
            advice=advice or "export mesh and cameras from one project in one coordinate system",
        )
    few = int((shares < _USUAL_COVERAGE).sum())
    if 2 * few < len(chosen):
        return []
    return [
        f"W-CAMERA-COVERAGE: the mesh fills under {_USUAL_COVERAGE:.0%} of the picture of {few} of "
        f"{len(chosen)} cameras: is it in their unit and place, and all of it there?"
    ]


def check_outliers(photos: Sequence[Photo], mesh: Mesh) -> tuple[list[str], list[str]]:
    """Remark on a few cameras of a good set that look away from the mesh or stand far off.

    Returns:
        Remarks, and the names of those photos.
    """
    cameras = [photo.camera.recentred(mesh.origin) for photo in photos]
    away = np.linalg.norm([camera.position for camera in cameras], axis=1)
    odd = set(np.flatnonzero(away > _FAR_OUT * np.median(away)).tolist())
    blind = list(range(len(cameras)))
    for most in (_FEW_VERTICES, _MOST_VERTICES, _MANY_VERTICES):
        vertices = _sample(mesh, most) if blind else None
        blind = [k for k in blind if not _cells_hit(cameras[k], vertices)]
    blind = blind[: max(1, _affordable(mesh) // 4)]
    shares = _rays_hit([cameras[k] for k in blind], mesh, 1 / _RAYS**2)
    odd.update(k for k, share in zip(blind, shares, strict=True) if not share)
    if not odd or 2 * len(odd) >= len(photos):
        return [], []
    names = [photos[k].name for k in sorted(odd)]
    line = (
        f"W-CAMERA-OUTLIER: {len(odd)} of {len(photos)} cameras see nothing of the mesh or stand "
        f"over {_FAR_OUT} times as far off as usual: {some(names)}; "
        "align them again, or leave them out with --drop-outliers"
    )
    return [line], names


def _affordable(mesh: Mesh) -> int:
    """Return at how many cameras rays may be cast."""
    return min(_MOST_CAMERAS, _FACE_BUDGET // len(mesh.faces))


def _sample(mesh: Mesh, most: int) -> np.ndarray:
    """Return vertices that faces use, float64 [N, 3], local."""
    return mesh.vertices[mesh.faces[_spread(len(mesh.faces), most), 0]].astype(np.float64)


def _shares_by_vertices(cameras: Sequence[Camera], mesh: Mesh) -> np.ndarray:
    """Share of each picture that the mesh covers at least, as far as vertices tell."""
    vertices = _sample(mesh, _MOST_VERTICES)
    shares = np.array([_cells_hit(camera, vertices) for camera in cameras])
    unsure = np.flatnonzero(shares < _USUAL_COVERAGE)
    if len(unsure) and len(mesh.faces) > _MOST_VERTICES:
        vertices = _sample(mesh, _MANY_VERTICES)
        shares[unsure] = [_cells_hit(cameras[k], vertices) for k in unsure]
    return shares


def check_points(
    points: np.ndarray | None, mesh: Mesh, where: object, advice: str | None = None
) -> list[str]:
    """Compare sparse points with the mesh's box; arguments as for :func:`check_views`.

    Raises:
        SceneError: Hardly any point lies near the mesh.
    """
    if points is None or len(points) < _LEAST_POINTS:
        return []
    box = mesh.world_bounds
    inside = float(box.grown(box.diagonal / 2).contains(points).mean())
    if inside < _LEAST_COVERAGE:
        # Far outliers are usual in sparse models: the box named is that of the middle 98 %.
        middle = box_of(np.percentile(points, (1, 99), axis=0))
        raise SceneError(
            f"sparse points and mesh do not meet: {inside:.1%} of the points lie near the mesh; "
            f"the points fill {middle}, the mesh {box}",
            where=where,
            advice=advice or "export mesh and cameras from one project in one coordinate system",
        )
    if inside < 0.5:
        return [f"W-POINTS-MESH: only {inside:.0%} of the sparse points lie near the mesh"]
    return []


def _spread(count: int, most: int) -> np.ndarray:
    """Choose at most ``most`` of ``count`` positions, evenly spread, the first included."""
    return np.arange(count) if count <= most else np.arange(most) * count // most


def _cells_hit(camera: Camera, points: np.ndarray) -> float:
    """Share of a grid of picture cells into which a point falls: a lower bound of coverage."""
    pixel, depth = camera.project(points)
    cell = pixel[depth > 0] / (camera.width, camera.height) * _CELLS
    cell = cell[((cell >= 0) & (cell < _CELLS)).all(axis=1)].astype(np.int64)
    return len(np.unique(cell[:, 0] * _CELLS + cell[:, 1])) / _CELLS**2


def _rays_hit(cameras: Sequence[Camera], mesh: Mesh, enough: float) -> np.ndarray:
    """Return the share of a grid of rays that hits the mesh, by camera, counted until it is enough.

    A ray hits a triangle when it lies on one side of the three planes through the camera and an
    edge: no depth is divided by, so triangles that reach behind the camera are judged rightly.
    """
    steps = (np.arange(_RAYS) + 0.5) / _RAYS
    rays = []
    for camera in cameras:
        grid = np.stack(np.meshgrid(steps * camera.width, steps * camera.height), axis=-1)
        rays.append(camera.rays(grid.reshape(-1, 2)))
    hit = np.zeros((len(cameras), _RAYS**2), bool)
    # Faces outermost: gathering the corners of 20 million takes longer than judging them.
    for first in range(0, len(mesh.faces), _FACE_BLOCK):
        left = np.flatnonzero(hit.mean(axis=1) < enough)
        if not len(left):
            break
        corners = mesh.vertices[mesh.faces[first : first + _FACE_BLOCK]]
        low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        box = np.array([*itertools.product(*zip(low, high, strict=True))], np.float64)
        for k in left:
            if _maybe_seen(cameras[k], box[None] - cameras[k].position)[0]:
                hit[k] |= _hit_in(cameras[k], rays[k], corners)
    return hit.mean(axis=1)


def _hit_in(camera: Camera, rays: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Tell which rays hit some triangles [F, 3, 3], bool [R]."""
    corners = corners.astype(np.float64) - camera.position
    corners = corners[_maybe_seen(camera, corners)]
    hit = np.zeros(len(rays), bool)
    block = max(1, _RAY_BLOCK // len(rays))
    for start in range(0, len(corners), block):
        a, b, c = np.moveaxis(corners[start : start + block], 1, 0)
        sides = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)]) @ rays.T
        volume = np.einsum("ij,ij->i", a, np.cross(b, c))[:, None]
        same = (sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)
        hit |= (same & (sides.sum(axis=0) * volume > 0)).any(axis=0)
    return hit


def _maybe_seen(camera: Camera, corners: np.ndarray) -> np.ndarray:
    """Tell which shapes [F, n, 3] are not wholly outside one side of the picture, bool [F].

    The sides are planes for a pinhole only; through other lenses all triangles may be seen.
    """
    if camera.lens.projection is not Projection.PINHOLE:
        return np.ones(len(corners), bool)
    pixels = np.array(
        [(0, 0), (camera.width, 0), (camera.width, camera.height), (0, camera.height)]
    )
    edges = camera.rays(pixels.astype(np.float64))
    keep = ((corners @ camera.R[2]) > 0).any(axis=1)
    for k in range(4):
        inward = np.cross(edges[k], edges[(k + 1) % 4])
        keep &= (corners @ inward > 0).any(axis=1)
    return keep

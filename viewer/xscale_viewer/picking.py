"""From a pixel of a picture to the surface point it shows, and what lies in a direction."""

from __future__ import annotations

import numpy as np

from xscale.geometry.camera import Camera


def point_at(camera: Camera, depth: np.ndarray, pixel: tuple[float, float]) -> np.ndarray | None:
    """Return the world point float64 [3] at a pixel position; None where nothing is hit.

    Args:
        camera: The picture's, world frame.
        depth: Float32 [H, W]: camera z, or the distance for fisheyes and panoramas.
        pixel: (u, v), corner origin.
    """
    u, v = pixel
    if not (0 <= u < depth.shape[1] and 0 <= v < depth.shape[0]):
        return None
    # The depth is that of the pixel's centre: the point is taken on the centre's ray.
    return _points(camera, depth, np.array([[int(u) + 0.5, int(v) + 0.5]]))[0]


def _points(camera: Camera, depth: np.ndarray, pixel: np.ndarray) -> list[np.ndarray | None]:
    ray = camera.rays(pixel)
    column, row = pixel.astype(int).T
    far = depth[row, column].astype(np.float64)
    if not _is_wide(camera):
        far = far / np.maximum(ray @ camera.R[2], 1e-12)
    with np.errstate(invalid="ignore"):  # 0 * inf where a ray that hits nothing lies on an axis
        points = camera.position + ray * far[:, None]
    return [p if np.isfinite(p).all() else None for p in points]


def _is_wide(camera: Camera) -> bool:
    """Whether depth is the distance rather than the camera's z."""
    return "FISHEYE" in camera.model or camera.model == "EQUIRECTANGULAR"


def nearest_around(
    camera: Camera, depth: np.ndarray, pixel: tuple[float, float], reach: int = 40
) -> np.ndarray | None:
    """Return the surface point at a pixel, or of the nearest covered pixel within ``reach``.

    A cursor just beside a thin object still means that object.
    """
    found = point_at(camera, depth, pixel)
    if found is not None:
        return found
    u, v = int(pixel[0]), int(pixel[1])
    left, top = max(0, u - reach), max(0, v - reach)
    part = depth[top : max(0, v + reach + 1), left : max(0, u + reach + 1)]
    rows, columns = np.nonzero(np.isfinite(part))
    if not len(rows):
        return None
    near = int(np.argmin((rows + top - v) ** 2 + (columns + left - u) ** 2))
    return point_at(camera, depth, (columns[near] + left + 0.5, rows[near] + top + 0.5))


def middle_distance(depth: np.ndarray) -> float:
    """Return how far away the surface in the picture's middle is; inf where there is none.

    The nearest tenth counts, so that a thin object before the eye slows the flight down.
    """
    height, width = depth.shape
    inner = depth[height // 4 : height - height // 4 or 1, width // 4 : width - width // 4 or 1]
    finite = inner[np.isfinite(inner)]
    if not finite.size:
        finite = depth[np.isfinite(depth)]
    return float(np.quantile(finite, 0.1)) if finite.size else float("inf")


def clearance_along(
    camera: Camera, depth: np.ndarray, direction: np.ndarray, position: np.ndarray
) -> float | None:
    """Return how far the eye can move in a direction before it meets what a picture shows.

    Args:
        camera: The picture's; its eye may have stood elsewhere.
        depth: Of the picture.
        direction: Float64 [3], unit, world.
        position: Where the eye is now.

    Returns:
        Distance from ``position``, inf where the picture shows nothing there; None where the
        direction leaves the picture, which then cannot tell.
    """
    pixel, ahead = camera.project((camera.position + direction)[None])
    u, v = pixel[0]
    height, width = depth.shape
    if not (ahead[0] > 0 and 0 <= u < width and 0 <= v < height):
        return None
    reach = max(2, height // 40)
    part = depth[
        max(0, int(v) - reach) : int(v) + reach + 1, max(0, int(u) - reach) : int(u) + reach + 1
    ]
    nearest = float(part.min())
    if not np.isfinite(nearest):
        return float("inf")
    if not _is_wide(camera):
        nearest /= max(float(direction @ camera.R[2]), 1e-6)
    return nearest - float((position - camera.position) @ direction)


def edges(face: np.ndarray) -> np.ndarray:
    """Return where neighbouring pixels show different faces: the mesh's lines, bool [H, W]."""
    lines = np.zeros(face.shape, bool)
    lines[:, 1:] |= face[:, 1:] != face[:, :-1]
    lines[1:] |= face[1:] != face[:-1]
    return lines


def visible_pixels(
    camera: Camera, depth: np.ndarray, points: np.ndarray, tolerance: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, columns) of the points [N, 3] that a picture shows, nothing before them."""
    pixel, ahead = camera.project(points)
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = (ahead > 0) & (pixel >= 0).all(1) & (pixel < (width, height)).all(1)
    column, row = pixel[inside].astype(int).T
    seen = ahead[inside] <= depth[row, column] * (1 + tolerance)
    return row[seen], column[seen]

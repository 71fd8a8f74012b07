"""The scene from above and from the front: which detail the photos give where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xscale.geometry.camera import Camera
from xscale.inspection.looks import Look
from xscale.report.figures import colormap
from xscale.scene.scene import Scene

_CELLS = 420
_POINTS_A_PHOTO = 30_000
_MESH_POINTS = 400_000
_UNSEEN = (150, 152, 156)
_EMPTY = (246, 245, 242)
_SAME_SIDE, _STRAIGHT = 0.5, 0.9
_AREA = 0.3
_MARGIN = 0.06
_EVERY = 37
_FILLING = (1.5, 98.5)


@dataclass(frozen=True, eq=False)
class MapView:
    """A parallel projection of the scene."""

    title: str
    axes: np.ndarray
    """float64 [2, 3], unit: right and up of the picture, in the world's axes."""
    low: np.ndarray
    """float64 [2], of the picture, world units along the axes, relative to the mesh's origin."""
    size: np.ndarray
    """float64 [2], world units."""
    picture: np.ndarray
    """uint8 [H, W, 3], row 0 on top: footprints as colours; grey where no photo looks."""
    finest: float
    """Footprint of the darkest colour, world units."""
    coarsest: float
    """Footprint of the lightest colour."""

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return points [N, 3] (local frame) as fractions right and down of the picture, [N, 2]."""
        at = (np.asarray(points) @ self.axes.T - self.low) / self.size
        return np.column_stack([at[:, 0], 1 - at[:, 1]])


def views_of(scene: Scene, looks: list[Look]) -> list[MapView]:
    """Return the view from above and, where the cameras look to one side, the one from there."""
    cameras = [look.camera for look in looks]
    up = _unit(-np.mean([camera.R[1] for camera in cameras], axis=0), (0.0, 0.0, 1.0))
    forward = np.mean([camera.R[2] for camera in cameras], axis=0)
    across = np.mean([camera.R[0] for camera in cameras], axis=0)
    right = _unit(across - up * (across @ up), np.cross(up, (1.0, 0.2, 0.1)))
    # Photos taken straight down do not say where up is: what is up in them is a compass direction.
    down = _over_an_area(cameras, right, up) and np.linalg.norm(forward) > _STRAIGHT
    views = []
    if np.linalg.norm(forward) < _SAME_SIDE or abs(_unit(forward, up) @ up) < 0.8:
        title = "From the side that is up in the photos" if down else "From above"
        views.append(_view(title, np.stack([right, np.cross(up, right)]), scene, looks))
    if np.linalg.norm(forward) >= _SAME_SIDE:
        views.append(_view("From where the cameras stand", np.stack([right, up]), scene, looks))
    return views[::-1] if down else views


def _over_an_area(cameras: list[Camera], right: np.ndarray, up: np.ndarray) -> bool:
    """Tell whether cameras spread over an area as they see it, not along a line."""
    stands = np.array([camera.position for camera in cameras])
    across, along = np.ptp(stands @ right), np.ptp(stands @ up)
    return bool(min(across, along) > _AREA * max(across, along))


def corners_of(camera: Camera, length: float) -> np.ndarray:
    """Return the camera's position and the four corners of its frustum, float64 [5, 3]."""
    width, height = float(camera.width), float(camera.height)
    rays = camera.rays(np.array([(0, 0), (width, 0), (width, height), (0, height)]))
    return np.concatenate([camera.position[None], camera.position + rays * length])


def _unit(vector: np.ndarray, otherwise: object) -> np.ndarray:
    length = np.linalg.norm(vector)
    vector = vector / length if length > 0.05 else np.asarray(otherwise, np.float64)
    return vector / np.linalg.norm(vector)


def _view(title: str, axes: np.ndarray, scene: Scene, looks: list[Look]) -> MapView:
    vertices = scene.mesh.vertices[:: max(1, len(scene.mesh.vertices) // _MESH_POINTS)]
    mesh = vertices.astype(np.float64) @ axes.T
    stands = np.array([look.camera.position for look in looks]) @ axes.T
    # The surface that fills the photos counts, not what strays behind it. Cameras count only as far
    # as they leave it visible.
    seen = np.concatenate([look.position[look.covered][::_EVERY] for look in looks])
    ends = np.percentile(seen.astype(np.float64) @ axes.T, _FILLING, axis=0)
    spread = ends[1] - ends[0]
    ends += np.array([-0.15, 0.15])[:, None] * spread
    low = np.minimum(ends[0], np.maximum(stands.min(0), ends[0] - spread.max()))
    high = np.maximum(ends[1], np.minimum(stands.max(0), ends[1] + spread.max()))
    size = (high - low) + 2 * _MARGIN * (high - low).max()
    low = (low + high) / 2 - size / 2
    cells = np.maximum(np.rint(size / size.max() * _CELLS).astype(int), 8)

    def cell(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.floor((points - low) / size * cells).astype(np.int64)
        inside = ((at >= 0) & (at < cells)).all(axis=1)
        return cells[1] - 1 - at[inside, 1], at[inside, 0], inside

    finest = np.full((cells[1], cells[0]), np.inf)
    row, column, _ = cell(mesh)
    there = np.zeros(finest.shape, bool)
    there[row, column] = True
    for look in looks:
        step = max(1, int(look.covered.sum()) // _POINTS_A_PHOTO)
        position = look.position[look.covered][::step].astype(np.float64)
        row, column, inside = cell(position @ axes.T)
        np.minimum.at(finest, (row, column), look.footprint[::step][inside])
    finest, there = _closed(finest), there | np.isfinite(finest)
    seen = np.isfinite(finest)
    ends = np.percentile(finest[seen], (2, 98)) if seen.any() else np.array([1.0, 1.0])
    share = np.log(np.where(seen, finest, 1) / ends[0]) / max(np.log(ends[1] / ends[0]), 1e-9)
    picture = np.full((*finest.shape, 3), _EMPTY, np.uint8)
    picture[there] = _UNSEEN
    # The lightest tenth of the scale would vanish on paper.
    picture[seen] = colormap(0.1 + 0.8 * np.clip(share, 0, 1))[seen]
    return MapView(title, axes, low, size, picture, float(ends[0]), float(ends[1]))


def _closed(finest: np.ndarray) -> np.ndarray:
    """Fill cells between samples with the least of their neighbours."""
    for _ in range(2):
        padded = np.pad(finest, 1, constant_values=np.inf)
        around = np.stack(
            [
                padded[1 + y : 1 + y + finest.shape[0], 1 + x : 1 + x + finest.shape[1]]
                for y in (-1, 0, 1)
                for x in (-1, 0, 1)
            ]
        )
        enough = np.isfinite(around).sum(0) >= 4
        finest = np.where(~np.isfinite(finest) & enough, around.min(0), finest)
    return finest

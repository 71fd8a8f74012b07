"""Are cameras and mesh in one frame and unit? If not: would a usual change of axes or unit do?

Sparse points decide where there are any: the share of them that lies close to the surface. Cameras
decide otherwise: how much of their pictures the mesh fills. Only samples are looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xscale.errors import SceneError
from xscale.scene.checks.conventions import CONVENTIONS, WORDS, Convention, reread

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.geometry.mesh import Mesh
    from xscale.scene.checks.agree import PhotoTrial

_SAMPLES = 100_000
_MOST_POINTS = 4_000
_MOST_CAMERAS = 16
_LEAST_POINTS = 100
_CELLS = 64
_COARSE = 4
_MOST_CELLS = 1 << 18
_PICTURE_CELLS, _FEWEST_CELLS = 16, 4
"""Cells along a side of a picture: as many as its samples fill, within these."""
_PER_CELL = 2
"""Samples in the mean that fill a cell."""
_GOOD = 0.5
_PREFERENCE = 0.05
_NEAREST = 0.05
_SEEN = 0.25
_SPARSE = 4
"""Factor by which fewer samples of the surface are enough for pictures."""
_FEWER = 3
"""The same for cameras and samples where many candidates are ranked."""
_STOP, _WARN = 5.0, 2.0
_AXES = {
    "its axes as they are": np.eye(3),
    "y up turned to z up": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "z up turned to y up": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "y and z turned over": np.diag([1.0, -1, -1]),
    "x turned over (a mirror image)": np.diag([-1.0, 1, 1]),
    "y and z swapped (a mirror image)": np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
}
_UNITS = (1.0, 0.001, 0.01, 0.0254, 0.3048, 1000.0, 100.0, 1 / 0.0254, 1 / 0.3048)


class Candidate(NamedTuple):
    """A transform that may take the mesh into the cameras' frame."""

    axes: str
    unit: float
    shift: np.ndarray
    """float64 [3], added last."""

    @property
    def matrix(self) -> np.ndarray:
        """float64 [4, 4], scene from mesh."""
        found = np.eye(4)
        found[:3, :3] = self.unit * _AXES[self.axes]
        found[:3, 3] = self.shift
        return found

    @property
    def mirrors(self) -> bool:
        """Whether it makes a mirror image of the mesh."""
        return bool(np.linalg.det(_AXES[self.axes]) < 0)

    @property
    def changes_nothing(self) -> bool:
        """Whether it leaves the mesh as it is."""
        return np.array_equal(self.matrix, np.eye(4))

    def advice(self) -> str:
        """Say which option sets the mesh right."""
        moved = "" if not self.shift.any() else ", moved by the offset"
        return (
            f"the mesh fits with {self.axes}, in units of {self.unit:.6g}{moved}: "
            f"{transform_advice(self.matrix)}"
        )


def transform_advice(matrix: np.ndarray) -> str:
    """Say how a matrix is given that takes the mesh into the scene's frame."""
    rows = "  ".join(" ".join(f"{x:.9g}" for x in row) for row in matrix + 0.0)
    return f"save '{rows}' as mesh_to_scene.txt and add --transform mesh_to_scene.txt"


class _Grid(NamedTuple):
    """Cells that the surface passes through, as sorted keys."""

    fine: np.ndarray
    coarse: np.ndarray


def _grid(surface: np.ndarray, cell: float) -> _Grid:
    cells = np.floor(surface / cell)
    return _Grid(np.unique(_keys(cells)), np.unique(_keys(np.floor(cells / _COARSE))))


class Evidence:
    """Measures by which a transform of the mesh is judged."""

    def __init__(self, mesh: Mesh, cameras: Sequence[Camera], points: np.ndarray | None) -> None:
        """Take samples of the surface, of the points and of the cameras."""
        self._surface, self._normals = _on_surface(mesh)
        self._cameras = [cameras[k] for k in _spread(len(cameras), _MOST_CAMERAS)]
        self._points = None
        if points is not None and len(points) >= _LEAST_POINTS:
            self._points = points[_spread(len(points), _MOST_POINTS)]
            spread = np.percentile(self._points, (1, 99), axis=0)
            self._points_size = float(np.linalg.norm(spread[1] - spread[0]))
        self._low = self._surface.min(axis=0)
        self._size = float(np.linalg.norm(np.ptp(self._surface, axis=0)))
        self._grids: dict[float, _Grid] = {}

    @property
    def has_points(self) -> bool:
        """Whether sparse points decide."""
        return self._points is not None

    def score(self, matrix: np.ndarray) -> float:
        """Return how well the mesh fits, 0 to 1, when ``matrix`` is applied to it."""
        return self._near_surface(matrix)[0] if self.has_points else self._seen(matrix)

    def rank(self, matrix: np.ndarray) -> float:
        """Order candidates: as :meth:`score`, and the mesh should be no larger than the points."""
        if self.has_points:
            return sum(self._near_surface(matrix))
        return self._seen(matrix, self._cameras[::_FEWER], samples=_FEWER * _SPARSE)

    def _near_surface(self, matrix: np.ndarray) -> tuple[float, float]:
        """Share of points within a cell of the surface, and of the surface with points near it.

        A cell is 1/64 of the smaller of mesh and points for the first, four times that for the
        second.
        """
        inverse = np.linalg.inv(matrix[:3, :3])
        size = min(self._size, self._points_size * float(np.cbrt(abs(np.linalg.det(inverse)))))
        cell = max(size / _CELLS, self._size / _MOST_CELLS, 1e-300)
        if cell not in self._grids:
            self._grids[cell] = _grid(self._surface - self._low, cell)
        grid = self._grids[cell]
        place = ((self._points - matrix[:3, 3]) @ inverse.T - self._low) / cell
        place = place[((place > -2) & (place < self._size / cell + 2)).all(axis=1)]
        near = np.zeros(len(place), bool)
        for step in itertools.product((-1, 0, 1), repeat=3):
            near |= _among(_keys(np.floor(place) + step), grid.fine)
        reached = np.isin(grid.coarse, _keys(np.floor(place / _COARSE)))
        return float(near.sum()) / len(self._points), float(reached.mean())

    @property
    def surface(self) -> np.ndarray:
        """Samples of the mesh, float64 [N, 3], in the world."""
        return self._surface

    @property
    def normals(self) -> np.ndarray:
        """Unit normals of the samples, float64 [N, 3]."""
        return self._normals

    def coverage(self, matrix: np.ndarray | None = None) -> float:
        """Return how much of the cameras' pictures the mesh fills, as it is or moved."""
        return self._seen(np.eye(4) if matrix is None else matrix, nearest=0.0)

    def seen_by(self, cameras: Sequence[Camera]) -> float:
        """Return how much of other cameras' pictures the mesh fills."""
        return self._seen(np.eye(4), cameras)

    def other_convention(self, own: Convention) -> tuple[Convention, float]:
        """Return the other usual meaning of the cameras' matrices that sees most, and how much.

        Args:
            own: What they were taken for.
        """
        seen = {}
        for other in (name for name in CONVENTIONS if name != own):
            seen[other] = self._seen(np.eye(4), meant(self._cameras, own, other))
        best = max(seen, key=seen.__getitem__)
        return best, seen[best]

    def _seen(
        self,
        matrix: np.ndarray,
        cameras: Sequence[Camera] | None = None,
        nearest: float = _NEAREST,
        samples: int = _SPARSE,
    ) -> float:
        """Mean share of picture cells, over cameras, into which the surface falls."""
        cameras = cameras or self._cameras
        surface = self._surface[::samples] @ matrix[:3, :3].T + matrix[:3, 3]
        size = float(np.linalg.norm(np.ptp(surface, axis=0)))
        away = np.array([camera.position for camera in cameras]) - surface.mean(axis=0)
        # Whatever is large enough fills every picture: nobody photographs a scene from so near.
        if np.median(np.linalg.norm(away, axis=1)) < nearest * size:
            return 0.0
        shares = []
        for camera in cameras:
            pixel, depth = camera.project(surface)
            place = pixel[depth > 0] / (camera.width, camera.height)
            place = place[((place >= 0) & (place < 1)).all(axis=1)]
            # A picture of a thousandth of the mesh holds few samples: they fill larger cells.
            side = int(np.sqrt(len(place) / _PER_CELL))
            side = min(max(side, _FEWEST_CELLS), _PICTURE_CELLS)
            cell = (place * side).astype(np.int64)
            found = len(np.unique(cell[:, 0] * side + cell[:, 1]))
            shares.append(found / side**2)
        return float(np.mean(shares))


def offset_helps(evidence: Evidence, offset: np.ndarray) -> bool:
    """Tell whether the mesh fits clearly better when an offset is added to it."""
    with_it = Candidate(next(iter(_AXES)), 1.0, offset)
    return evidence.score(with_it.matrix) > _WARN * evidence.score(np.eye(4))


def suggestion(evidence: Evidence, offset: np.ndarray | None) -> tuple[Candidate, float] | None:
    """Find the usual change of axes, unit and offset that fits best, and its score."""
    best = max(_candidates(offset), key=lambda c: evidence.rank(c.matrix) + _bonus(c))
    score = evidence.score(best.matrix)
    return (best, score) if score > 0 else None


def _bonus(candidate: Candidate) -> float:
    """Prefer fewer changes where symmetry makes several fit as well."""
    kept = (candidate.axes == next(iter(_AXES))) + (candidate.unit == 1.0)
    return _PREFERENCE * (kept - candidate.mirrors)


def check_frame(
    evidence: Evidence, offset: np.ndarray | None, where: object, trial: Callable[[], PhotoTrial]
) -> list[str]:
    """Refuse a mesh that lies in another frame or unit than the sparse points.

    What is advised is tried on the photos: where they agree as it is, or do not agree as advised,
    nothing is reported.

    Raises:
        SceneError: A usual change of axes or unit brings five times as many points to the surface.
    """
    if not evidence.has_points:
        return []
    as_is = evidence.score(np.eye(4))
    if as_is >= _GOOD:
        return []
    found = suggestion(evidence, offset)
    if found is None or found[1] < _GOOD or found[1] < _WARN * as_is:
        return []
    if trial().of().agrees or trial().of(found[0].matrix).disagrees or found[0].changes_nothing:
        return []
    what = (
        f"{as_is:.0%} of the sparse points lie near the mesh, {found[1]:.0%} would with other "
        "axes or another unit"
    )
    if found[1] >= _STOP * as_is:
        raise SceneError(
            f"mesh and cameras are in different frames: {what}",
            where=where,
            advice=found[0].advice(),
        )
    return [f"W-MESH-FRAME: {what}: {found[0].advice()}"]


def check_convention(
    evidence: Evidence,
    own: Convention,
    where: object,
    trial: Callable[[], PhotoTrial],
    cameras: Sequence[Camera],
) -> None:
    """Refuse cameras whose matrices mean something else than they were taken for.

    Raises:
        SceneError: Taken otherwise, they see five times as much of the mesh.
    """
    as_is = evidence.coverage()
    if _STOP * as_is >= 1:
        return
    convention, share = evidence.other_convention(own)
    if share >= _SEEN and share > _STOP * as_is:
        if trial().of().agrees or trial().of(cameras=meant(cameras, own, convention)).disagrees:
            return
        raise SceneError(
            f"the mesh fills {as_is:.0%} of the pictures, {share:.0%} when the cameras' matrices "
            f"are taken as {WORDS[convention]}",
            where=where,
            advice=f"add --pose-convention {convention}; if they are right as they are, "
            f"--pose-convention {own}",
        )


def meant(cameras: Sequence[Camera], own: Convention, other: Convention) -> list[Camera]:
    """Return cameras whose matrices are taken by another convention."""
    poses = (reread(camera.R, camera.t, own, other) for camera in cameras)
    return [replace(c, R=R, t=t) for c, (R, t) in zip(cameras, poses, strict=True)]


def candidates(evidence: Evidence, offset: np.ndarray | None, most: int) -> list[Candidate]:
    """Return the usual changes of axes, unit and offset that fit best, the best first."""
    found = [c for c in _candidates(offset) if not c.changes_nothing]
    worth = [evidence.rank(c.matrix) + _bonus(c) for c in found]
    order = sorted(range(len(found)), key=lambda k: -worth[k])
    return [found[k] for k in order[:most]]


def _candidates(offset: np.ndarray | None) -> Iterator[Candidate]:
    shifts = [np.zeros(3)] if offset is None else [np.zeros(3), offset]
    for unit, axes, shift in itertools.product(_UNITS, _AXES, shifts):
        yield Candidate(axes, unit, shift)


def _on_surface(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Spread points over the surface evenly by area; repeatable.

    Returns:
        Points in the world and unit normals, both float64 [N, 3].
    """
    faces = mesh.faces[_spread(len(mesh.faces), _SAMPLES)]
    corners = mesh.vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    total = np.cumsum(area)
    place = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * total[-1]
    faces = np.minimum(np.searchsorted(total, place), len(area) - 1)
    chosen = corners[faces]
    u, v = rng.random((2, _SAMPLES, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    edges = chosen[:, 1:] - chosen[:, :1]
    points = chosen[:, 0] + u * edges[:, 0] + v * edges[:, 1] + mesh.origin
    return points, normals[faces] / np.maximum(area[faces, None], 1e-300)


def _keys(cells: np.ndarray) -> np.ndarray:
    """Number cells [N, 3] from -4 to 2^18 + 4."""
    shifted = cells.astype(np.int64) + 4
    return (shifted[:, 0] << 40) | (shifted[:, 1] << 20) | shifted[:, 2]


def _among(keys: np.ndarray, sorted_keys: np.ndarray) -> np.ndarray:
    """Tell which keys are in a sorted list that is not empty, bool [N]."""
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[place] == keys


def _spread(count: int, most: int) -> np.ndarray:
    return np.arange(count) if count <= most else np.arange(most) * count // most

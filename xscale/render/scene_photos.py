"""The photos that a run was trained on: where they are now, and what a view shows of one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xscale.errors import InputError, XscaleError
from xscale.geometry.camera import Camera
from xscale.io.photo.resample import area_downscale
from xscale.render.run import Run
from xscale.render.sight import Sight
from xscale.scene.scene import Scene

_KEPT = 4
_SAME_PLACE = 1e-6
"""Distance of two cameras that counts as 0, as a share of that to the mesh's origin."""


@dataclass(frozen=True, eq=False)
class FoundPhotos:
    """Where a run's photos are, or why they are not there."""

    scene: Scene | None
    """The opened scene; None where the photos were not found."""
    line: str
    """One line: what was found and where, or what is missing and what to do."""
    missing: tuple[str, ...] = ()
    """Photos of the run that the scene lacks."""


def find_photos(run: Run, folder: str | Path | None = None) -> FoundPhotos:
    """Look for the photos of a run: in the folder given, else where its manifest says.

    A relative path of the manifest counts from the current folder, from the run's own folder and
    from the folder that holds the run. Nothing is decoded.

    Args:
        run: The opened run.
        folder: The scene's folder where it is not where it was.
    """
    stored = run.manifest.scene
    if folder is None:
        root = Path(stored.root)
        places = [root] if root.is_absolute() else [root, run.path / root, run.path.parent / root]
    else:
        places = [Path(folder)]
    place = next((p for p in places if p.is_dir()), None)
    if place is None:
        return FoundPhotos(
            None, f"{places[0]}: the photos' folder does not exist; name the scene's folder"
        )
    # A scene that was moved as a whole has moved the files that its options name.
    options = {
        name: value
        for name, value in stored.options.items()
        if name not in ("mesh", "cameras", "images", "transform") or _exists(value)
    }
    try:
        scene = Scene.open(place, **options)
    except XscaleError as error:
        return FoundPhotos(None, f"the run's photos cannot be opened: {error}")
    known = {photo.name for photo in scene.photos}
    missing = tuple(name for name in run.names("all") if name not in known)
    if len(missing) == len(run.names("all")):
        return FoundPhotos(
            None, f"{place}: has none of the run's photos; name the scene it was trained on"
        )
    lacking = f", {len(missing)} of the run's are missing" if missing else ""
    return FoundPhotos(scene, f"{place}: {len(known)} photos{lacking}", missing)


def _exists(value: object) -> bool:
    files = value if isinstance(value, list) else [value]
    return all(Path(str(file)).exists() for file in files)


class PhotoReader:
    """Reads photos of a run at training size and keeps the last ones.

    Args:
        run: The opened run.
        folder: See ``find_photos``.
    """

    def __init__(self, run: Run, folder: str | Path | None = None) -> None:
        self._run = run
        self._folder = folder
        self._found: FoundPhotos | None = None
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    @property
    def found(self) -> FoundPhotos:
        """Where the photos are; looked for once."""
        if self._found is None:
            self._found = find_photos(self._run, self._folder)
        return self._found

    def read(self, name: str) -> np.ndarray:
        """Return a photo's pixels, uint8 [H, W, 3], at training size.

        Raises:
            InputError: The photos were not found, or this one is missing or damaged.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if self.found.scene is None:
            raise InputError(self.found.line)
        pixels = self.found.scene.photo(name).read(self._run.downscale)
        self._kept[name] = pixels
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return pixels


def is_same_place(camera: Camera, other: Camera, origin: np.ndarray) -> bool:
    """Whether two cameras of the world frame have one centre."""
    apart = np.linalg.norm(camera.position - other.position)
    return bool(apart <= _SAME_PLACE * (1e-12 + np.linalg.norm(camera.position - origin)))


def photo_from_its_place(pixels: np.ndarray, taken: Camera, camera: Camera) -> np.ndarray:
    """Return what a camera at a photo's place sees of the photo: uint8 [H, W, 3].

    White where the photo shows nothing. Through the photo's own lens at a smaller size this is the
    exact area average, at its own size the photo itself.

    Args:
        pixels: Uint8 [Hp, Wp, 3].
        taken: The photo's camera.
        camera: The view's; of the same centre.
    """
    width, height = camera.width, camera.height
    if width <= taken.width and height <= taken.height and _is_scaled(taken, camera):
        return area_downscale(pixels, width, height)
    row, column = np.mgrid[0:height, 0:width]
    pixel = np.stack([column, row], -1).reshape(-1, 2) + 0.5
    ray = camera.rays(pixel)
    place, depth = taken.project(taken.position + np.nan_to_num(ray))
    inside = (depth > 0) & np.isfinite(ray).all(1)
    picture = _looked_up(pixels, taken, camera, place, inside)
    return picture.reshape(height, width, 3)


def photo_on_points(
    pixels: np.ndarray, taken: Camera, view: Sight, camera: Camera, position: np.ndarray
) -> np.ndarray:
    """Return what a photo shows of surface points that a camera elsewhere sees: uint8 [H, W, 3].

    White where the photo does not see the point.

    Args:
        pixels: Uint8 [Hp, Wp, 3].
        taken: The photo's camera, local frame.
        view: What the photo's camera sees.
        camera: The view's.
        position: Float32 [H, W, 3], local frame; NaN where nothing is hit.
    """
    points = position.reshape(-1, 3).astype(np.float64)
    hit = np.isfinite(points).all(1)
    points = np.where(hit[:, None], points, 0)
    place, _ = taken.project(points)
    picture = _looked_up(pixels, taken, camera, place, hit & view.sees(points))
    return picture.reshape(*position.shape[:2], 3)


def _is_scaled(taken: Camera, camera: Camera) -> bool:
    same = taken.scaled(camera.width, camera.height)
    return (
        same.model == camera.model
        and np.allclose(same.K, camera.K, rtol=1e-9)
        and np.allclose(same.R, camera.R, rtol=0, atol=1e-12)
        and np.array_equal(same.distortion, camera.distortion)
    )


def _looked_up(
    pixels: np.ndarray, taken: Camera, camera: Camera, place: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Return colours uint8 [N, 3] of places [N, 2] in a photo, white outside of it."""
    coarser = max(1.0, min(taken.fx / camera.fx, taken.fy / camera.fy))
    small = taken.downscaled(coarser)
    if (small.width, small.height) != (taken.width, taken.height):
        pixels = area_downscale(pixels, small.width, small.height)
        place = place * (small.width / taken.width, small.height / taken.height)
    with np.errstate(invalid="ignore"):
        inside = inside & (place >= 0).all(1) & (place <= (small.width, small.height)).all(1)
    x, y = np.where(inside[:, None], np.nan_to_num(place) - 0.5, 0).T
    x, y = np.clip(x, 0, small.width - 1), np.clip(y, 0, small.height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, low = np.minimum(left + 1, small.width - 1), np.minimum(top + 1, small.height - 1)
    fx, fy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    flat = pixels.reshape(-1, 3)
    above = flat[top * small.width + left] * (1 - fx) + flat[top * small.width + right] * fx
    below = flat[low * small.width + left] * (1 - fx) + flat[low * small.width + right] * fx
    found = np.where(inside[:, None], above * (1 - fy) + below * fy, 255)
    return (found + 0.5).astype(np.uint8)

"""The COLMAP layout: ``sparse/0`` or ``sparse`` with a binary or text model, and ``images/``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.models import supported_model
from xscale.scene import colmap_binary, colmap_text
from xscale.scene.colmap_model import ColmapPoints, Tables
from xscale.scene.views import Reading, View

LAYOUT = "colmap"
PHOTOS = "images"
_MODELS = ("sparse/0", "sparse")


def _has(folder: Path, extension: str) -> bool:
    return all((folder / f"{t}.{extension}").is_file() for t in ("cameras", "images"))


def model_folder(root: Path) -> Path | None:
    """Return the folder of the sparse model, or None where there is none."""
    for name in _MODELS:
        folder = root / name
        if _has(folder, "bin") or _has(folder, "txt"):
            return folder
    return None


def detect(root: Path, scale: float | None = None) -> str | None:
    """Say why ``root`` is a COLMAP scene, or return None."""
    del scale
    folder = model_folder(root)
    if folder is None or not (root / PHOTOS).is_dir():
        return None
    extension = "bin" if _has(folder, "bin") else "txt"
    return f"{folder.relative_to(root).as_posix()}/cameras.{extension} and {PHOTOS}/ found"


def what_is_missing(root: Path) -> str | None:
    """Say what keeps a folder with a model from being a COLMAP scene; None without a model."""
    folder = model_folder(root)
    if folder is None:
        return None
    return f"has a COLMAP model ({folder.relative_to(root).as_posix()}) and no {PHOTOS}/ folder"


def _count_only(folder: Path) -> int:
    """Count the photos of the text model."""
    tables = Tables()
    colmap_text.read_cameras(folder / "cameras.txt", tables)
    colmap_text.read_images(folder / "images.txt", tables)
    return len(tables.images)


def _read_tables(folder: Path, keep_observations: bool) -> tuple[Tables, ColmapPoints | None]:
    """Read the model in ``folder``, binary where it is there."""
    binary = _has(folder, "bin")
    reader: ModuleType = colmap_binary if binary else colmap_text
    extension = "bin" if binary else "txt"
    tables = Tables()
    reader.read_cameras(folder / f"cameras.{extension}", tables)
    reader.read_images(folder / f"images.{extension}", tables, keep_observations=keep_observations)
    points = None
    if (folder / f"points3D.{extension}").is_file():
        points = reader.read_points(folder / f"points3D.{extension}", tables.warnings)
    return tables, points


def read(root: Path, scale: float | None = None) -> Reading:
    """Read the cameras, poses and sparse points of a COLMAP scene.

    Raises:
        CameraError: A table is cut, damaged or names a camera model that is not supported.
        SceneError: Binary and text model disagree, or there is no photo in the model.
    """
    folder = model_folder(root)
    if folder is None:
        raise SceneError("there is no COLMAP model", where=root / "sparse")
    tables, points = _read_tables(folder, keep_observations=False)
    if not tables.images:
        raise SceneError(
            "the model has no posed photo", where=folder, advice="run the mapper again"
        )
    warnings = list(tables.warnings)
    if _has(folder, "bin") and _has(folder, "txt"):
        others = _count_only(folder)
        if others != len(tables.images):
            raise SceneError(
                f"the binary model has {len(tables.images)} photos, the text model {others}",
                where=folder,
                advice="remove the outdated one",
            )
        warnings.append("W-COLMAP-BOTH: binary and text model found, the binary one is used")
    more = sorted(p.name for p in (root / "sparse").glob("[1-9]*") if _has(p, "bin"))
    if more and folder.name == "0":
        warnings.append(f"W-COLMAP-MODELS: sparse/0 is used, sparse/{', '.join(more)} is not")
    views = []
    for image in tables.images.values():
        camera = tables.cameras[image.camera_id]
        model = supported_model(camera.model, camera.where)
        K, distortion = model.intrinsics(camera.params)
        size = (camera.width, camera.height)
        views.append(
            View(image.name, image.where, model.name, K, image.R, image.t, distortion, size)
        )
    positions = _finite(points, folder, warnings)
    return Reading(LAYOUT, detect(root, scale) or "", root / PHOTOS, views, positions, warnings)


def _finite(points: ColmapPoints | None, folder: Path, warnings: list[str]) -> np.ndarray | None:
    """Return the usable sparse points; they only serve checks, so a bad one is left out."""
    if points is None:
        return None
    good = np.isfinite(points.positions).all(axis=1)
    if not good.all():
        warnings.append(
            f"W-POINTS-FINITE: {folder.name}: {int((~good).sum())} sparse points are NaN or "
            "infinite and left out"
        )
    return points.positions[good]


def observations(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Return where each photo saw which sparse point.

    Returns:
        By photo name: keypoints float64 [N, 2] in pixels of the model's camera, the points they
        show float64 [N, 3] in the scene's frame, and that camera's (width, height).

    Raises:
        CameraError: A table is damaged, or there is no table of points.
    """
    folder = model_folder(root)
    if folder is None:
        raise CameraError("there is no COLMAP model", where=root / "sparse")
    tables, points = _read_tables(folder, keep_observations=True)
    if points is None:
        raise CameraError("there is no points3D file", where=folder)
    order = np.argsort(points.ids)
    ids = points.ids[order]
    found = {}
    for image in tables.images.values():
        if image.pixels is None or image.point_ids is None:
            continue
        place = np.searchsorted(ids, image.point_ids)
        known = np.zeros(len(place), bool)
        inside = place < len(ids)
        known[inside] = ids[place[inside]] == image.point_ids[inside]
        camera = tables.cameras[image.camera_id]
        positions = points.positions[order[place[known]]]
        found[image.name] = (image.pixels[known], positions, (camera.width, camera.height))
    return found

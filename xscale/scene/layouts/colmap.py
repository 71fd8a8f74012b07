"""The COLMAP layout: ``sparse/0`` or ``sparse`` with a binary or text model, and ``images/``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError, InputError, SceneError
from xscale.geometry.models import supported_model
from xscale.scene.layouts import colmap_binary, colmap_rigs, colmap_text
from xscale.scene.layouts.colmap_model import ColmapImage, ColmapPoints, Tables
from xscale.scene.layouts.views import Choice, Observations, PhotoView, Reading, some

LAYOUT = "colmap"
PHOTOS = "images"
_SPARSE = "sparse"
_TABLES = ("cameras", "images")
_EXTENSIONS = ("bin", "txt")
_NO_CHOICE = Choice()
_DIGITS = 1e-5
_ALL = 1 << 62
_SIGHTINGS = 100
"""Keypoints of a photo that are kept on opening: enough to see whether its camera is wrong."""


class Model(NamedTuple):
    """A sparse model on the disk."""

    folder: Path
    extension: str
    """Extension of the tables to read: ``bin`` or ``txt``."""

    def table(self, name: str) -> Path:
        """Return the file of a table."""
        return self.folder / f"{name}.{self.extension}"


def _model(folder: Path, extension: str | None = None) -> Model | None:
    """Return the model in a folder, the binary one where both are there and none is asked for."""
    for candidate in _EXTENSIONS:
        if extension in (None, candidate) and all(
            (folder / f"{table}.{candidate}").is_file() for table in _TABLES
        ):
            return Model(folder, candidate)
    return None


def _named(path: Path) -> Model | None:
    """Return the model that a folder, or one of a model's files, stands for."""
    if path.is_dir():
        return _model(path)
    name, _, extension = path.name.rpartition(".")
    if name in (*_TABLES, "points3D", "rigs", "frames") and extension in _EXTENSIONS:
        return _model(path.parent, extension)
    return None


def models(root: Path) -> list[Model]:
    """List the models of a scene folder: ``sparse`` itself and the folders in it."""
    sparse = root / _SPARSE
    if not sparse.is_dir():
        return []
    inside = sorted((p for p in sparse.iterdir() if p.is_dir()), key=_by_number)
    return [model for model in map(_model, (*inside, sparse)) if model is not None]


def _by_number(path: Path) -> tuple[bool, int, str]:
    """Sort 2 before 10, and names after numbers."""
    plain = path.name.isascii() and path.name.isdigit() and len(path.name) < 10
    return not plain, int(path.name) if plain else 0, path.name


def _chosen(root: Path, choice: Choice) -> Model | None:
    """Return the model to read; None where there is none.

    Raises:
        SceneError: There are several and none was chosen, or the chosen one is not there.
    """
    if choice.cameras is not None:
        return _named(choice.cameras)
    found = models(root)
    if choice.colmap_model is not None:
        asked = root / _SPARSE / choice.colmap_model
        model = _named(asked) or _named(root / choice.colmap_model)
        if model is None:
            raise SceneError(
                f"there is no COLMAP model {choice.colmap_model}; there are {_list(found, root)}",
                where=root,
                advice="give --colmap-model a folder below sparse/, or one of its files",
            )
        return model
    if len(found) > 1:
        raise SceneError(
            f"has {len(found)} COLMAP models: {_list(found, root)}",
            where=root,
            advice=f"choose the one the mesh was made from: --colmap-model {found[0].folder.name}",
        )
    return found[0] if found else None


def _list(found: list[Model], root: Path) -> str:
    """Name models with their numbers of photos."""
    told = [f"{m.folder.relative_to(root).as_posix()} ({_photos_in(m)})" for m in found]
    return some(told, 8) if told else "none"


def _photos_in(model: Model) -> str:
    try:
        return f"{len(_read_tables(model)[0].images)} photos"
    except InputError:
        return "damaged"


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a COLMAP scene, or return None."""
    if choice.cameras is None:
        if not (models(root) or choice.colmap_model):
            return None
        if not (choice.images or root / PHOTOS).is_dir():
            return None
        model = _chosen(root, choice)
    else:
        model = _named(choice.cameras)
    if model is None:
        return None
    photos = PHOTOS if choice.images is None else choice.images
    cameras = model.table("cameras")
    shown = cameras.relative_to(root) if cameras.is_relative_to(root) else cameras
    rigs = "" if not model.table("rigs").is_file() else ", rigs and frames"
    return f"{shown.as_posix()}{rigs} and {photos}/ found"


def what_is_missing(root: Path) -> str | None:
    """Say what keeps a folder with a model from being a COLMAP scene; None without a model."""
    found = models(root)
    if not found:
        return None
    folder = found[0].folder.relative_to(root).as_posix()
    return f"has a COLMAP model ({folder}) and no {PHOTOS}/ folder"


def _read_tables(model: Model, keep_observations: int = 0) -> tuple[Tables, ModuleType]:
    """Read cameras and images, and return the module that reads this kind of file."""
    reader: ModuleType = colmap_binary if model.extension == "bin" else colmap_text
    tables = Tables()
    tables.poses.update(colmap_rigs.read_poses(model.folder, model.extension, tables.warnings))
    reader.read_cameras(model.table("cameras"), tables)
    reader.read_images(model.table("images"), tables, keep_observations=keep_observations)
    if tables.differing:
        raise CameraError(
            f"{len(tables.differing)} photos have another pose in the images file than in their "
            f"frame: {some(tables.differing)}",
            where=model.folder,
            advice="export the model again, or remove the rigs and frames files",
        )
    return tables, reader


def _read_points(model: Model, reader: ModuleType, warnings: list[str]) -> ColmapPoints | None:
    path = model.table("points3D")
    return reader.read_points(path, warnings) if path.is_file() else None


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read the cameras, poses and sparse points of a COLMAP scene.

    Raises:
        CameraError: A table is cut, damaged or names a camera model that is not supported.
        SceneError: There are several models, binary and text model disagree, or there is no photo
            in the model.
    """
    model = _chosen(root, choice)
    if model is None:
        raise SceneError("there is no COLMAP model", where=root / _SPARSE)
    tables, reader = _read_tables(model, _SIGHTINGS)
    if not tables.images:
        raise SceneError(
            "the model has no posed photo", where=model.folder, advice="run the mapper again"
        )
    warnings = list(tables.warnings)
    other = _model(model.folder, "txt") if model.extension == "bin" else None
    if other is not None and not _says_which(choice):
        _compare(tables, _read_tables(other)[0], model.folder)
        warnings.append("W-COLMAP-BOTH: binary and text model found, the binary one is used")
    views = []
    for image in tables.images.values():
        camera = tables.cameras[image.camera_id]
        known = supported_model(camera.model, camera.where)
        K, distortion = known.intrinsics(camera.params)
        if min(K[0, 0], K[1, 1]) <= 0:
            raise CameraError(
                f"the focal lengths are {K[0, 0]:g} and {K[1, 1]:g}, they must be above 0",
                where=camera.where,
                advice="the file is damaged or was edited: export the model again",
            )
        size = (camera.width, camera.height)
        views.append(
            PhotoView(image.name, image.where, known.name, K, image.R, image.t, distortion, size)
        )
    points = _read_points(model, reader, warnings)
    return Reading(
        LAYOUT,
        detect(root, choice) or "",
        choice.images or root / PHOTOS,
        views,
        _finite(points, model.folder, warnings),
        warnings,
        sightings={} if points is None else _sightings(tables, points),
        observe=None if points is None else partial(observations, model),
    )


def _says_which(choice: Choice) -> bool:
    """Tell whether the user named a file, and with it the binary or the text model."""
    named = choice.cameras or Path(choice.colmap_model or "")
    return named.suffix[1:] in _EXTENSIONS


def _compare(binary: Tables, text: Tables, folder: Path) -> None:
    """Stop where the two models of one folder say different things.

    Raises:
        SceneError: They do, and nothing tells which one the mesh was made from.
    """
    difference = _difference(binary, text)
    if difference is not None:
        raise SceneError(
            difference,
            where=folder,
            advice="remove the outdated one, or choose: --colmap-model "
            f"{folder.name}/images.txt (or .bin)",
        )


def _difference(binary: Tables, text: Tables) -> str | None:
    others = {image.name: image for image in text.images.values()}
    if len(binary.images) != len(others):
        return f"the binary model has {len(binary.images)} photos, the text model {len(others)}"
    for image in binary.images.values():
        if image.name not in others:
            return f"the text model lacks {image.name} of the binary model"
        if not _same(image, binary, others[image.name], text):
            return f"binary and text model differ in the pose or camera of {image.name}"
    return None


def _same(a: ColmapImage, of_a: Tables, b: ColmapImage, of_b: Tables) -> bool:
    """Compare pose and camera as far as a text file keeps digits."""
    left, right = of_a.cameras[a.camera_id], of_b.cameras[b.camera_id]
    return (
        (left.model, left.width, left.height) == (right.model, right.width, right.height)
        and np.allclose(left.params, right.params, rtol=_DIGITS, atol=_DIGITS)
        and np.allclose(a.R, b.R, rtol=0, atol=_DIGITS)
        and np.allclose(a.t, b.t, rtol=_DIGITS, atol=_DIGITS)
    )


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


def observations(model: Model) -> Observations:
    """Return where each photo saw which sparse point.

    Raises:
        CameraError: A table is damaged, or there is no table of points.
    """
    tables, reader = _read_tables(model, _ALL)
    points = _read_points(model, reader, tables.warnings)
    if points is None:
        raise CameraError("there is no points3D file", where=model.folder)
    return _sightings(tables, points)


def _sightings(tables: Tables, points: ColmapPoints) -> Observations:
    """Join the keypoints that were kept with the points they show."""
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

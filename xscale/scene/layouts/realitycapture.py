"""RealityCapture's and RealityScan's table of internal/external camera parameters.

Its columns, and where they are documented:

- ``heading, pitch, roll``, degrees: their makers' forum article *Registration export and camera
  orientations* gives the rotation from world to camera that is computed here. With all three 0 the
  camera looks down, the picture's upper edge to the north (y).
- ``x, y, alt``: the camera's position, in the coordinate system chosen for the export.
- ``f``: the focal length in millimetres for a larger side of 36. ``px, py``: the principal point
  from the picture's centre, in larger sides. ``k1`` to ``k4``: Brown's model, applied before the
  calibration. The makers' article *RealityCapture XMP camera math* was at hand in part only; units
  and formula are those of users' posts and of other readers, which agree.

Two things are not said anywhere, and refused: which of ``t1, t2`` belongs to x (other readers
differ), and whether a single ``k1`` is the Brown or the division model. A bundle is read by
:mod:`xscale.scene.layouts.bundler`.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.camera import FARTHEST
from xscale.geometry.models import BY_NAME, supported_model
from xscale.io.photo.images import image_size
from xscale.scene.layouts.cameras_file import find_cameras, photo_folder
from xscale.scene.layouts.colmap_text import lines, parse_number
from xscale.scene.layouts.labels import join_labels
from xscale.scene.layouts.views import Choice, PhotoView, Reading, beginning

LAYOUT = "realitycapture"
_NO_CHOICE = Choice()
_POSE = ("x", "y", "alt", "heading", "pitch", "roll")
_CALIBRATION = ("f", "px", "py")
_BENDING = ("k1", "k2", "k3", "k4")
_TANGENTIAL = ("t1", "t2")
_SIGNATURE = ("name", *_POSE)
_COUNT = re.compile(r"#\s*cameras\s+\d+\s*")
_FILM = 36.0
_MOST_COLUMNS = 40
_ROW_BYTES = 5000
"""Most memory that a row takes."""
_AGAIN = (
    "export it as Internal/External camera parameters, with the columns name, x, y, alt, heading, "
    "pitch, roll, f, px, py, k1, k2, k3, k4, t1, t2"
)
EXPORT = (
    f"from RealityScan, {_AGAIN}; from Metashape export the cameras as XML; from other programs a "
    "COLMAP or Bundler model; give the file by --cameras"
)
"""Advice about a table of cameras that is not read."""
_POSE_WORDS = {
    *("omega", "phi", "kappa", "yaw", "heading", "pitch", "roll", "x", "y", "easting", "northing"),
    *("latitude", "longitude", "lat", "lon"),
}
"""Words of which two stand at the head of a table of cameras."""
_UNDISTORTED = "export undistorted images with their registration"


def _file(root: Path, choice: Choice) -> Path | None:
    return find_cameras(root, choice, ("*.csv",), _looks_right, "RealityCapture tables")


def _looks_right(path: Path) -> bool:
    head = _head(path)
    return any(set(_SIGNATURE) <= set(_columns(line)) for line in head.splitlines()[:3])


def _head(path: Path) -> str:
    """Return the beginning of a table, as text; damaged letters are replaced."""
    data = beginning(path)
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if wide else "utf-8-sig", "replace")


def other_table(path: Path) -> str | None:
    """Return the columns of a table of cameras of another kind, or None where it is not one."""
    head = _head(path)
    for line in head.splitlines()[:5]:
        for separator in (";", ",", "\t"):
            columns = [field.strip().strip("#").strip() for field in line.split(separator)]
            words = {word for column in columns for word in re.split(r"[^a-z]+", column.lower())}
            if 4 <= len(columns) <= _MOST_COLUMNS and len(words & _POSE_WORDS) >= 2:
                return ", ".join(columns)
    return None


def _columns(line: str) -> list[str]:
    return [field.strip().lower().removeprefix("#") for field in line.split(_separator(line))]


def _separator(line: str) -> str:
    return ";" if ";" in line else ","


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} is a RealityCapture camera table"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read the cameras.

    Raises:
        CameraError: A column is missing, a number is none, or the lens is one whose formula is not
            documented.
        SceneError: There is no table, or a photo is missing.
    """
    path = _file(root, choice)
    if path is None:
        raise SceneError("there is no RealityCapture camera table", where=root)
    folder = choice.images or photo_folder(path, root)
    rows = _rows(path)
    joined = join_labels([row["name"] for _, row in rows], folder, path)
    views = [
        _view(name, image_size(folder / name) if found else choice.missing_size, where, row)
        for (where, row), name, found in zip(rows, joined.names, joined.found, strict=True)
    ]
    return Reading(LAYOUT, detect(root, choice) or "", folder, views, warnings=joined.warnings)


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return each camera's fields by their columns, with their places."""
    content = [
        (w, line)
        for w, line in lines(path, _ROW_BYTES)
        if line.strip() and not _COUNT.fullmatch(line)
    ]
    columns = _columns(content[0][1])
    missing = [name for name in (*_SIGNATURE, *_CALIBRATION, *_BENDING[:3]) if name not in columns]
    if missing or len(set(columns)) < len(columns) or len(columns) > _MOST_COLUMNS:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has a column twice"
        if len(columns) > _MOST_COLUMNS:
            what = f"has {len(columns)} columns, at most {_MOST_COLUMNS}"
        raise CameraError(what, where=content[0][0], advice=_AGAIN)
    separator = _separator(content[0][1])
    found = []
    for where, line in content[1:]:
        fields = next(csv.reader([line], delimiter=separator))
        if len(fields) != len(columns):
            raise CameraError(
                f"has {len(fields)} fields, the table has {len(columns)} columns",
                where=where,
                advice=_AGAIN,
            )
        found.append((where, dict(zip(columns, fields, strict=True))))
    if not found:
        raise SceneError("has no camera", where=path, advice="align the photos first")
    return found


def _view(name: str, size: tuple[int, int], where: str, row: dict[str, str]) -> PhotoView:
    numeric = (*_POSE, *_CALIBRATION, *(c for c in (*_BENDING, *_TANGENTIAL) if c in row))
    values = {column: parse_number(row[column].strip(), where) for column in numeric}
    larger = max(size)
    if not values["f"] > 0:
        raise CameraError(f"the focal length is {values['f']:g}", where=where, advice=_AGAIN)
    focal = values["f"] * larger / _FILM
    centre = [side / 2 + values[c] * larger for side, c in zip(size, ("px", "py"), strict=True)]
    model, distortion = _lens(values, where)
    supported_model(BY_NAME[model], where)
    position = np.array([values[c] for c in _POSE[:3]])
    if np.abs(position).max() > FARTHEST:
        raise CameraError(f"the position is {position.tolist()}", where=where, advice=_AGAIN)
    R = rotation(values["heading"], values["pitch"], values["roll"])
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
    return PhotoView(name, f"{where} ({name})", model, K, R, -R @ position, distortion, size)


def rotation(heading: float, pitch: float, roll: float) -> np.ndarray:
    """Return the rotation from world to camera (OpenCV axes) of angles in degrees, float64 [3, 3].

    Source: Capturing Reality's forum article on registration export and camera orientations.
    """
    angles = np.radians([heading, pitch, roll])
    (ch, cp, cr), (sh, sp, sr) = np.cos(angles), np.sin(angles)
    return np.array(
        [
            [cr * ch + sr * sp * sh, -cr * sh + ch * sr * sp, -cp * sr],
            [-cp * sh, -cp * ch, -sp],
            [cr * sp * sh - ch * sr, cr * ch * sp + sr * sh, -cr * cp],
        ]
    )


def _lens(values: dict[str, float], where: str) -> tuple[str, np.ndarray]:
    """Return name and parameters of the model that is the table's lens."""
    k1, k2, k3, k4 = (values.get(column, 0.0) for column in _BENDING)
    if any(values.get(column) for column in _TANGENTIAL):
        raise CameraError(
            "has tangential distortion (t1, t2), the order of which is not documented",
            where=where,
            advice=f"align with the distortion model Brown3 or Brown4, or {_UNDISTORTED}",
        )
    if k1 and not (k2 or k3 or k4):
        raise CameraError(
            "has k1 alone: the table does not say whether this is the division model",
            where=where,
            advice=f"align with the distortion model Brown3 or Brown4, or {_UNDISTORTED}",
        )
    if k4:
        return "BROWN", np.array([k1, k2, 0.0, 0.0, k3, k4])
    if k3:
        return "FULL_OPENCV", np.array([k1, k2, 0.0, 0.0, k3, 0.0, 0.0, 0.0])
    if k1 or k2:
        return "RADIAL", np.array([k1, k2])
    return "SIMPLE_PINHOLE", np.zeros(0)

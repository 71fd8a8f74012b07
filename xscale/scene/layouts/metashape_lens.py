"""Metashape's lens formulas, mapped to the camera model that is the same function.

``cx, cy`` count from the picture's centre, ``b1, b2`` go into K, its ``p1`` is OpenCV's ``p2`` and
the other way round. ``p3, p4`` of frame sensors let the tangential part grow with the radius; their
formula is that of the manuals up to version 1.5 (appendix on camera models), which later ones leave
out together with the two parameters.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.camera import FARTHEST
from xscale.geometry.models import BY_NAME, supported_model
from xscale.scene.layouts.colmap_text import parse_number

_PARAMETERS = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
_FISHEYES = ("fisheye", "equidistant_fisheye")
_AGAIN = "export the cameras again"


class Sensor(NamedTuple):
    """A calibrated sensor."""

    model: str
    K: np.ndarray
    distortion: np.ndarray
    size: tuple[int, int]


def numbers(element: ElementTree.Element | None, count: int, where: str) -> np.ndarray:
    """Return the numbers in an element's text.

    Raises:
        CameraError: There are more or fewer than ``count``, or one is not a finite number.
    """
    tokens = (element.text or "").split() if element is not None else []
    if len(tokens) != count:
        name = "element" if element is None else element.tag
        raise CameraError(
            f"{name} has {len(tokens)} numbers, needs {count}", where=where, advice=_AGAIN
        )
    values = np.array([parse_number(token, where) for token in tokens])
    if count and np.abs(values).max() > FARTHEST:
        raise CameraError(
            f"{element.tag if element is not None else ''} has {np.abs(values).max():g}",
            where=where,
            advice=_AGAIN,
        )
    return values


def read_sensor(sensor: ElementTree.Element, path: Path) -> Sensor:
    """Map a sensor to one of our models.

    Raises:
        CameraError: There is no model that is the same function.
    """
    where = f"{path}: sensor {sensor.get('label') or sensor.get('id')}"
    kind = sensor.get("type", "frame")
    found = sensor.findall("calibration")
    calibration = next((c for c in found if c.get("class") == "adjusted"), None)
    if calibration is None and found:
        calibration = found[-1]
    if calibration is not None:
        kind = calibration.get("type", kind)
    size = _size(calibration, sensor, where)
    if kind == "spherical":
        return _spherical(calibration, size, where)
    if calibration is None:
        raise CameraError("has no calibration", where=where, advice="align the photos first")
    values = _parameters(calibration, where)
    f = values["f"]
    if not f > 0:
        raise CameraError(f"the focal length is {f:g}", where=where, advice=_AGAIN)
    K = np.array(
        [
            [f + values["b1"], values["b2"], size[0] / 2 + values["cx"]],
            [0.0, f, size[1] / 2 + values["cy"]],
            [0.0, 0.0, 1.0],
        ]
    )
    name, distortion = _lens(kind, values, where)
    supported_model(BY_NAME[name], where)
    return Sensor(name, K, distortion, size)


def _parameters(calibration: ElementTree.Element, where: str) -> dict[str, float]:
    """Return a calibration's numbers; what it does not say is 0."""
    values = dict.fromkeys(_PARAMETERS, 0.0)
    for child in calibration:
        if child.tag in values:
            values[child.tag] = float(numbers(child, 1, where)[0])
    return values


def _spherical(
    calibration: ElementTree.Element | None, size: tuple[int, int], where: str
) -> Sensor:
    """Return the sensor of a whole panorama.

    Raises:
        CameraError: It is a part of one, or corrected.
    """
    values = {} if calibration is None else _parameters(calibration, where)
    corrected = [name for name, value in values.items() if value and name != "f"]
    if size[0] != 2 * size[1] or corrected:
        what = f"has {', '.join(corrected)}" if corrected else f"is {size[0]} x {size[1]}"
        raise CameraError(
            f"the panorama {what}; only whole ones, twice as wide as high, are supported",
            where=where,
            advice="convert the photos to frame cameras in Metashape and export again",
        )
    known = supported_model(BY_NAME["EQUIRECTANGULAR"], where)
    return Sensor(known.name, *known.intrinsics(np.array(size, np.float64)), size)


def _size(
    calibration: ElementTree.Element | None, sensor: ElementTree.Element, where: str
) -> tuple[int, int]:
    """Return the picture size that the calibration refers to."""
    element = calibration.find("resolution") if calibration is not None else None
    if element is None:
        element = sensor.find("resolution")
    found = [] if element is None else [element.get(k, "") for k in ("width", "height")]
    if len(found) != 2 or not all(v.isascii() and v.isdigit() and 0 < len(v) < 9 for v in found):
        raise CameraError("has no resolution", where=where, advice=_AGAIN)
    return int(found[0]), int(found[1])


def _lens(kind: str, values: dict[str, float], where: str) -> tuple[str, np.ndarray]:
    """Return name and parameters of the model that is Metashape's lens."""
    k1, k2, k3, k4 = (values[f"k{n}"] for n in range(1, 5))
    # Metashape: dx = (P1 (r^2 + 2 x^2) + 2 P2 x y) (1 + P3 r^2 + P4 r^4).
    # OpenCV: dx = 2 p1 x y + p2 (r^2 + 2 x^2).
    p1, p2, p3, p4 = (values[f"p{n}"] for n in (2, 1, 3, 4))
    if kind == "frame" and (p1 or p2) and (p3 or p4):
        return "METASHAPE", np.array([k1, k2, p1, p2, k3, k4, p3, p4])
    if kind in _FISHEYES and (p3 or p4):
        raise CameraError(
            "the calibration of a fisheye has p3 or p4, which no model here has",
            where=where,
            advice="run Optimize Cameras without p3 and p4, or export undistorted photos",
        )
    if kind in _FISHEYES:
        if p1 or p2:
            return "THIN_PRISM_FISHEYE", np.array([k1, k2, p1, p2, k3, k4, 0.0, 0.0])
        return "OPENCV_FISHEYE", np.array([k1, k2, k3, k4])
    if kind != "frame":
        raise CameraError(
            f"sensors of type {kind} are not supported (frame, fisheye and spherical are)",
            where=where,
            advice="convert the photos to frame cameras in Metashape and export again",
        )
    if k4:
        return "BROWN", np.array([k1, k2, p1, p2, k3, k4])
    if k3:
        return "FULL_OPENCV", np.array([k1, k2, p1, p2, k3, 0.0, 0.0, 0.0])
    if k1 or k2 or p1 or p2:
        return "OPENCV", np.array([k1, k2, p1, p2])
    return "PINHOLE", np.zeros(0)

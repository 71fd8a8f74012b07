"""Camera to JSON values and back: the one form that manifests and jobs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.camera import Camera


def camera_to_json(camera: Camera) -> dict[str, Any]:
    """Return a camera as plain values: sizes in pixels, matrices as lists of rows."""
    return {
        "model": camera.model,
        "width": camera.width,
        "height": camera.height,
        "K": camera.K.tolist(),
        "R": camera.R.tolist(),
        "t": camera.t.tolist(),
        "distortion": camera.distortion.tolist(),
        "near": camera.near,
    }


def camera_from_json(values: Mapping[str, Any], where: object) -> Camera:
    """Return the camera that ``camera_to_json`` wrote.

    Args:
        values: Plain values; ``distortion`` and ``near`` may be missing.
        where: Place of the values, for errors.

    Raises:
        CameraError: A value is missing, has another type or shape, or is impossible.
    """
    try:
        return Camera(
            model=_text(values["model"]),
            width=_whole(values["width"]),
            height=_whole(values["height"]),
            K=_array(values["K"], (3, 3)),
            R=_array(values["R"], (3, 3)),
            t=_array(values["t"], (3,)),
            distortion=_array(values.get("distortion", []), None),
            near=_real(values.get("near", 0.0)),
        )
    except KeyError as error:
        raise CameraError(f"the camera has no {error.args[0]}", where=where) from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CameraError(f"the camera is not readable: {error}", where=where) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a name")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise TypeError(f"{value!r:.40} is not a size in pixels")
    return value


def _real(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is not a number")
    return float(value)


def _array(value: object, shape: tuple[int, ...] | None) -> np.ndarray:
    found = np.array(value)
    if not isinstance(value, list) or (found.dtype.kind not in "if" and found.size):
        raise TypeError(f"{value!r:.40} is not a list of numbers")
    found = found.astype(np.float64)
    if found.shape != shape and (shape is not None or found.ndim != 1):
        raise ValueError(f"{list(found.shape)} numbers, needs {list(shape or (0,))}")
    return found

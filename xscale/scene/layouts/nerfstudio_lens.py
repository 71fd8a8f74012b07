"""The intrinsics of a frame of ``transforms.json``, as COLMAP has them."""

from __future__ import annotations

import math

import numpy as np

from xscale.errors import CameraError

BENDING = ("k1", "k2", "k3", "k4", "p1", "p2")
_FEWER = {"PINHOLE": (), "SIMPLE_PINHOLE": (), "SIMPLE_RADIAL": ("k1",), "RADIAL": ("k1", "k2")}


def focal(values: dict[str, float | None], axis: str, size: int, where: str) -> float | None:
    """Return the focal length along an axis from pixels or from an angle."""
    pixels, radians, degrees = (
        values[key] for key in (f"fl_{axis}", f"camera_angle_{axis}", f"{axis}_fov")
    )
    if pixels is not None:
        return pixels
    angle = radians if radians is not None else None if degrees is None else math.radians(degrees)
    if angle is None:
        return None
    if not 0 < angle < math.pi:
        raise CameraError(
            f"the angle of view along {axis} is {angle:g} radians",
            where=where,
            advice="angles are in radians, between 0 and pi",
        )
    return size / (2 * math.tan(angle / 2))


def lens(model: str, bending: dict[str, float], where: str) -> tuple[str, np.ndarray]:
    """Return COLMAP's name and parameters of the same lens, exactly."""
    used = {key for key, value in bending.items() if value}
    surplus = used - set(_FEWER.get(model, BENDING))
    if model == "OPENCV_FISHEYE":
        surplus = used & {"p1", "p2"}
    if model == "OPENCV":
        surplus = used & {"k4"}
    if surplus:
        raise CameraError(
            f"camera model {model} with {', '.join(sorted(surplus))} is not defined",
            where=where,
            advice="write another camera_model, or undistort the photos through COLMAP",
        )
    values = [bending[key] for key in ("k1", "k2", "p1", "p2")]
    if model == "OPENCV_FISHEYE":
        return model, np.array([bending[key] for key in ("k1", "k2", "k3", "k4")])
    if not used:
        return "PINHOLE", np.zeros(0)
    if bending["k3"]:
        return "FULL_OPENCV", np.array([*values, bending["k3"], 0.0, 0.0, 0.0])
    return "OPENCV", np.array(values)

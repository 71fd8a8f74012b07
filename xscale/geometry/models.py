"""COLMAP's camera models: their numbers, parameter names, and the distortion of those we compute.

A model maps normalised camera coordinates ``(x / z, y / z)`` to distorted ones; K then maps those
to pixels. Adding a model means giving its row a ``distort`` and an ``undistort`` function: the
readers, :class:`xscale.geometry.camera.Camera` and its rays look nothing else up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xscale.errors import CameraError

Distortion = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(normalised float64 [N, 2], parameters float64 [n]) -> float64 [N, 2]``."""

_FOCAL = ("f", "fx", "fy")
_CENTRE = ("cx", "cy")


@dataclass(frozen=True)
class CameraModel:
    """One camera model as COLMAP defines it."""

    name: str
    """COLMAP's name, for example ``PINHOLE``."""
    colmap_id: int
    """The number that stands for the model in ``cameras.bin``."""
    parameters: tuple[str, ...]
    """Names of the parameters in COLMAP's order."""
    distort: Distortion | None = None
    """Ideal to distorted normalised coordinates; None while the model is not supported."""
    undistort: Distortion | None = None
    """Inverse of ``distort``."""

    @property
    def supported(self) -> bool:
        """Whether rays can be computed for this model."""
        return self.distort is not None and self.undistort is not None

    def intrinsics(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split a parameter list into K (float64 [3, 3]) and the distortion (float64 [n])."""
        named = dict(zip(self.parameters, (float(v) for v in values), strict=True))
        fx = named["f"] if "f" in named else named["fx"]
        fy = named["f"] if "f" in named else named["fy"]
        K = np.array([[fx, 0.0, named["cx"]], [0.0, fy, named["cy"]], [0.0, 0.0, 1.0]])
        rest = [v for name, v in named.items() if name not in _FOCAL + _CENTRE]
        return K, np.array(rest, dtype=np.float64)


def _ideal(normalised: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """A pinhole bends nothing."""
    del parameters
    return normalised


_MODELS = (
    CameraModel("SIMPLE_PINHOLE", 0, ("f", "cx", "cy"), _ideal, _ideal),
    CameraModel("PINHOLE", 1, ("fx", "fy", "cx", "cy"), _ideal, _ideal),
    CameraModel("SIMPLE_RADIAL", 2, ("f", "cx", "cy", "k")),
    CameraModel("RADIAL", 3, ("f", "cx", "cy", "k1", "k2")),
    CameraModel("OPENCV", 4, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
    CameraModel("OPENCV_FISHEYE", 5, ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")),
    CameraModel(
        "FULL_OPENCV",
        6,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    ),
    CameraModel("FOV", 7, ("fx", "fy", "cx", "cy", "omega")),
    CameraModel("SIMPLE_RADIAL_FISHEYE", 8, ("f", "cx", "cy", "k")),
    CameraModel("RADIAL_FISHEYE", 9, ("f", "cx", "cy", "k1", "k2")),
    CameraModel(
        "THIN_PRISM_FISHEYE",
        10,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
    ),
    CameraModel(
        "RAD_TAN_THIN_PRISM_FISHEYE",
        11,
        (
            *("fx", "fy", "cx", "cy", "k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1"),
            *("s0", "s1", "s2", "s3"),
        ),
    ),
    CameraModel("SIMPLE_DIVISION", 12, ("f", "cx", "cy", "k")),
    CameraModel("DIVISION", 13, ("fx", "fy", "cx", "cy", "k")),
    CameraModel("SIMPLE_FISHEYE", 14, ("f", "cx", "cy")),
    CameraModel("FISHEYE", 15, ("fx", "fy", "cx", "cy")),
    CameraModel("EUCM", 16, ("fx", "fy", "cx", "cy", "alpha", "beta")),
    CameraModel("EQUIRECTANGULAR", 17, ("w", "h")),
)
BY_NAME = {model.name: model for model in _MODELS}
BY_COLMAP_ID = {model.colmap_id: model for model in _MODELS}


def _supported_names() -> str:
    return ", ".join(model.name for model in _MODELS if model.supported)


def known_model(key: str | int, where: object) -> CameraModel:
    """Look a model up by COLMAP's name or number, without asking whether we can compute it.

    Raises:
        CameraError: There is no such model.
    """
    model = BY_NAME.get(key) if isinstance(key, str) else BY_COLMAP_ID.get(key)
    if model is None:
        known = f"{_supported_names()} and other COLMAP models numbered 0 to {len(_MODELS) - 1}"
        raise CameraError(
            f"camera model {key!r} is unknown; known are {known}",
            where=where,
            advice="write the model again with COLMAP, or check that the file is not damaged",
        )
    return model


def supported_model(model: CameraModel, where: object) -> CameraModel:
    """Return ``model`` if its rays can be computed.

    Raises:
        CameraError: The model distorts in a way that is not supported.
    """
    if not model.supported:
        raise CameraError(
            f"camera model {model.name} is not supported (supported: {_supported_names()})",
            where=where,
            advice="undistort with colmap image_undistorter",
        )
    return model

"""COLMAP's camera models: their numbers, parameter names, and the lenses of those we compute.

``BROWN`` and ``METASHAPE`` are none of COLMAP's: their radial polynomial has a fourth term, as
Metashape's and RealityCapture's lenses have; the second's tangential part grows with the radius.

K maps a lens's normalised coordinates to pixels. Adding a model means giving its row a projection
and its parameters a place among the lens's coefficients: the readers,
:class:`xscale.geometry.camera.Camera` and the kernels look nothing else up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.lens import COEFFICIENTS, Lens, Projection

_FOCAL = ("f", "fx", "fy")
_CENTRE = ("cx", "cy")
_SHARED = {"k": 0, "k1": 0, "k2": 1, "k3": 2, "p1": 7, "p2": 8, "sx1": 9, "sy1": 10}
_PLACES = {
    Projection.PERSPECTIVE: {
        **{name: place for name, place in _SHARED.items() if name not in ("sx1", "sy1")},
        **{"k4": 4, "k5": 5, "k6": 6, "r8": 3, "p3": 9, "p4": 10},
    },
    Projection.FISHEYE: {**_SHARED, "k4": 3},
    Projection.FOV: {"omega": 0},
}
"""Which lens coefficient each parameter is."""


@dataclass(frozen=True)
class CameraModel:
    """One camera model as COLMAP defines it."""

    name: str
    """COLMAP's name, for example ``PINHOLE``."""
    colmap_id: int | None
    """The number that stands for the model in ``cameras.bin``; None where COLMAP lacks it."""
    parameters: tuple[str, ...]
    """Names of the parameters in COLMAP's order."""
    projection: Projection | None = None
    """Kind of lens; None where the model is not supported."""

    @property
    def supported(self) -> bool:
        """Whether rays can be computed for this model."""
        return self.projection is not None

    @property
    def bending(self) -> tuple[str, ...]:
        """Names of the distortion parameters: all that K does not hold."""
        if self.projection is Projection.EQUIRECTANGULAR:
            return ()
        return tuple(name for name in self.parameters if name not in _FOCAL + _CENTRE)

    def intrinsics(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split a parameter list into K (float64 [3, 3]) and the distortion (float64 [n])."""
        named = dict(zip(self.parameters, (float(v) for v in values), strict=True))
        if self.projection is Projection.EQUIRECTANGULAR:
            named = {
                "fx": named["w"] / (2 * math.pi),
                "fy": named["h"] / math.pi,
                "cx": named["w"] / 2,
                "cy": named["h"] / 2,
            }
        fx = named["f"] if "f" in named else named["fx"]
        fy = named["f"] if "f" in named else named["fy"]
        K = np.array([[fx, 0.0, named["cx"]], [0.0, fy, named["cy"]], [0.0, 0.0, 1.0]])
        return K, np.array([named[name] for name in self.bending], dtype=np.float64)

    def lens(self, distortion: np.ndarray) -> Lens:
        """Return the lens with these distortion parameters (float64 [n], COLMAP's order).

        Raises:
            CameraError: The model is not supported.
        """
        supported_model(self, "camera")
        coefficients = np.zeros(COEFFICIENTS)
        for name, value in zip(self.bending, distortion, strict=True):
            coefficients[_PLACES[self.projection][name]] = value
        if not coefficients.any() and not self.projection.wide:
            return Lens(Projection.PINHOLE)
        return Lens(self.projection, coefficients)


_MODELS = (
    CameraModel("SIMPLE_PINHOLE", 0, ("f", "cx", "cy"), Projection.PINHOLE),
    CameraModel("PINHOLE", 1, ("fx", "fy", "cx", "cy"), Projection.PINHOLE),
    CameraModel("SIMPLE_RADIAL", 2, ("f", "cx", "cy", "k"), Projection.PERSPECTIVE),
    CameraModel("RADIAL", 3, ("f", "cx", "cy", "k1", "k2"), Projection.PERSPECTIVE),
    CameraModel(
        "OPENCV", 4, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"), Projection.PERSPECTIVE
    ),
    CameraModel(
        "OPENCV_FISHEYE", 5, ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"), Projection.FISHEYE
    ),
    CameraModel(
        "FULL_OPENCV",
        6,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
        Projection.PERSPECTIVE,
    ),
    CameraModel("FOV", 7, ("fx", "fy", "cx", "cy", "omega"), Projection.FOV),
    CameraModel("SIMPLE_RADIAL_FISHEYE", 8, ("f", "cx", "cy", "k"), Projection.FISHEYE),
    CameraModel("RADIAL_FISHEYE", 9, ("f", "cx", "cy", "k1", "k2"), Projection.FISHEYE),
    CameraModel(
        "THIN_PRISM_FISHEYE",
        10,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
        Projection.FISHEYE,
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
    CameraModel("SIMPLE_FISHEYE", 14, ("f", "cx", "cy"), Projection.FISHEYE),
    CameraModel("FISHEYE", 15, ("fx", "fy", "cx", "cy"), Projection.FISHEYE),
    CameraModel("EUCM", 16, ("fx", "fy", "cx", "cy", "alpha", "beta")),
    CameraModel("EQUIRECTANGULAR", 17, ("w", "h"), Projection.EQUIRECTANGULAR),
    CameraModel(
        "BROWN",
        None,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "r8"),
        Projection.PERSPECTIVE,
    ),
    CameraModel(
        "METASHAPE",
        None,
        ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "r8", "p3", "p4"),
        Projection.PERSPECTIVE,
    ),
)
BY_NAME = {model.name: model for model in _MODELS}
_OF_COLMAP = {key: m for m in _MODELS if m.colmap_id is not None for key in (m.name, m.colmap_id)}


def _supported_names() -> str:
    return ", ".join(model.name for model in _MODELS if model.supported)


def known_model(name: str, where: object) -> CameraModel:
    """Look a model up, without asking whether we can compute it.

    Raises:
        CameraError: There is no such model.
    """
    return _found(BY_NAME, name, where)


def colmap_model(key: str | int, where: object) -> CameraModel:
    """Look one of COLMAP's models up by its name or number, as its files have it.

    Raises:
        CameraError: COLMAP has no such model.
    """
    return _found(_OF_COLMAP, key, where)


def _found(models: Mapping[object, CameraModel], key: str | int, where: object) -> CameraModel:
    model = models.get(key)
    if model is None:
        numbers = [m.colmap_id for m in _MODELS if m.colmap_id is not None]
        known = f"{_supported_names()} and other COLMAP models numbered 0 to {max(numbers)}"
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

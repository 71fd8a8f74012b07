"""One camera of every supported model, strong enough that each parameter can be seen."""

from __future__ import annotations

import numpy as np

from xscale.geometry.camera import Camera
from xscale.geometry.models import BY_NAME

_PERSPECTIVE = np.array([[95.0, 0, 66.3], [0, 91.0, 44.8], [0, 0, 1]])
_FISHEYE = np.array([[42.0, 0, 66.3], [0, 40.5, 44.8], [0, 0, 1]])
DISTORTIONS = {
    "SIMPLE_PINHOLE": [],
    "PINHOLE": [],
    "SIMPLE_RADIAL": [-0.11],
    "RADIAL": [-0.13, 0.05],
    "OPENCV": [-0.12, 0.04, 0.013, -0.009],
    "FULL_OPENCV": [0.21, 0.04, 0.013, -0.009, 0.01, 0.35, 0.02, -0.004],
    "SIMPLE_RADIAL_FISHEYE": [0.03],
    "RADIAL_FISHEYE": [-0.02, 0.004],
    "OPENCV_FISHEYE": [-0.03, 0.012, -0.004, 0.0006],
    "FOV": [0.9],
    "SIMPLE_FISHEYE": [],
    "FISHEYE": [],
    "THIN_PRISM_FISHEYE": [-0.02, 0.004, 0.006, -0.004, 0.0007, -0.0002, 0.005, -0.003],
    "BROWN": [-0.12, 0.05, 0.013, -0.009, -0.02, 0.006],
    "METASHAPE": [-0.12, 0.05, 0.013, -0.009, -0.02, 0.006, 0.4, -0.15],
    "EQUIRECTANGULAR": [],
}
MODELS = tuple(DISTORTIONS)
BENT = MODELS[2:]
WIDE = (*(model for model in MODELS if "FISHEYE" in model), "EQUIRECTANGULAR")


def camera_of(model: str, width: int = 131, height: int = 90, *, R=None, t=None, **more) -> Camera:
    """A camera of a model; its picture is 131 x 90 pixels seen at another size."""
    K = np.array(_FISHEYE if model in WIDE else _PERSPECTIVE)
    if model == "EQUIRECTANGULAR":
        K, _ = BY_NAME[model].intrinsics([131, 90])
    elif "f" in BY_NAME[model].parameters:
        K[1, 1] = K[0, 0]
    R = np.eye(3) if R is None else R
    t = np.zeros(3) if t is None else t
    camera = Camera(model, 131, 90, K, R, t, DISTORTIONS[model], **more)
    return camera if (width, height) == (131, 90) else camera.scaled(width, height)

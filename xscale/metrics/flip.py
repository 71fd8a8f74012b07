"""FLIP: the error that is seen when two pictures alternate on a screen, by NVIDIA's package.

Source: Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", 2020.
"""

from __future__ import annotations

import importlib
import math
from importlib import metadata

import numpy as np

from xscale.errors import SetupError

PIXELS_PER_DEGREE = 3840 * math.pi / 180
"""The package's own, about 67: a screen of 3840 pixels and 0.7 m, seen from 0.7 m."""


class FlipModel:
    """The FLIP error map.

    Raises:
        SetupError: The package is not installed.
    """

    def __init__(self) -> None:
        try:
            self._package = importlib.import_module("flip_evaluator")
        except ImportError as error:
            raise SetupError(
                f"FLIP cannot be scored: {error}", advice="pip install 'xscale[more-metrics]'"
            ) from error
        self.source = {
            "package": f"flip-evaluator {metadata.version('flip-evaluator')}",
            "pixels_per_degree": PIXELS_PER_DEGREE,
        }

    def error_map(self, render: np.ndarray, photo: np.ndarray) -> np.ndarray:
        """Return the error of each pixel, float32 [H, W] in [0, 1].

        Args:
            render: float64 [H, W, 3] in [0, 1], sRGB.
            photo: The same.
        """
        first, second = (np.ascontiguousarray(p, np.float32) for p in (photo, render))
        found, _, _ = self._package.evaluate(
            first, second, "LDR", applyMagma=False, computeMeanError=False,
            parameters={"ppd": PIXELS_PER_DEGREE},
        )  # fmt: skip
        return np.asarray(found).reshape(*photo.shape[:2], -1)[:, :, 0]

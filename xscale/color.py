"""Colour spaces and colour scales, on numpy arrays."""

from __future__ import annotations

import numpy as np

# Dark blue to yellow with evenly rising lightness, so that prints in grey keep the order.
_SCALE = np.array(
    [(30, 20, 70), (60, 40, 130), (110, 50, 140), (165, 65, 125), (215, 95, 85), (245, 150, 55),
     (250, 215, 90), (250, 250, 190)], np.float64
)  # fmt: skip


def linear_from_srgb(srgb: np.ndarray) -> np.ndarray:
    """Return linear light of sRGB values in [0, 1] (IEC 61966-2-1); any shape, same dtype."""
    low = srgb / 12.92
    high = ((srgb + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, low, high).astype(srgb.dtype)


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    """Return sRGB values of linear light in [0, 1] (IEC 61966-2-1); any shape.

    Its twin on tensors, which goes on outside [0, 1], is ``xscale.ops.linear_to_srgb``.
    """
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def colour_scale(share: np.ndarray) -> np.ndarray:
    """Return colours uint8 [..., 3] of values in [0, 1]; NaN becomes white."""
    place = np.clip(np.nan_to_num(share), 0, 1)
    stops = np.linspace(0, 1, len(_SCALE))
    colour = np.stack([np.interp(place, stops, _SCALE[:, k]) for k in range(3)], -1)
    colour[np.isnan(share)] = 255
    return np.rint(colour).astype(np.uint8)

"""Colour spaces of photos: sRGB as stored, linear light, or the embedded profile's."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from xscale.color import srgb_from_linear
from xscale.errors import PhotoError, SetupError

Color = Literal["srgb", "linear", "icc"]
"""How a photo's numbers become sRGB."""


def encode_linear(light: np.ndarray) -> np.ndarray:
    """Encode linear light, 1 being white, as sRGB: uint16; what lies outside 0 to 1 is cut off."""
    light = np.clip(np.nan_to_num(light, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    light = light.astype(np.float64)
    return np.floor(srgb_from_linear(light) * 65535 + 0.5).astype(np.uint16)


def as_srgb(rgb: np.ndarray, color: Color, profile: bytes | None, path: Path) -> np.ndarray:
    """Take a photo's integers to sRGB.

    Args:
        rgb: uint8 or uint16 [H, W, 3].
        color: ``srgb`` changes nothing. ``linear``: the numbers are linear light; uint16 comes
            back. ``icc``: the embedded profile says; without one they are sRGB.
        profile: The embedded ICC profile.
        path: The photo, for errors.

    Raises:
        PhotoError: The profile is damaged or not of RGB.
        SetupError: 16-bit pictures with a profile need imagecodecs.
    """
    if color == "linear":
        return _table(np.iinfo(rgb.dtype).max)[rgb]
    if color == "srgb" or not profile:
        return rgb
    return _by_profile(rgb, profile, path)


@cache
def _table(largest: int) -> np.ndarray:
    return encode_linear(np.arange(largest + 1) / largest)


def _by_profile(rgb: np.ndarray, profile: bytes, path: Path) -> np.ndarray:
    """Convert by littleCMS, relative colorimetric: white stays white."""
    from PIL import Image, ImageCms

    try:
        if rgb.dtype == np.uint8:
            srgb = ImageCms.createProfile("sRGB")
            embedded = ImageCms.getOpenProfile(io.BytesIO(profile))
            done = ImageCms.profileToProfile(
                Image.fromarray(rgb),
                embedded,
                srgb,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
            )
            return np.array(done)
        import imagecodecs

        return imagecodecs.cms_transform(
            rgb,
            profile,
            imagecodecs.cms_profile("srgb"),
            colorspace="rgb",
            outcolorspace="rgb",
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        )
    except ImportError as error:
        raise SetupError(
            "converting 16 bits by a profile needs imagecodecs",
            where=path,
            advice="pip install xscale[formats]",
        ) from error
    except Exception as error:  # littleCMS's errors have no common type
        raise PhotoError(
            f"has a colour profile that cannot be used: {' '.join(str(error).split())[:120]}",
            where=path,
            advice="leave --color icc out, or convert the photos to sRGB",
        ) from error

"""Decoders by kind of picture: every one gives all pixels or an error, never a part."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from xscale.errors import DamagedPhotoError
from xscale.io.photo import deep_images, jpeg, png_chunks
from xscale.io.photo.deep_images import Deep, damaged

FORMATS = ("JPEG", "PNG", "WEBP")
"""Formats that Pillow may open."""
INKS = ("CMYK", "YCCK")
_STRAY_BYTES = 16


def decoder_of(kind: str, mode: str, bits: int) -> Callable[[Path], Deep]:
    """Return what decodes a picture, by what its header says."""
    if kind == "JPEG":
        return _decode_inks if mode in INKS else _decode_jpeg
    if kind == "TIFF":
        return deep_images.decode_tiff
    if kind == "EXR":
        return deep_images.decode_exr
    if kind == "PNG":
        return _decode_png16 if bits == 16 else _decode_png
    return _from_pillow


def _decode_png16(path: Path) -> Deep:
    data, profile = _whole_png(path)
    return deep_images.decode_png16(data, path)._replace(profile=profile)


def _decode_png(path: Path) -> Deep:
    data, profile = _whole_png(path)
    return _from_pillow(io.BytesIO(data))._replace(profile=profile)


def _whole_png(path: Path) -> tuple[bytes, bytes | None]:
    """Read what pixels depend on of a PNG, and its profile.

    Raises:
        DamagedPhotoError: A checksum is wrong; decoders look at some of them only.
    """
    data = path.read_bytes()
    fault = png_chunks.damage(data)
    if fault is not None:
        raise damaged(path, fault)
    return png_chunks.needed(data), png_chunks.head(io.BytesIO(data))[1]


def _from_pillow(source: Path | io.BytesIO) -> Deep:
    with Image.open(source, formats=FORMATS) as image:
        profile = image.info.get("icc_profile")
        if image.has_transparency_data:
            rgba = np.array(image.convert("RGBA"))
            colour = np.ascontiguousarray(rgba[:, :, :3])
            return Deep(colour, rgba[:, :, 3] / 255.0, profile)
        return Deep(np.array(image if image.mode == "RGB" else image.convert("RGB")), None, profile)


def _decode_inks(path: Path) -> Deep:
    """Decode a CMYK JPEG to what ideal inks would show; Adobe's files hold inverted inks."""
    with Image.open(path, formats=FORMATS) as image:
        inverted = "adobe" in image.info
    inks = _decode_jpeg(path, "CMYK").rgb
    light = (inks if inverted else 255 - inks).astype(np.uint16)
    return Deep(((light[:, :, :3] * light[:, :, 3:] + 127) // 255).astype(np.uint8), None)


def _decode_jpeg(path: Path, colours: str = "RGB") -> Deep:
    """Decode with libjpeg-turbo into the array; its warnings are errors."""
    data = path.read_bytes()
    profile = jpeg.profile(data)
    fault = jpeg.damage(data)
    if fault is None:
        try:
            return Deep(simplejpeg.decode_jpeg(data, colours), None, profile)
        except ValueError as error:
            fault = str(error)
        stray = re.fullmatch(r"Corrupt JPEG data: (\d+) extraneous bytes before .* 0xd9", fault)
        # Some cameras pad the pixels' end; a decoder that lost its way leaves more behind.
        if stray and int(stray[1]) <= _STRAY_BYTES:
            return Deep(simplejpeg.decode_jpeg(data, colours, strict=False), None, profile)
        fault = "it is truncated" if "Premature end" in fault else fault
    raise DamagedPhotoError(
        f"is damaged: {fault}",
        where=path,
        advice="copy it again from the camera or take it out of the scene",
    )

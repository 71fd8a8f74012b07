"""Photos and masks in, PNG files out. Pixels are taken as stored: no turning, no colour profiles.

Accepted are JPEG and PNG with 8 bits a channel. Grey and palette pictures become RGB, an alpha
channel becomes a mask (below 128 is left out).
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from xscale.errors import InputError, LimitError, MaskError, PhotoError
from xscale.io import jpeg, storage
from xscale.io.resample import area_downscale, mask_downscale

__all__ = [
    "ImageInfo",
    "area_downscale",
    "encode_png",
    "exif_orientation",
    "image_info",
    "image_size",
    "mask_downscale",
    "read_mask",
    "read_rgb",
    "write_png",
]

# Our own rule (_check_bomb) decides: Pillow's counts pixels alone and refuses gigapixel photos.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("JPEG", "PNG")
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_TAIL = 1 << 16
_BOMB_PIXELS = 256 * 10**6
_BOMB_RATIO = 1000
_ALPHA_KEPT = 128
_ORIENTATION_TAG = 0x0112
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_OTHERS = (
    (b"II*\0", 0, "a TIFF or RAW file"),
    (b"MM\0*", 0, "a TIFF or RAW file"),
    (b"ftyp", 4, "a HEIC, AVIF or video file"),
    (b"WEBP", 8, "a WebP file"),
    (b"GIF8", 0, "a GIF file"),
    (b"BM", 0, "a BMP file"),
    (b"v/1\x01", 0, "an OpenEXR file"),
)


class ImageInfo(NamedTuple):
    """What a picture's header says."""

    width: int
    height: int
    mode: str
    """Pillow's name of the pixel layout, for example ``RGB``."""
    has_alpha: bool
    """Whether decoding gives a mask."""
    file_size: int
    """Bytes on disk."""
    complete: bool
    """False for a JPEG without end marker in its last 64 KiB: it may be cut off."""


def image_info(path: str | Path) -> ImageInfo:
    """Read a picture's header; nothing is decoded.

    Raises:
        PhotoError: Missing, not a regular file, not a JPEG or PNG, 16-bit or CMYK.
        LimitError: It would unpack to far more than its size explains.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("is not a regular file", where=path, advice="replace it by a photo")
        with path.open("rb") as file:
            head = file.read(32)
            _check_signature(path, head, status.st_size)
            file.seek(max(0, status.st_size - _TAIL))
            tail = file.read(_TAIL)
            file.seek(0)
            with Image.open(file, formats=_FORMATS) as image:
                info = ImageInfo(
                    image.width,
                    image.height,
                    image.mode,
                    image.has_transparency_data,
                    status.st_size,
                    (b"IEND" if head.startswith(_PNG) else b"\xff\xd9") in tail,
                )
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    _check_header(path, head, info)
    return info


def _unreadable(path: Path, error: Exception) -> PhotoError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return PhotoError(
        f"cannot be read as a picture: {reason}",
        where=path,
        advice="copy it again from the camera or take it out of the scene",
    )


def _check_signature(path: Path, head: bytes, size: int) -> None:
    """Refuse by name what is not a JPEG or PNG, whatever the file is called."""
    if head.startswith((_JPEG, _PNG)):
        return
    advice = "convert it to PNG or JPEG"
    for magic, offset, name in _OTHERS:
        if head[offset:].startswith(magic):
            raise PhotoError(f"is {name}, not a JPEG or PNG", where=path, advice=advice)
    advice = "copy it again from the camera or take it out of the scene"
    if not size:
        raise PhotoError("is empty (0 bytes)", where=path, advice=advice)
    raise PhotoError(
        f"is not a picture: {size} bytes without a JPEG or PNG signature",
        where=path,
        advice=advice,
    )


def _check_header(path: Path, head: bytes, info: ImageInfo) -> None:
    """Refuse what cannot be read faithfully, before anything is decoded.

    A JPEG without end marker is left to the caller: phones append films to photos, so only
    decoding tells. Nothing comes after a PNG.
    """
    # Pillow opens a 16-bit RGB PNG as 8-bit without a word; byte 24 is the true depth.
    if head.startswith(_PNG) and head[24] == 16:
        raise PhotoError(
            "has 16 bits a channel, 8 are supported",
            where=path,
            advice="convert all photos to 8-bit PNG in the same way",
        )
    if head.startswith(_PNG) and not info.complete:
        raise PhotoError(
            "is cut off: the PNG has no end",
            where=path,
            advice="copy it again from the camera or take it out of the scene",
        )
    if info.mode in ("CMYK", "YCCK", "LAB"):
        raise PhotoError(
            f"is a {info.mode} picture, RGB or grey is needed",
            where=path,
            advice="convert it to RGB",
        )
    pixels = info.width * info.height
    if pixels > _BOMB_PIXELS and pixels * 3 > _BOMB_RATIO * info.file_size:
        raise LimitError(
            f"says {info.width} x {info.height} pixels in {info.file_size} bytes; over 256 "
            "megapixels may unpack to at most 1000 times the file's size",
            where=path,
            advice="this looks like a decompression bomb: take it out of the scene",
        )


def image_size(path: str | Path) -> tuple[int, int]:
    """Return ``(width, height)`` as stored, from the header only; errors of `image_info`."""
    info = image_info(path)
    return info.width, info.height


def exif_orientation(path: str | Path) -> int:
    """Return the EXIF orientation 1 to 8; 1 where there is none or it is damaged."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_rgb(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a whole photo.

    Returns:
        uint8 [H, W, 3], sRGB as stored, and the mask from the alpha channel, bool [H, W], true
        where the pixel is kept (alpha at least 128), or None without alpha.

    Raises:
        PhotoError: Not a picture, not supported, cut off or damaged.
        LimitError: It would unpack to far more than its size explains.
    """
    path = Path(path)
    info = image_info(path)
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if info.has_alpha:
                rgba = np.array(image.convert("RGBA"))
                return np.ascontiguousarray(rgba[:, :, :3]), rgba[:, :, 3] >= _ALPHA_KEPT
            rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    damage = jpeg.damage(data) if data.startswith(_JPEG) else None
    if damage is not None:
        raise PhotoError(
            f"is damaged: {damage}",
            where=path,
            advice="copy it again from the camera or take it out of the scene",
        )
    return rgb, None


def read_mask(path: str | Path) -> np.ndarray:
    """Decode a mask picture: 0 (black) is left out, everything else is kept.

    Returns:
        bool [H, W], true where the pixel is kept.

    Raises:
        MaskError: It cannot be read.
    """
    try:
        rgb, kept = read_rgb(path)
    except InputError as error:
        raise MaskError(error.what, where=error.where, advice=error.advice) from error
    mask = rgb.any(axis=2)
    return mask if kept is None else mask & kept


def encode_png(picture: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 3] or [H, W] (grey) as PNG; the same pixels give the same bytes.

    Equal bytes hold for one version of Pillow and zlib; no time or software name is stored.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise ValueError(f"a PNG needs uint8 [H, W, 3] or [H, W], got {picture.dtype}")
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "PNG", compress_level=6, optimize=False)
    return buffer.getvalue()


def write_png(path: str | os.PathLike, picture: np.ndarray, *, overwrite: bool = False) -> None:
    """Write a PNG atomically; errors of :func:`xscale.io.storage.open_atomic`."""
    storage.write_bytes(Path(path), encode_png(picture), overwrite=overwrite)

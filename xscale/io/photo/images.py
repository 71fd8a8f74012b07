"""Photos and masks in, PNG files out. Pixels are taken as stored, unless asked otherwise.

JPEG, PNG, WebP, TIFF and OpenEXR are read, whatever the file is called. Grey and palette pictures
become RGB, an alpha channel becomes a mask (below 128 of 255 is left out). Decoders let other
threads run meanwhile.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from xscale.errors import (
    DamagedPhotoError,
    InputError,
    MaskError,
    PhotoError,
)
from xscale.io import storage
from xscale.io.photo import deep_images, png_chunks
from xscale.io.photo import file as photo_file
from xscale.io.photo.colour_spaces import Color, as_srgb
from xscale.io.photo.decoders import FORMATS, INKS, decoder_of
from xscale.io.photo.deep_images import damaged, refused
from xscale.io.photo.file import EDGE, Mark, is_passing, with_retries
from xscale.io.photo.kinds import kind_of
from xscale.io.photo.limits import check_size
from xscale.io.photo.resample import area_downscale, mask_downscale, to_8bit

__all__ = [
    "Alpha",
    "ImageInfo",
    "area_downscale",
    "encode_png",
    "exif_orientation",
    "image_info",
    "image_size",
    "mask_downscale",
    "read_mask",
    "read_pixels",
    "read_rgb",
    "write_png",
]

# Our own rule (check_size) decides: Pillow's counts pixels alone and refuses gigapixel photos.
Image.MAX_IMAGE_PIXELS = None

_ALPHA_KEPT = 128
_ORIENTATION_TAG = 0x0112
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
    AssertionError, AttributeError, struct.error, zlib.error,
)  # fmt: skip
"""Errors by which Pillow says that a file is damaged, on purpose or not."""


Alpha = Literal["mask", "ignore", "over-white"]
"""Meanings of a photo's alpha channel."""


class ImageInfo(NamedTuple):
    """Header of a picture."""

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
    kind: str = "PNG"
    """``JPEG``, ``PNG``, ``WEBP``, ``TIFF`` or ``EXR``."""
    bits: int = 8
    """Bits of a channel."""
    profile: str | None = None
    """The embedded colour profile, where it is another than sRGB."""
    mark: Mark | None = None
    """Fingerprint by which the file is recognised."""
    progressive: bool = False
    """Whether a JPEG's pixels are spread over scans, so that all must be held to decode it."""


class Pixels(NamedTuple):
    """A decoded photo."""

    rgb: np.ndarray
    """uint8, or uint16 where the file has more bits, [H, W, 3], sRGB as stored."""
    kept: np.ndarray | None
    """bool [H, W], true where alpha is at least 128 of 255; None without alpha."""


class OutOfRange(NamedTuple):
    """Pixels of a floating-point picture that training cannot see as they are."""

    unreal: int
    """How many are not numbers; they are never kept."""
    clipped: int
    """How many are negative or brighter than white, and are cut off."""


def image_info(path: str | Path, *, convert_cmyk: bool = False) -> ImageInfo:
    """Read a picture's header; nothing is decoded.

    Args:
        path: The file.
        convert_cmyk: Whether a CMYK JPEG is let through.

    Raises:
        PhotoError: Missing, not a regular file, of a kind that is not read, or CMYK.
        LimitError: It would unpack to far more than its size explains.
        SetupError: Its kind needs a package that is not installed.
    """
    path = Path(path)
    return with_retries(lambda: _image_info(path, convert_cmyk), path)


def _image_info(path: Path, convert_cmyk: bool) -> ImageInfo:
    profile = None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("is not a regular file", where=path, advice="replace it by a photo")
        with path.open("rb") as file:
            head = file.read(EDGE)
            file.seek(max(0, status.st_size - EDGE))
            tail = file.read(EDGE)
            kind = kind_of(path, head[:32], status.st_size)
            mark = photo_file.mark_from(status, head, tail)
            if kind in ("TIFF", "EXR"):
                return _deep_info(path, kind, mark)
            file.seek(0)
            begin = file
            if kind == "PNG":
                start, profile = png_chunks.head(file)
                begin = io.BytesIO(start)
            with Image.open(begin, formats=FORMATS) as image:
                info = ImageInfo(
                    image.width,
                    image.height,
                    image.mode,
                    image.has_transparency_data,
                    status.st_size,
                    _is_complete(kind, head, tail, status.st_size),
                    kind,
                    16 if kind == "PNG" and head[24] == 16 else 8,
                    _profile(profile or image.info.get("icc_profile")),
                    mark,
                    bool(image.info.get("progressive")),
                )
                frames = getattr(image, "n_frames", 1)
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    if frames > 1 and kind == "WEBP":
        raise refused(f"is a film of {frames} pictures", path)
    _check_header(path, info, convert_cmyk)
    depth = len(info.mode) if info.mode in INKS else 3
    check_size(path, info.width, info.height, info.file_size, depth, info.progressive)
    return info


def _deep_info(path: Path, kind: str, mark: Mark) -> ImageInfo:
    header = deep_images.tiff_header(path) if kind == "TIFF" else deep_images.exr_header(path)
    width, height, mode, alpha, bits, depth, profile = header
    named = _profile(profile)
    info = ImageInfo(width, height, mode, alpha, mark.size, True, kind, bits, named, mark)
    check_size(path, width, height, mark.size, depth)
    return info


def _unreadable(path: Path, error: Exception) -> PhotoError:
    if is_passing(error):
        raise error
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return damaged(path, reason or "its decoder gave up")


def _is_complete(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    if kind == "WEBP":
        return size >= 8 + int.from_bytes(head[4:8], "little")
    return (b"IEND" if kind == "PNG" else b"\xff\xd9") in tail


def _profile(data: bytes | None) -> str | None:
    """Name an embedded colour profile that is not sRGB."""
    if not data or b"sRGB" in data or b"s\0R\0G\0B" in data:
        return None
    for text in (data, data.replace(b"\0", b"")):
        for name in (b"Adobe RGB", b"Display P3", b"ProPhoto", b"Apple RGB", b"Gray"):
            if name in text:
                return name.decode()
    return "unnamed"


def _check_header(path: Path, info: ImageInfo, convert_cmyk: bool) -> None:
    """Refuse what cannot be read faithfully, before anything is decoded.

    A JPEG without end marker is left to the caller: phones append films to photos, so only
    decoding tells. Nothing comes after a PNG.
    """
    if info.kind != "JPEG" and not info.complete:
        raise DamagedPhotoError(
            f"is cut off: the {info.kind} has no end",
            where=path,
            advice="copy it again from the camera or take it out of the scene",
        )
    if info.mode not in (*INKS, "LAB") or (convert_cmyk and info.mode in INKS):
        return
    by_us = " or give --convert-cmyk, which takes inks as if they were ideal"
    raise PhotoError(
        f"is a {info.mode} picture, RGB or grey is needed",
        where=path,
        advice=f"convert it to RGB with its profile{by_us if info.mode in INKS else ''}",
    )


def image_size(path: str | Path) -> tuple[int, int]:
    """Return ``(width, height)`` as stored, from the header only; errors of `image_info`."""
    info = image_info(path)
    return info.width, info.height


def exif_orientation(path: str | Path) -> int:
    """Return the EXIF orientation 1 to 8; 1 where there is none or it is damaged."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_rgb(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a whole photo to 8 bits a channel, rounded where it has more.

    Returns:
        uint8 [H, W, 3], sRGB as stored, and the mask from the alpha channel, bool [H, W], true
        where the pixel is kept (alpha at least 128), or None without alpha.

    Raises:
        PhotoError: Not a picture, not supported, cut off or damaged.
        LimitError: It would unpack to far more than its size explains.
        SetupError: Its kind needs a package that is not installed.
    """
    rgb, kept = read_pixels(path)
    return to_8bit(rgb), kept


def read_pixels(
    path: str | Path,
    *,
    alpha: Alpha = "mask",
    convert_cmyk: bool = False,
    color: Color = "srgb",
    on_out_of_range: Callable[[OutOfRange], None] | None = None,
) -> Pixels:
    """Decode a whole photo with all its bits; errors of :func:`read_rgb`.

    Args:
        path: The file.
        alpha: ``mask`` leaves out where alpha is below 128 of 255; ``ignore`` keeps all colours as
            they are stored; ``over-white`` lays them over white, in sRGB as editors do.
        convert_cmyk: Whether a CMYK JPEG is converted, as if its inks were ideal.
        color: What integers mean: :func:`xscale.io.photo.colour_spaces.as_srgb`. Floating-point
            pictures are linear light in any case.
        on_out_of_range: Called where such a picture has pixels outside of what can be shown.
    """
    path = Path(path)
    pixels, out_of_range = with_retries(
        lambda: _read_pixels(path, alpha, convert_cmyk, color), path
    )
    if on_out_of_range is not None and any(out_of_range):
        on_out_of_range(out_of_range)
    return pixels


def _read_pixels(
    path: Path, alpha: Alpha, convert_cmyk: bool, color: Color
) -> tuple[Pixels, OutOfRange]:
    info = _image_info(path, convert_cmyk)
    try:
        found = decoder_of(info.kind, info.mode, info.bits)(path)
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    rgb, weight = found.rgb, found.alpha
    if rgb.shape[:2] != (info.height, info.width):
        raise damaged(path, f"decoded to {rgb.shape[1]} x {rgb.shape[0]}")
    if not found.linear and info.mode not in INKS:
        rgb = as_srgb(rgb, color, found.profile, path)
    kept = None
    if weight is not None and alpha == "over-white":
        rgb = _over_white(rgb, weight)
    elif weight is not None and alpha == "mask":
        # 128 of 255, in any number of bits.
        kept = weight * 255 >= _ALPHA_KEPT - 0.5
    if found.unreal is None:
        return Pixels(rgb, kept), OutOfRange(0, found.clipped)
    kept = ~found.unreal if kept is None else kept & ~found.unreal
    return Pixels(rgb, kept), OutOfRange(int(np.count_nonzero(found.unreal)), found.clipped)


def _over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return ``alpha * rgb + (1 - alpha) * white``, rounded to the nearest value."""
    white = np.iinfo(rgb.dtype).max
    weight = np.clip(alpha, 0.0, 1.0)[:, :, None]
    return np.floor(rgb * weight + white * (1.0 - weight) + 0.5).astype(rgb.dtype)


def read_mask(
    path: str | Path,
    *,
    read: Callable[[Path], Pixels] = read_pixels,
    on_grey: Callable[[], None] | None = None,
) -> np.ndarray:
    """Decode a mask picture: 0 (black) is left out, everything else is kept.

    Args:
        path: The file.
        read: Decodes it.
        on_grey: Called where it has other values than black and white.

    Returns:
        bool [H, W], true where the pixel is kept.

    Raises:
        MaskError: It cannot be read.
    """
    try:
        rgb, kept = read(Path(path))
    except InputError as error:
        raise MaskError(error.what, where=error.where, advice=error.advice) from error
    mask = rgb.any(axis=2)
    if on_grey is not None and np.any(mask & (rgb.min(axis=2) < np.iinfo(rgb.dtype).max)):
        on_grey()
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


def encode_jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """Encode uint8 [H, W, 3] as JPEG, colours at full resolution."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_picture(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Decode what ``encode_png`` or ``encode_jpeg`` made, uint8 [H, W, 3].

    Args:
        data: The file's bytes.
        size: (width, height) that it must have.

    Raises:
        ValueError: It is neither, damaged or of another size.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.size != size:
            raise ValueError(f"the picture is {image.width} x {image.height}")
        return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError("the picture is neither a PNG nor a JPEG") from error
    except (OSError, SyntaxError, EOFError, struct.error, AssertionError) as error:
        raise ValueError(f"the picture cannot be decoded: {error}") from error


def write_png(path: str | os.PathLike, picture: np.ndarray, *, overwrite: bool = False) -> None:
    """Write a PNG atomically; errors of :func:`xscale.io.storage.open_atomic`."""
    storage.write_bytes(Path(path), encode_png(picture), overwrite=overwrite)

"""Photos and masks in, PNG files out. Pixels are taken as stored: no turning, no colour profiles.

JPEG, PNG, WebP, TIFF and OpenEXR are read, whatever the file is called. Grey and palette pictures
become RGB, an alpha channel becomes a mask (below 128 of 255 is left out). Decoders let other
threads run meanwhile.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from xscale.errors import DamagedPhotoError, InputError, LimitError, MaskError, PhotoError
from xscale.io import deep_images, jpeg, png_chunks, storage
from xscale.io.deep_images import Deep, damaged, refused
from xscale.io.image_kinds import kind_of
from xscale.io.resample import area_downscale, mask_downscale, to_8bit

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

# Our own rule (_check_bomb) decides: Pillow's counts pixels alone and refuses gigapixel photos.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("JPEG", "PNG", "WEBP")
_TAIL = 1 << 16
_BOMB_PIXELS = 256 * 10**6
_BOMB_RATIO = 1000
_MOST_PIXELS = 4 * 10**9
_ALPHA_KEPT = 128
_INKS = ("CMYK", "YCCK")
_ORIENTATION_TAG = 0x0112
_STRAY_BYTES = 16
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)


Alpha = Literal["mask", "ignore", "over-white"]
"""What a photo's alpha channel means."""


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
    kind: str = "PNG"
    """``JPEG``, ``PNG``, ``WEBP``, ``TIFF`` or ``EXR``."""
    bits: int = 8
    """Bits of a channel."""
    profile: str | None = None
    """The embedded colour profile, where it is another than sRGB."""


class Pixels(NamedTuple):
    """A decoded photo."""

    rgb: np.ndarray
    """uint8, or uint16 where the file has more bits, [H, W, 3], sRGB as stored."""
    kept: np.ndarray | None
    """bool [H, W], true where alpha is at least 128 of 255; None without alpha."""


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
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("is not a regular file", where=path, advice="replace it by a photo")
        with path.open("rb") as file:
            head = file.read(32)
            kind = kind_of(path, head, status.st_size)
            if kind in ("TIFF", "EXR"):
                return _deep_info(path, kind, status.st_size)
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
                    _is_complete(kind, head, tail, status.st_size),
                    kind,
                    16 if kind == "PNG" and head[24] == 16 else 8,
                    _profile(image.info.get("icc_profile")),
                )
                frames = getattr(image, "n_frames", 1)
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    if frames > 1 and kind == "WEBP":
        raise refused(f"is a film of {frames} pictures", path)
    _check_header(path, info, convert_cmyk)
    _check_size(path, info, len(info.mode) if info.mode in _INKS else 3)
    return info


def _deep_info(path: Path, kind: str, size: int) -> ImageInfo:
    header = deep_images.tiff_header(path) if kind == "TIFF" else deep_images.exr_header(path)
    width, height, mode, alpha, bits, depth = header
    info = ImageInfo(width, height, mode, alpha, size, True, kind, bits)
    _check_size(path, info, depth)
    return info


def _unreadable(path: Path, error: Exception) -> PhotoError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return damaged(path, reason)


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
    if info.mode not in (*_INKS, "LAB") or (convert_cmyk and info.mode in _INKS):
        return
    by_us = " or give --convert-cmyk, which takes inks as if they were ideal"
    raise PhotoError(
        f"is a {info.mode} picture, RGB or grey is needed",
        where=path,
        advice=f"convert it to RGB with its profile{by_us if info.mode in _INKS else ''}",
    )


def _check_size(path: Path, info: ImageInfo, depth: int) -> None:
    """Refuse what unpacks to far more than its file explains; ``depth`` is bytes a pixel."""
    pixels = info.width * info.height
    if pixels > _MOST_PIXELS:
        raise LimitError(
            f"says {info.width} x {info.height} pixels, at most {_MOST_PIXELS // 10**9} gigapixels "
            "can be read",
            where=path,
            advice="cut the photo into parts, with a camera each",
        )
    if pixels > _BOMB_PIXELS and pixels * depth > _BOMB_RATIO * info.file_size:
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


def read_pixels(path: str | Path, *, alpha: Alpha = "mask", convert_cmyk: bool = False) -> Pixels:
    """Decode a whole photo with all its bits; errors of :func:`read_rgb`.

    Args:
        path: The file.
        alpha: ``mask`` leaves out where alpha is below 128 of 255; ``ignore`` keeps all colours as
            they are stored; ``over-white`` lays them over white, in sRGB as editors do.
        convert_cmyk: Whether a CMYK JPEG is converted, as if its inks were ideal.
    """
    path = Path(path)
    info = image_info(path, convert_cmyk=convert_cmyk)
    try:
        found = _decoders(info)(path)
    except _DECODER_ERRORS as error:
        raise _unreadable(path, error) from error
    if found.rgb.shape[:2] != (info.height, info.width):
        raise damaged(path, f"decoded to {found.rgb.shape[1]} x {found.rgb.shape[0]}")
    if alpha != "mask" and found.alpha is not None:
        return Pixels(found.rgb if alpha == "ignore" else _over_white(*found), None)
    # 128 of 255, in any number of bits.
    kept = None if found.alpha is None else found.alpha * 255 >= _ALPHA_KEPT - 0.5
    return Pixels(found.rgb, kept)


def _over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return ``alpha * rgb + (1 - alpha) * white``, rounded to the nearest value."""
    white = np.iinfo(rgb.dtype).max
    weight = np.clip(alpha, 0.0, 1.0)[:, :, None]
    return np.floor(rgb * weight + white * (1.0 - weight) + 0.5).astype(rgb.dtype)


def _decoders(info: ImageInfo) -> Callable[[Path], Deep]:
    if info.kind == "JPEG":
        return _decode_inks if info.mode in _INKS else _decode_jpeg
    if info.kind == "TIFF":
        return deep_images.decode_tiff
    if info.kind == "EXR":
        return deep_images.decode_exr
    if info.kind == "PNG":
        return _decode_png16 if info.bits == 16 else _decode_png
    return _decode_with_pillow


def _decode_png16(path: Path) -> Deep:
    _check_chunks(path)
    return deep_images.decode_png16(path)


def _decode_png(path: Path) -> Deep:
    _check_chunks(path)
    return _decode_with_pillow(path)


def _check_chunks(path: Path) -> None:
    """Refuse a PNG whose checksums are wrong; Pillow looks at some of them only."""
    fault = png_chunks.damage(path.read_bytes())
    if fault is not None:
        raise damaged(path, fault)


def _decode_with_pillow(path: Path) -> Deep:
    with Image.open(path, formats=_FORMATS) as image:
        if image.has_transparency_data:
            rgba = np.array(image.convert("RGBA"))
            return Deep(np.ascontiguousarray(rgba[:, :, :3]), rgba[:, :, 3] / 255.0)
        return Deep(np.array(image if image.mode == "RGB" else image.convert("RGB")), None)


def _decode_inks(path: Path) -> Deep:
    """Decode a CMYK JPEG to what ideal inks would show; Adobe's files hold inverted inks."""
    with Image.open(path, formats=_FORMATS) as image:
        inverted = "adobe" in image.info
    inks = _decode_jpeg(path, "CMYK").rgb
    light = (inks if inverted else 255 - inks).astype(np.uint16)
    return Deep(((light[:, :, :3] * light[:, :, 3:] + 127) // 255).astype(np.uint8), None)


def _decode_jpeg(path: Path, colours: str = "RGB") -> Deep:
    """Decode with libjpeg-turbo into the array; its warnings are errors."""
    data = path.read_bytes()
    fault = jpeg.damage(data)
    if fault is None:
        try:
            return Deep(simplejpeg.decode_jpeg(data, colours), None)
        except ValueError as error:
            fault = str(error)
        stray = re.fullmatch(r"Corrupt JPEG data: (\d+) extraneous bytes before .* 0xd9", fault)
        # Some cameras pad the pixels' end; a decoder that lost its way leaves more behind.
        if stray and int(stray[1]) <= _STRAY_BYTES:
            return Deep(simplejpeg.decode_jpeg(data, colours, strict=False), None)
        fault = "it is truncated" if "Premature end" in fault else fault
    raise DamagedPhotoError(
        f"is damaged: {fault}",
        where=path,
        advice="copy it again from the camera or take it out of the scene",
    )


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


def encode_jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """Encode uint8 [H, W, 3] as JPEG, colours at full resolution."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_picture(data: bytes) -> np.ndarray:
    """Decode what ``encode_png`` or ``encode_jpeg`` made, uint8 [H, W, 3]."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def write_png(path: str | os.PathLike, picture: np.ndarray, *, overwrite: bool = False) -> None:
    """Write a PNG atomically; errors of :func:`xscale.io.storage.open_atomic`."""
    storage.write_bytes(Path(path), encode_png(picture), overwrite=overwrite)

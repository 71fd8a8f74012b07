"""Pictures as other programs write their results: 8-bit RGB or grey, nothing converted quietly."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from xscale.errors import InputError

_FORMATS = ("PNG", "JPEG", "WEBP")
_DEPTH_AT = 24
"""Byte of a PNG file that holds its bits a channel."""
_ERRORS = (OSError, ValueError, SyntaxError, AssertionError, Image.DecompressionBombError)
_MOST_PIXELS = 1 << 30


def decode_plain(
    data: bytes, where: object, sizes: Sequence[tuple[int, int]] | None = None
) -> np.ndarray:
    """Return an 8-bit picture as uint8 [H, W, 3].

    Args:
        data: A PNG, JPEG or WebP file.
        where: Its place, for errors.
        sizes: Widths and heights that it may have, the usual one first; None: any. Another size is
            refused before anything is decoded.

    Raises:
        InputError: It is damaged, of another kind or size, has alpha, 16 bits a channel or a
            palette with transparency, or more than 2^30 pixels.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[_DEPTH_AT : _DEPTH_AT + 1] == b"\x10":
        raise InputError("has 16 bits a channel", where=where, advice="write 8-bit sRGB pictures")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            warnings.simplefilter("ignore")
            if picture.width * picture.height > _MOST_PIXELS:
                raise InputError("has more than 2^30 pixels", where=where, advice="check the file")
            if sizes is not None and picture.size not in sizes:
                raise InputError(
                    f"is {picture.width} x {picture.height}, the photo is {sizes[0][0]} x "
                    f"{sizes[0][1]}",
                    where=where,
                    advice="render at the size of the test photos; nothing is resized here",
                )
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                raise InputError(
                    "has an alpha channel", where=where, advice="write RGB pictures without alpha"
                )
            if picture.mode not in ("RGB", "L", "P", "1"):
                raise InputError(
                    f"has pixels of the kind {picture.mode}",
                    where=where,
                    advice="write 8-bit sRGB pictures",
                )
            return np.array(picture.convert("RGB"))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            "is not a picture, or is empty", where=where, advice="write the picture again"
        ) from error
    except _ERRORS as error:
        raise InputError(
            f"cannot be decoded: {error}", where=where, advice="write the picture again"
        ) from error

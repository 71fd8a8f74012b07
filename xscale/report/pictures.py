"""Pictures for the page: small enough to travel inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

QUALITY = 90
WIDTHS = (1536, 1280, 1024, 768, 640, 512, 384)


class Embedded(NamedTuple):
    """A picture as a data URI, and the size it has there."""

    uri: str
    width: int
    height: int


def embed(pictures: Sequence[np.ndarray], most_bytes: int) -> list[Embedded]:
    """Encode pictures of one size as JPEG, as wide as together fit into ``most_bytes``.

    Args:
        pictures: uint8 [H, W, 3], all of one size.
        most_bytes: Limit on the length of all data URIs; the smallest width may exceed it.
    """
    height, width = pictures[0].shape[:2]
    widths = [w for w in WIDTHS if w < width] or [width]
    if width <= WIDTHS[0]:
        widths = [width, *(w for w in widths if w != width)]
    result: list[Embedded] = []
    for target in widths:
        size = (target, max(1, round(height * target / width)))
        result = [embed_at(picture, size) for picture in pictures]
        if sum(len(e.uri) for e in result) <= most_bytes:
            break
    return result


def embed_at(picture: np.ndarray, size: tuple[int, int]) -> Embedded:
    """Encode a picture, uint8 [H, W, 3], as JPEG at a width and height."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Embedded(f"data:image/jpeg;base64,{text}", *size)

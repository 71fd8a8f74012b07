"""How large a picture may be, decided from its header before anything is decoded."""

from __future__ import annotations

from pathlib import Path

from xscale import memory
from xscale.errors import LimitError, ResourceError

_BOMB_PIXELS = 256 * 10**6
_BOMB_RATIO = 1000
_MOST_PIXELS = 4 * 10**9
_SCANS_BYTES = 6
"""Bytes a pixel that a progressive JPEG's coefficients take until its last scan."""


def check_size(
    path: Path, width: int, height: int, file_size: int, depth: int, progressive: bool = False
) -> None:
    """Refuse what unpacks to far more than its file explains, or to more than there is room for.

    Args:
        path: The picture, for errors.
        width: In pixels.
        height: In pixels.
        file_size: Bytes on disk.
        depth: Bytes a pixel.
        progressive: Whether it is a progressive JPEG, which is held whole while it is decoded.

    Raises:
        LimitError: It looks like a decompression bomb, or is over 4 gigapixels.
        ResourceError: The free memory would not hold it.
    """
    pixels = width * height
    if pixels > _MOST_PIXELS:
        raise LimitError(
            f"says {width} x {height} pixels, at most {_MOST_PIXELS // 10**9} gigapixels can be "
            "read",
            where=path,
            advice="cut the photo into parts, with a camera each",
        )
    if pixels > _BOMB_PIXELS and pixels * depth > _BOMB_RATIO * file_size:
        raise LimitError(
            f"says {width} x {height} pixels in {file_size} bytes; over 256 megapixels may unpack "
            "to at most 1000 times the file's size",
            where=path,
            advice="this looks like a decompression bomb: take it out of the scene",
        )
    needed = pixels * (depth + _SCANS_BYTES * progressive)
    if pixels > _BOMB_PIXELS and needed > (free := _free_bytes()):
        parts = "cut the photo into parts, with a camera each"
        raise ResourceError(
            f"needs {needed / 1e9:.1f} GB to be decoded, {free / 1e9:.1f} GB are free",
            where=path,
            advice=f"save it again as baseline JPEG, or {parts}" if progressive else parts,
        )


def _free_bytes() -> int:
    """Return the memory that the system could give now."""
    free = memory.available_bytes()
    return 1 << 62 if free is None else free

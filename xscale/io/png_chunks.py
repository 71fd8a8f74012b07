"""Damage in a PNG that decoders pass over: chunks whose checksum is wrong, and where they are."""

from __future__ import annotations

import zlib

_SIGNATURE = 8
_AROUND = 12
"""Bytes of a chunk that are not its data: length, name, checksum."""
_LEFT_ALONE = 0x20
"""This bit of a name's first letter says that a decoder may pass the chunk over."""


def damage(data: bytes) -> str | None:
    """Say what is damaged among a PNG's chunks and where, or return None.

    Chunks that a decoder may pass over (texts, EXIF) are not judged: they hold no pixels.

    Args:
        data: The whole file. Whatever comes after the last chunk is not looked at.
    """
    view, place = memoryview(data), _SIGNATURE
    while place + _AROUND <= len(data):
        length = int.from_bytes(view[place : place + 4], "big")
        name = bytes(view[place + 4 : place + 8])
        end = place + _AROUND + length
        shown = name.decode("latin-1")
        if end > len(data):
            return f"chunk {shown} at byte {place} says {length} bytes and is cut off"
        needed = not name[0] & _LEFT_ALONE
        if needed and zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            return f"chunk {shown} at byte {place} does not match its checksum"
        if name == b"IEND":
            return None
        place = end
    return "the last chunk, IEND, is missing"

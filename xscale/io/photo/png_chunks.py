"""A PNG chunk by chunk: damage that decoders pass over, and what of a file a decoder needs.

Decoders also unpack texts and profiles, whatever size these claim: they are handed the chunks that
pixels depend on, and nothing else.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

_SIGNATURE = 8
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MOST_PROFILE = 16 << 20
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


def needed(data: bytes) -> bytes:
    """Return a whole, undamaged PNG without the chunks that no pixel depends on."""
    view, place = memoryview(data), _SIGNATURE
    parts = [view[:_SIGNATURE]]
    while place + _AROUND <= len(data):
        end = place + _AROUND + int.from_bytes(view[place : place + 4], "big")
        if view[place + 4 : place + 8] in _NEEDED:
            parts.append(view[place:end])
        place = end
    return b"".join(parts)


def head(file: BinaryIO) -> tuple[bytes, bytes | None]:
    """Read what stands before a PNG's pixels.

    Returns:
        The chunks that a decoder needs to know the picture's size and kind, and the ICC profile,
        where there is one of at most 16 MiB.
    """
    file.seek(0)
    parts, profile = [file.read(_SIGNATURE)], None
    while len(begin := file.read(8)) == 8:
        length, name = int.from_bytes(begin[:4], "big"), begin[4:]
        if name in (b"IDAT", b"IEND"):
            parts.append(begin)
            break
        if name in _NEEDED or (name == b"iCCP" and length < _MOST_PROFILE):
            body = file.read(length + 4)
            if name == b"iCCP":
                profile = _unpacked(body[:-4])
            else:
                parts += [begin, body]
        else:
            file.seek(length + 4, 1)
    return b"".join(parts), profile


def _unpacked(body: bytes) -> bytes | None:
    """Unpack an iCCP chunk: a name, 0, the method, packed bytes."""
    packed = body[body.find(b"\0") + 2 :]
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed, _MOST_PROFILE)
    except zlib.error:
        return None
    return found if unpacker.eof else None

"""Damage inside a JPEG's pixels that decoders pass over silently.

A decoder that meets zeroed or overwritten bytes goes on with what follows and gives a picture of
the right size. Two kinds of such damage can be seen without decoding: a marker that no encoder puts
among pixels, and a run of zero bytes that would mean pictures that do not exist.
"""

from __future__ import annotations

import numpy as np

_SOI, _EOI, _SOS, _DHT, _APP2 = 0xD8, 0xD9, 0xDA, 0xC4, 0xE2
_ICC = b"ICC_PROFILE\0"
_BASELINE = (0xC0, 0xC1)
# Segments that may follow pixels: more tables and scans, comments, the number of lines, the end.
_AFTER_PIXELS = {_EOI, _SOS, _DHT, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_RUN = 128
_MOST_SCANS = 100
_END_OF_BLOCK = 0


def profile(data: bytes) -> bytes | None:
    """Return the ICC profile that a JPEG's header holds, put together from its segments."""
    parts: dict[int, bytes] = {}
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SOS:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == _APP2 and data[place + 4 : place + 16] == _ICC:
            parts[data[place + 16]] = data[place + 18 : place + 2 + length]
        place += 2 + max(length, 2)
    return b"".join(parts[k] for k in sorted(parts)) or None


def damage(data: bytes) -> str | None:
    """Say what is damaged among a JPEG's pixels and where, or return None.

    Args:
        data: The whole file. Whatever comes after the picture's end is not looked at.
    """
    tables: dict[int, int] = {}
    baseline, place, scans = False, 2, 0
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == _EOI:
            return None
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + length]
        baseline |= marker in _BASELINE
        if marker == _DHT:
            tables |= _first_symbols(segment)
        place += 2 + length
        if marker != _SOS:
            continue
        scans += 1
        if scans > _MOST_SCANS:
            return f"more than {_MOST_SCANS} scans"
        end = _end_of_pixels(data, place)
        if end is None:
            return None
        if data[end + 1] not in _AFTER_PIXELS:
            return f"marker FF{data[end + 1]:02X} among its pixels at byte {end}"
        if baseline and _zeros_are_impossible(segment, tables):
            zeros = _run_of_zeros(data[place:end])
            if zeros is not None:
                return f"{zeros[1]} zeroed bytes among its pixels at byte {place + zeros[0]}"
        place = end
    return None


def _first_symbols(segment: bytes) -> dict[int, int]:
    """Return, by table (16 * class + number), the symbol whose code is all zeros."""
    found, place = {}, 0
    while place + 17 <= len(segment):
        symbols = sum(segment[place + 1 : place + 17])
        if symbols and place + 17 < len(segment):
            found[segment[place]] = segment[place + 17]
        place += 17 + symbols
    return found


def _end_of_pixels(data: bytes, start: int) -> int | None:
    """Return where the first marker after ``start`` is that is neither stuffing nor a restart."""
    raw = np.frombuffer(data, np.uint8)
    escapes = np.flatnonzero(raw[start:-1] == 0xFF) + start
    after = raw[escapes + 1]
    inside = (after == 0) | (after == 0xFF) | ((after >= 0xD0) & (after <= 0xD7))
    ends = escapes[~inside]
    return int(ends[0]) if len(ends) else None


def _zeros_are_impossible(scan: bytes, tables: dict[int, int]) -> bool:
    """Tell whether zero bits cannot go on for long among the pixels of a scan.

    Zero bits are the all-zero code again and again. Where that code ends a block they are a flat
    area; where it is a coefficient, every block would have the same value in all coefficients.
    """
    components = scan[0] if scan else 0
    used = {0x10 | (scan[2 + 2 * k] & 15) for k in range(components) if 2 + 2 * k < len(scan)}
    return any(tables.get(table, _END_OF_BLOCK) != _END_OF_BLOCK for table in used)


def _run_of_zeros(pixels: bytes) -> tuple[int, int] | None:
    """Return (start, length) of the first long run of zero bytes."""
    start = pixels.find(bytes(_RUN))
    if start < 0:
        return None
    return start, len(pixels) - start - len(pixels[start:].lstrip(b"\0"))

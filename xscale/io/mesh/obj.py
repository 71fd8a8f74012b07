"""Wavefront OBJ: vertices and faces; groups, materials, normals and texture places are passed over.

Read in blocks. Indices count from 1, or backwards from the newest vertex.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.polygons import MOST_CORNERS, check_vertices, triangulate
from xscale.io.mesh.text_numbers import (
    LineReader,
    bad_line,
    chosen_lines,
    numbers,
    whole,
    without_references,
)

_BLANKS = (32, 9)
_COMMANDS = (b"call", b"csh")
_KNOWN = frozenset(
    b"vt vn vp g o s mg usemtl mtllib usemap maplib l p lod shadow_obj trace_obj bevel c_interp "
    b"d_interp cstype deg bmat step curv curv2 surf parm trim hole scrv sp end con bsp bzp cdc "
    b"cdp res ctech stech call csh".split()
)


class _Parts:
    """Arrays that have been read so far."""

    def __init__(self) -> None:
        self.vertices = [np.zeros((0, 3))]
        self.vertex_count = 0
        self.corners = [np.zeros(0, np.int64)]
        self.counts = [np.zeros(0, np.uint8)]
        self.commands = 0
        self.unknown = 0
        self.unknown_words: list[bytes] = []


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read vertices float64 [V, 3] and triangles int32 [F, 3], in the file's order.

    Returns:
        Vertices, faces and coded remarks.

    Raises:
        MeshError: No faces, something that is not a number, or an index that names no vertex.
    """
    parts = _Parts()
    with path.open("rb") as file:
        for first, text in LineReader(file, path, open_end=True).blocks():
            _read_block(parts, _tidy(text), first, path)
    vertices = np.concatenate(parts.vertices)
    corners, counts = np.concatenate(parts.corners), np.concatenate(parts.counts)
    parts.vertices.clear()
    parts.corners.clear()
    if not len(counts):
        what = "has no faces: this is a point cloud" if len(vertices) else "has no vertices"
        raise MeshError(what, where=path, advice="export a triangle mesh with faces")
    check_vertices(corners, counts, len(vertices), path)
    parts.counts.clear()
    faces, short = triangulate(vertices, corners, counts, path)
    return vertices, faces, tuple(_remarks(parts, short, path))


def _remarks(parts: _Parts, short: int, path: Path) -> list[str]:
    found = []
    if short:
        found.append(f"W-MESH-CORNERS: {path.name}: {short} faces with under 3 corners left out")
    if parts.commands:
        found.append(
            f"W-MESH-COMMAND: {path.name}: {parts.commands} call or csh statements not executed"
        )
    if parts.unknown:
        words = ", ".join(w.decode("utf-8", "backslashreplace") for w in parts.unknown_words)
        found.append(
            f"W-MESH-LINES: {path.name}: {parts.unknown} lines not understood and left out: {words}"
        )
    return found


def _tidy(text: np.ndarray) -> np.ndarray:
    """Join continued lines, keeping the number of lines, and remove blanks at their beginnings."""
    starts = _line_starts(text)
    continued = (text == ord("\\")).any()
    if not continued and not np.isin(text[starts], _BLANKS).any():
        return text
    data = text.tobytes()
    if continued:
        joined = re.sub(rb"\\\r?\n", b" \x00", data.replace(b"\x00", b"?")) + b"\n"
        # The line ends that were taken away come back as empty lines after the joined one.
        data = b"".join(
            line.replace(b"\x00", b"") + b"\n" * (1 + line.count(b"\x00"))
            for line in joined.split(b"\n")[:-1]
        )
    return np.frombuffer(re.sub(rb"(?m)^[ \t]+(?=\S)", b"", data), np.uint8)


def _line_starts(text: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(text == 10)
    return np.concatenate([[0], ends[:-1] + 1])


def _read_block(parts: _Parts, text: np.ndarray, first: int, path: Path) -> None:
    starts = _line_starts(text)
    letter, after = text[starts], text[np.minimum(starts + 1, len(text) - 1)]
    keyword_ends = np.isin(after, _BLANKS)
    is_vertex = (letter == ord("v")) & keyword_ends
    is_face = (letter == ord("f")) & keyword_ends
    skipped = ((letter == ord("v")) & np.isin(after, [ord(c) for c in "nt"])) | np.isin(
        letter, [10, 13, ord("#")]
    )
    before = parts.vertex_count + np.cumsum(is_vertex)
    if is_vertex.any():
        _read_vertices(parts, text, is_vertex, first, path)
    if is_face.any():
        _read_faces(parts, text, is_face, before[is_face], first, path)
    for k in np.flatnonzero(~(is_vertex | is_face | skipped)):
        words = text[starts[k] : starts[k] + 64].tobytes().split(b"\n")[0].split()
        if not words:
            continue
        parts.commands += words[0] in _COMMANDS
        if words[0] not in _KNOWN:
            parts.unknown += 1
            if len(parts.unknown_words) < 3 and words[0] not in parts.unknown_words:
                parts.unknown_words.append(words[0])


def _read_vertices(
    parts: _Parts, text: np.ndarray, is_vertex: np.ndarray, first: int, path: Path
) -> None:
    lines = np.flatnonzero(is_vertex) + first
    values, begins = _numbers(chosen_lines(text, is_vertex, 1), lines, path)
    found = np.diff(begins)
    if (found < 3).any():
        row = int(np.argmax(found < 3))
        raise bad_line(f"vertex has {found[row]} numbers, needs 3", path, int(lines[row]))
    parts.vertices.append(values[begins[:-1, None] + np.arange(3)])
    parts.vertex_count += len(lines)


def _read_faces(
    parts: _Parts,
    text: np.ndarray,
    is_face: np.ndarray,
    before: np.ndarray,
    first: int,
    path: Path,
) -> None:
    """Read faces; ``before`` says how many vertices came before each of them."""
    lines = np.flatnonzero(is_face) + first
    values, begins = _numbers(without_references(chosen_lines(text, is_face, 1)), lines, path)
    counts = np.diff(begins)
    corners = whole(values)
    if corners is None:
        bad = next(k for k, v in enumerate(values) if whole(np.array([v])) is None)
        line = int(lines[np.searchsorted(begins, bad, side="right") - 1])
        raise bad_line("vertex index is not a whole number", path, line)
    if (counts > MOST_CORNERS).any():
        row = int(np.argmax(counts > MOST_CORNERS))
        what = f"face has {counts[row]} corners, at most {MOST_CORNERS}"
        raise bad_line(what, path, int(lines[row]))
    backwards = corners < 0
    resolved = corners - 1
    if backwards.any():
        resolved = np.where(backwards, corners + np.repeat(before, counts), resolved)
    if (resolved < 0).any():
        bad = int(np.argmax(resolved < 0))
        line = int(lines[np.searchsorted(begins, bad, side="right") - 1])
        raise bad_line(f"face names vertex {corners[bad]}", path, line)
    narrow = np.int32 if resolved.max(initial=0) < 2**31 else np.int64
    parts.corners.append(resolved.astype(narrow))
    parts.counts.append(counts.astype(np.uint8))


def _numbers(text: np.ndarray, lines: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Convert lines picked out of the file; an error names their number there."""
    try:
        return numbers(text, path, 0)
    except MeshError as error:
        row = int(str(error.where).rsplit(":", 1)[1])
        raise bad_line(error.what, path, int(lines[row])) from None

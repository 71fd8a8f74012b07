"""The header of a PLY file: which elements follow, and how each row is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.polygons import MOST_CORNERS

_MOST_BYTES = 1 << 20
_MOST_PROPERTIES = 256
_MOST_ELEMENTS = 64
_INDEX_LISTS = ("vertex_indices", "vertex_index")
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
    **dict.fromkeys(("int64",), "i8"),
    **dict.fromkeys(("uint64",), "u8"),
}
_FORMATS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One column of an element: a number, or a list of numbers after its length."""

    name: str
    item_type: str
    """numpy's type with its byte order, for example ``<f4``."""
    count_type: str | None = None
    """Type of the length of a list; None for a plain number."""

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return np.dtype(self.item_type).itemsize

    @property
    def count_size(self) -> int:
        """Bytes of a list's length; 0 for a plain number."""
        return 0 if self.count_type is None else np.dtype(self.count_type).itemsize


@dataclass
class Element:
    """A table of the file."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    def find(self, name: str) -> Property | None:
        """Return the property of that name."""
        return next((p for p in self.properties if p.name == name), None)

    @property
    def has_list(self) -> bool:
        """Whether rows can differ in length."""
        return any(p.count_type for p in self.properties)

    @property
    def index_list(self) -> Property | None:
        """The list that names a face's vertices."""
        found = (self.find(name) for name in _INDEX_LISTS)
        return next((p for p in found if p is not None and p.count_type), None)

    @property
    def smallest_row(self) -> int:
        """Bytes of a row whose lists are empty."""
        return sum(p.count_size or p.item_size for p in self.properties)

    def fixed_dtype(self) -> np.dtype:
        """Row type of an element without lists."""
        return np.dtype([(p.name, p.item_type) for p in self.properties])

    def dtype_with(self, lengths: dict[str, int]) -> np.dtype:
        """Row type when every list has the given length; lengths are fields ``NAME#``."""
        fields: list[tuple] = []
        for p in self.properties:
            if p.count_type is None:
                fields.append((p.name, p.item_type))
            else:
                fields.append((f"{p.name}#", p.count_type))
                fields.append((p.name, p.item_type, (lengths[p.name],)))
        return np.dtype(fields)

    def first_lengths(self, data: np.ndarray) -> dict[str, int] | None:
        """Read the list lengths of the first row; None where it is cut or a length is absurd."""
        lengths, offset = {}, 0
        for p in self.properties:
            if p.count_type is None:
                offset += p.item_size
                continue
            head = bytes(data[offset : offset + p.count_size])
            if len(head) < p.count_size:
                return None
            length = int(np.frombuffer(head, p.count_type)[0])
            if not 0 <= length <= MOST_CORNERS:
                return None
            lengths[p.name] = length
            offset += p.count_size + length * p.item_size
        return lengths


@dataclass
class Header:
    """The whole header."""

    byte_order: str | None
    """``<`` or ``>``; None for ascii."""
    elements: list[Element]
    size: int
    """Bytes before the first element."""
    lines: int
    """Lines before the first element."""

    def element(self, name: str) -> Element | None:
        """Return the element of that name."""
        return next((e for e in self.elements if e.name == name), None)


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read up to ``end_header`` and leave ``file`` at the first byte after it.

    Raises:
        MeshError: Not a PLY file, or a header that does not make sense.
    """
    lines, size = _header_lines(file, path)
    byte_order: str | None = ""
    elements: list[Element] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        where = f"{path}:{number}"
        if number == 1 or not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            byte_order = _format(words, where)
        elif words[0] == "element":
            elements.append(_element(words, elements, where))
        elif words[0] == "property" and elements:
            _add_property(elements[-1], words, byte_order, where)
        elif words[0] != "end_header":
            raise _bad(f"header line {words[0]!r} is not known here", where)
    if byte_order == "":
        raise _bad("header has no format line", path)
    for element in elements:
        if not element.properties and element.count:
            raise _bad(f"element {element.name} has no properties", path)
    return Header(byte_order, elements, size, len(lines))


def _bad(what: str, where: object) -> MeshError:
    return MeshError(what, where=where, advice="the file is damaged: export it again")


def _header_lines(file: BinaryIO, path: Path) -> tuple[list[str], int]:
    """Split the header at the line ends its first line uses.

    Deciding once avoids the classic shift by one byte when binary data begin with a line feed.
    """
    head = file.read(_MOST_BYTES)
    if not head.startswith((b"ply\n", b"ply\r")):
        raise MeshError(
            "is not a PLY file (it does not begin with 'ply')",
            where=path,
            advice="export it again, or give the file its true extension",
        )
    end = b"\r\n" if head.startswith(b"ply\r\n") else head[3:4]
    mark = head.find(end + b"end_header" + end)
    if mark < 0:
        raise _bad("has no end_header line in its first MiB", path)
    size = mark + len(b"end_header") + 2 * len(end)
    file.seek(size)
    text = head[:mark].decode("utf-8", "backslashreplace")
    return [*text.split(end.decode()), "end_header"], size


def _format(words: list[str], where: str) -> str | None:
    if len(words) != 3 or words[1] not in _FORMATS or words[2] != "1.0":
        raise _bad(f"format {' '.join(words[1:])!r} is not known", where)
    return _FORMATS[words[1]]


def _element(words: list[str], elements: list[Element], where: str) -> Element:
    if len(words) != 3 or not (words[2].isascii() and words[2].isdigit()) or len(words[2]) > 18:
        raise _bad("element line is not 'element NAME COUNT'", where)
    if any(e.name == words[1] for e in elements) or len(elements) >= _MOST_ELEMENTS:
        raise _bad(f"element {words[1]} occurs twice, or there are too many elements", where)
    return Element(words[1], int(words[2]))


def _add_property(element: Element, words: list[str], byte_order: str | None, where: str) -> None:
    is_list = len(words) == 5 and words[1] == "list"
    types = words[2:4] if is_list else words[1:2]
    if not (is_list or len(words) == 3) or any(t not in _TYPES for t in types):
        raise _bad(f"property line {' '.join(words)!r} is not understood", where)
    if byte_order == "":
        raise _bad("the format line must come before elements", where)
    if element.find(words[-1]) or len(element.properties) >= _MOST_PROPERTIES:
        raise _bad(f"property {words[-1]} occurs twice, or there are too many", where)
    numpy_types = [(byte_order or "<") + _TYPES[t] for t in types]
    if is_list and numpy_types[0][1] == "f":
        raise _bad("a list length is a fractional number", where)
    count_type = numpy_types[0] if is_list else None
    element.properties.append(Property(words[-1], numpy_types[-1], count_type))

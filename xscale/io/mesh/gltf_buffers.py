"""The bytes of a glTF file: its JSON, its buffers, and arrays cut out of them.

Every length is compared with what is there before it is used, by subtraction and never by a sum;
``min`` and ``max`` of an accessor are not believed.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from xscale.errors import LimitError, MeshError, UnsafePathError
from xscale.io.budget import allowed, check_json

_MAGIC, _JSON, _BIN = b"glTF", b"JSON", b"BIN\0"
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def wrong(what: str, path: Path) -> MeshError:
    """Make the error of a file that is not what glTF 2.0 asks for."""
    return MeshError(what, where=path, advice="the file is damaged: export it again")


def item(document: dict, kind: str, index: object, path: Path) -> dict:
    """Return ``document[kind][index]``, or say which is missing."""
    entries = document.get(kind, [])
    whole = isinstance(index, int) and not isinstance(index, bool)
    if not isinstance(entries, list) or not whole or not 0 <= index < len(entries):
        raise wrong(f"names {kind}[{index!r}], which does not exist", path)
    if not isinstance(entries[index], dict):
        raise wrong(f"{kind}[{index}] is not an object", path)
    return entries[index]


def natural(holder: dict, key: str, default: int | None, path: Path) -> int:
    """Return a whole number from 0 to 2^53 of a JSON object."""
    value = holder.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**53:
        raise wrong(f"{key} is {value!r}, not a whole number from 0", path)
    return value


def read_document(path: Path) -> tuple[dict, bytes | None, list[str]]:
    """Read a ``.glb`` or ``.gltf`` file, whichever it is.

    Returns:
        The JSON document, the binary chunk, and coded remarks.

    Raises:
        MeshError: Damaged, or another version than 2.
    """
    data = path.read_bytes()
    binary, warnings = None, []
    text = data
    if data.startswith(_MAGIC):
        text, binary, warnings = _chunks(data, path)
    check_json(text, path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(f"is not a glTF: its JSON cannot be read ({error})", path) from None
    if not isinstance(document, dict) or not isinstance(document.get("asset"), dict):
        raise wrong("is not a glTF: the JSON names no asset", path)
    version = str(document["asset"].get("version", ""))
    if not version.startswith("2."):
        raise MeshError(
            f"is glTF version {version or '?'}, 2 is read", where=path, advice="export it as 2.0"
        )
    return document, binary, warnings


def _chunks(data: bytes, path: Path) -> tuple[bytes, bytes | None, list[str]]:
    """Split a GLB into its JSON and its binary chunk."""
    if len(data) < 20:
        raise wrong(f"ends inside its header ({len(data)} bytes)", path)
    version, length = (int.from_bytes(data[k : k + 4], "little") for k in (4, 8))
    if version != 2:
        raise MeshError(
            f"is GLB version {version}, 2 is read", where=path, advice="export it as 2.0"
        )
    if length > len(data):
        raise wrong(f"says {length} bytes and has {len(data)}", path)
    warnings = []
    if length < len(data):
        spare = len(data) - length
        warnings.append(f"W-MESH-TAIL: {path.name}: {spare} bytes after the end ignored")
    found: list[tuple[bytes, bytes]] = []
    place = 12
    while place < length:
        if length - place < 8:
            raise wrong(f"ends inside a chunk's header at byte {place}", path)
        size = int.from_bytes(data[place : place + 4], "little")
        if size > length - place - 8:
            raise wrong(f"chunk at byte {place} has {size} bytes, {length - place - 8} left", path)
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 8 + size
    if not found or found[0][0] != _JSON:
        raise wrong("does not begin with a JSON chunk", path)
    binaries = [body for kind, body in found if kind == _BIN]
    if len(binaries) > 1:
        raise wrong("has two binary chunks", path)
    return found[0][1], binaries[0] if binaries else None, warnings


class Buffers:
    """Arrays of one glTF file."""

    def __init__(self, document: dict, binary: bytes | None, path: Path) -> None:
        """Keep what is needed to load buffers when they are asked for."""
        self._document, self._binary, self._path = document, binary, path
        self._loaded: dict[int, bytes] = {}
        self._budget = allowed(path)

    def view(self, index: object) -> tuple[memoryview, int]:
        """Return the bytes of a buffer view and its stride (0 = packed)."""
        view = item(self._document, "bufferViews", index, self._path)
        data = self._buffer(natural(view, "buffer", None, self._path))
        offset = natural(view, "byteOffset", 0, self._path)
        length = natural(view, "byteLength", None, self._path)
        if offset > len(data) or length > len(data) - offset:
            what = f"bufferViews[{index}] wants {length} bytes at {offset} of {len(data)}"
            raise wrong(what, self._path)
        stride = natural(view, "byteStride", 0, self._path)
        if stride and not 4 <= stride <= 252:
            raise wrong(f"bufferViews[{index}] has a stride of {stride}", self._path)
        return memoryview(data)[offset : offset + length], stride

    def array(self, index: object, kind: str) -> tuple[np.ndarray, bool]:
        """Return an accessor's numbers [count, width] and whether they are normalized integers."""
        path = self._path
        accessor = item(self._document, "accessors", index, path)
        name = f"accessors[{index}]"
        if accessor.get("type") != kind:
            raise wrong(f"{name} is {accessor.get('type')!r}, needed is {kind}", path)
        component = accessor.get("componentType")
        if type(component) is not int or component not in _COMPONENTS:
            raise wrong(f"{name} has component type {component!r}", path)
        dtype, width = np.dtype(_COMPONENTS[component]), _WIDTHS[kind]
        count = natural(accessor, "count", None, path)
        if accessor.get("bufferView") is None:
            if count * dtype.itemsize * width > self._budget:
                raise LimitError(
                    f"{name} has {count} rows of zeros, far more than the file's size explains",
                    where=path,
                    advice="take that mesh out of the file",
                )
            values = np.zeros((count, width), dtype)
        else:
            values = self._rows(
                accessor["bufferView"], accessor, count, np.dtype((dtype, (width,))), name
            )
        if "sparse" in accessor:
            values = self._replaced(values, accessor["sparse"], name)
        return values, accessor.get("normalized") is True

    def _rows(
        self, view_index: object, holder: dict, count: int, dtype: np.dtype, name: str
    ) -> np.ndarray:
        """Cut ``count`` rows out of a view, checked against its length."""
        data, stride = self.view(view_index)
        offset = natural(holder, "byteOffset", 0, self._path)
        stride = stride or dtype.itemsize
        left = len(data) - offset
        if stride < dtype.itemsize:
            raise wrong(f"{name}: rows overlap (stride {stride})", self._path)
        if count and (left < dtype.itemsize or (left - dtype.itemsize) // stride < count - 1):
            what = f"{name} wants {count} rows of {stride} bytes, {max(left, 0)} bytes are there"
            raise wrong(what, self._path)
        base = dtype.base
        if not count:
            return np.zeros((0, *dtype.shape), base)
        return np.ndarray((count, *dtype.shape), base, data, offset, (stride, base.itemsize))

    def _replaced(self, values: np.ndarray, sparse: object, name: str) -> np.ndarray:
        """Apply an accessor's sparse part."""
        path = self._path
        if not isinstance(sparse, dict):
            raise wrong(f"{name}: sparse is not an object", path)
        count = natural(sparse, "count", None, path)
        at, new = sparse.get("indices"), sparse.get("values")
        if not isinstance(at, dict) or not isinstance(new, dict):
            raise wrong(f"{name}: sparse has no indices or values", path)
        component = at.get("componentType")
        if component not in (5121, 5123, 5125):
            raise wrong(f"{name}: sparse indices have component type {component!r}", path)
        one = np.dtype((_COMPONENTS[component], (1,)))
        rows = self._rows(at.get("bufferView"), at, count, one, name)[:, 0].astype(np.int64)
        row_type = np.dtype((values.dtype, values.shape[1:]))
        given = self._rows(new.get("bufferView"), new, count, row_type, name)
        if (np.diff(rows) <= 0).any() or (count and rows[-1] >= len(values)):
            raise wrong(f"{name}: sparse indices do not rise or leave the array", path)
        values = np.array(values)
        values[rows] = given
        return values

    def _buffer(self, index: int) -> bytes:
        if index not in self._loaded:
            buffer = item(self._document, "buffers", index, self._path)
            length = natural(buffer, "byteLength", None, self._path)
            if buffer.get("uri") is None:
                data = self._binary
            else:
                data = self._referenced(buffer["uri"], length)
            if data is None or (buffer.get("uri") is None and index):
                raise wrong(f"buffers[{index}] has no data", self._path)
            if len(data) < length:
                what = f"buffers[{index}] says {length} bytes and has {len(data)}"
                raise wrong(what, self._path)
            self._loaded[index] = data[:length]
        return self._loaded[index]

    def _referenced(self, uri: object, length: int) -> bytes:
        """Read a data URI, or the first ``length`` bytes of a file in the mesh's folder."""
        path = self._path
        if not isinstance(uri, str):
            raise wrong("a buffer's uri is not text", path)
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            if not comma or not head.endswith(";base64"):
                raise wrong("a data URI is not base64", path)
            try:
                return base64.b64decode(body, validate=True)
            except binascii.Error as error:
                raise wrong(f"a data URI cannot be decoded: {error}", path) from None
        folder = path.parent.resolve()
        name = unquote(uri)
        file = None if "\0" in name or ":" in name else (folder / name).resolve()
        if file is None or not file.is_relative_to(folder):
            raise UnsafePathError(
                f"refers to {uri!r}, outside its own folder",
                where=path,
                advice="put the buffer beside the mesh, or export as .glb",
            )
        if not file.is_file():
            raise MeshError(
                f"refers to {uri!r}, which does not exist",
                where=path,
                advice="copy the buffer beside the mesh, or export as .glb",
            )
        with file.open("rb") as opened:
            return opened.read(min(length, file.stat().st_size))

"""Safetensors files of ours: one writer and one reader, with a hash for every tensor.

The header's metadata holds the id of the run that the file belongs to and a SHA-256 a tensor, over
its name, type, shape and bytes. A file is written tensor by tensor, so nothing is copied on the way
to the disk, and read by mapping it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import IntegrityError
from xscale.io.own_files import open_own
from xscale.io.storage import open_atomic

_CHUNK = 1 << 24
_MOST_HEADER = 64 << 20
_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Names of the format (github.com/huggingface/safetensors), for what the project keeps."""
_DTYPES = {name: np.dtype(kind) for kind, name in _TYPES.items()}
_ADVICE = "restore the folder from a copy, or train again"


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    size: int
    """Bytes."""
    sha256: str
    hashes: dict[str, str]
    """SHA-256 of each tensor's bytes."""


def write_tensors(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    *,
    run: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a safetensors file atomically without building it in memory.

    Args:
        path: The file.
        arrays: Arrays by name.
        run: Id of the run that the file belongs to; kept with a hash of every tensor.
        overwrite: Replace an existing file.

    Raises:
        StorageError: It could not be written.
    """
    metadata = {}
    if run is not None:
        hashes = {name: _digest(name, array) for name, array in arrays.items()}
        metadata = {"run": run, "hashes": json.dumps(hashes, sort_keys=True)}
    with open_atomic(path, overwrite=overwrite) as file:
        stream_tensors(file, arrays, metadata)


def stream_tensors(
    file: BinaryIO,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> Written:
    """Write a safetensors file piece by piece, while training goes on.

    The library's own writer makes copies of all tensors first: gigabytes of fresh pages for the
    large table, while a training runs beside it.

    Args:
        file: Where to write.
        tensors: Arrays by name.
        metadata: Texts for the header.
    """
    # Wide types first, as the library does, so that every tensor begins at a multiple of its size.
    arrays = {
        name: np.ascontiguousarray(tensors[name])
        for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    }
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _TYPES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    text = len(text).to_bytes(8, "little") + text
    file.write(text)
    whole, hashes = hashlib.sha256(text), {}
    for name, array in arrays.items():
        own = hashlib.sha256()
        data = _bytes_of(array)
        for first in range(0, len(data), _CHUNK):
            piece = data[first : first + _CHUNK]
            file.write(piece)
            whole.update(piece)
            own.update(piece)
        hashes[name] = own.hexdigest()
    return Written(len(text) + end, whole.hexdigest(), hashes)


def read_tensors(
    path: Path,
    *,
    run: str | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
    check: Callable[[str, np.ndarray], bool] | None = None,
) -> dict[str, np.ndarray]:
    """Read a safetensors file of ours; arrays are mapped, and writable without changing the file.

    Args:
        path: The file.
        run: Id of the run that the file must belong to; every tensor then has to match its hash.
            None: files of runs that have no id.
        wanted: Which tensors are read, by name.
        check: Whether a tensor is what somebody else wrote down about it; by default it has to
            match the hash in the file's own metadata where ``run`` is given.

    Raises:
        FileNotFoundError: It does not exist.
        IntegrityError: It is damaged, of another run, or not a regular file.
    """
    with open_own(path) as file:
        try:
            content = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
        except ValueError as error:
            raise IntegrityError("is empty", where=path, advice=_ADVICE) from error
    header, first = _header(content, path)
    metadata = header.pop("__metadata__", {})
    if check is None:
        check = _recorded(metadata, run, path)
    arrays = {}
    for name in header:
        if not wanted(name):
            continue
        arrays[name] = array = _array(content, first, header[name], f"{path}: tensor {name}")
        if not check(name, array):
            raise IntegrityError(f"tensor {name} does not match the hash kept of it", where=path,
                                 advice=_ADVICE)  # fmt: skip
    return arrays


def tensor_hash(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's bytes, as ``Written.hashes`` has it."""
    return hashlib.sha256(_bytes_of(array)).hexdigest()


def _recorded(metadata: object, run: str | None, path: Path) -> Callable[[str, np.ndarray], bool]:
    """Return what compares a tensor with the file's own hashes."""
    if run is None:
        return lambda name, array: True
    found = metadata.get("run") if isinstance(metadata, dict) else None
    if found != run:
        whose = "of another run" if found else "without the run's id"
        raise IntegrityError(f"is a file {whose}", where=path, advice=_ADVICE)
    try:
        hashes = json.loads(metadata["hashes"])
        names = set(hashes)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError("has lost its hashes", where=path, advice=_ADVICE) from error
    return lambda name, array: name in names and hashes[name] == _digest(name, array)


def _header(content: mmap.mmap, path: Path) -> tuple[dict, int]:
    """Return a file's header, and where its data begin."""
    length = int.from_bytes(content[:8], "little")
    try:
        if not 2 <= length <= min(len(content) - 8, _MOST_HEADER):
            raise ValueError("its header is longer than the file")
        header = json.loads(content[8 : 8 + length])
        if not isinstance(header, dict):
            raise TypeError("its header is not an object")
    except (ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"is not a safetensors file: {error}", where=path, advice=_ADVICE
        ) from error
    return header, 8 + length


def _array(content: mmap.mmap, first: int, entry: object, where: str) -> np.ndarray:
    """Return the array that a header's entry describes; it lies inside of the file."""
    try:
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        begin, end = entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError("its numbers are not whole")
        count = 1
        for size in shape:
            count *= size
        if end - begin != count * dtype.itemsize or first + end > len(content):
            raise ValueError("its shape does not fit its bytes")
        if count == 0:
            return np.zeros(shape, dtype)
        return np.frombuffer(content, dtype, count, first + begin).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"is not readable: {error}", where=where, advice=_ADVICE) from error


def _digest(name: str, array: np.ndarray) -> str:
    """Return the SHA-256 of a tensor's name, type, shape and bytes."""
    known = f"{name}|{_TYPES[str(array.dtype)]}|{list(array.shape)}|"
    digest = hashlib.sha256(known.encode("utf-8", "surrogateescape"))
    digest.update(_bytes_of(array))
    return digest.hexdigest()


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data

"""Checkpoints: a safetensors file and a JSON manifest that makes it valid.

The tensor file is written first, the manifest last; a tensor file without a manifest that matches
its SHA-256 does not exist for any reader. There is no "latest" pointer: the newest good one wins.
Tensors are numpy arrays here; who needs torch converts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from xscale.errors import IntegrityError
from xscale.io.hashing import fingerprint_of
from xscale.io.storage import open_atomic, remove_file, write_json

FORMAT = 1
_CHUNK = 1 << 24
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Names of numpy's types in a safetensors header."""
_NAME = re.compile(r"step_(\d{8,})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    step: int
    tensors: dict[str, np.ndarray]
    state: dict
    """Everything that is not a tensor: time trained, best score."""


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, np.ndarray], state: dict, keep: int = 2
) -> Path:
    """Write one checkpoint, then drop all but the newest ``keep``.

    Only for the one who holds the run's lock: tensor files without a manifest are removed.

    Returns:
        The tensor file.

    Raises:
        StorageError: It could not be written; the older ones are untouched.
    """
    path = folder / f"step_{step:08d}.safetensors"
    with open_atomic(path, overwrite=True) as file:
        size, whole, hashes = _write_tensors(file, tensors)
    manifest = {
        "format": FORMAT,
        "step": step,
        "file": path.name,
        "bytes": size,
        "sha256": whole,
        "tensors": {name: [str(array.dtype), list(array.shape)] for name, array in tensors.items()},
        # One hash a tensor, so that a render reads and checks a fraction of the file.
        "hashes": hashes,
        "state": state,
    }
    manifest["self"] = fingerprint_of(manifest)
    write_json(path.with_suffix(".json"), manifest, overwrite=True)
    for _, old in _listed(folder)[keep:]:
        # The manifest goes first: a checkpoint is never half there.
        remove_file(old)
    # Also those that a killed writer left without their manifest, at whatever step.
    for tensor_file in folder.glob("step_*.safetensors"):
        if not tensor_file.with_suffix(".json").exists():
            remove_file(tensor_file)
    return path


PICTURES = ("field.", "shader.", "cameras.", "mesh.")
"""Beginnings of the names of what pictures need; two thirds of a file are the optimizer's."""


def load_newest(
    folder: Path, prefixes: Sequence[str] | None = None
) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that is intact.

    Args:
        folder: Where checkpoints are.
        prefixes: Beginnings of the names of the tensors that are wanted; only those are read and
            checked. None: all.

    Returns:
        The checkpoint, or None where the folder holds none at all; and a line for each one that
        was refused.

    Raises:
        IntegrityError: There are checkpoints, but none is intact.
    """
    refused = []
    listed = _listed(folder)
    for step, manifest in listed:
        try:
            return _load(step, manifest, prefixes), refused
        except IntegrityError as error:
            refused.append(str(error))
    if listed:
        raise IntegrityError(
            f"none of {len(listed)} checkpoints is intact ({refused[0]})",
            where=folder,
            advice="restore the folder from a copy, or train into a new one",
        )
    return None, refused


def _write_tensors(
    file: BinaryIO, tensors: dict[str, np.ndarray]
) -> tuple[int, str, dict[str, str]]:
    """Write a safetensors file piece by piece, while training goes on.

    The library's own writer makes copies of all tensors first: gigabytes of fresh pages for the
    large table, while a training runs beside it.

    Returns:
        Bytes written, SHA-256 of the file, and of each tensor.
    """
    # Wide types first, as the library does, so that every tensor begins at a multiple of its size.
    arrays = {
        name: np.ascontiguousarray(tensors[name])
        for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    }
    header, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[str(array.dtype)],
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
        data = array.reshape(-1).view(np.uint8).data
        for first in range(0, len(data), _CHUNK):
            piece = data[first : first + _CHUNK]
            file.write(piece)
            whole.update(piece)
            own.update(piece)
        hashes[name] = own.hexdigest()
    return len(text) + end, whole.hexdigest(), hashes


def _listed(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("step_*.json"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def _load(step: int, manifest_path: Path, prefixes: Sequence[str] | None) -> Checkpoint:
    path = manifest_path.with_suffix(".safetensors")
    try:
        manifest = json.loads(manifest_path.read_bytes())
        claimed = manifest.pop("self")
        intact = claimed == fingerprint_of(manifest) and manifest["step"] == step
    except (OSError, ValueError, KeyError, AttributeError):
        intact = False
    if not intact:
        raise IntegrityError("the manifest is damaged", where=manifest_path)
    if manifest["format"] > FORMAT:
        raise IntegrityError(
            f"was written in format {manifest['format']}, this version reads {FORMAT}",
            where=manifest_path,
            advice="update xscale",
        )
    if prefixes is not None and "hashes" in manifest:
        names = [name for name in manifest["hashes"] if name.startswith(tuple(prefixes))]
        return Checkpoint(step, _load_some(path, manifest, names), manifest["state"])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"cannot be read: {error.strerror}", where=path) from error
    if len(data) != manifest["bytes"] or _sha256(data) != manifest["sha256"]:
        raise IntegrityError("does not match the hash in its manifest", where=path)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise IntegrityError(f"is no safetensors file: {error}", where=path) from error
    return Checkpoint(step, tensors, manifest["state"])


def _load_some(path: Path, manifest: dict, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read single tensors, each checked by its own hash."""
    tensors = {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, manifest["bytes"])))
            for name in names:
                dtype, shape = manifest["tensors"][name]
                array = np.empty(shape, dtype)
                file.seek(8 + length + header[name]["data_offsets"][0])
                whole = file.readinto(array.data.cast("B") if array.size else b"") == array.nbytes
                if array.size and not (whole and _sha256(array.data) == manifest["hashes"][name]):
                    raise IntegrityError(
                        f"tensor {name} does not match the hash in its manifest", where=path
                    )
                tensors[name] = array
    except OSError as error:
        raise IntegrityError(f"cannot be read: {error.strerror}", where=path) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise IntegrityError(f"is no safetensors file: {error}", where=path) from error
    return tensors


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()

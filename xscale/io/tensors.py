"""Tensors to a safetensors file, one after the other: nothing is copied on the way to the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xscale.io.storage import open_atomic

# Names of the format (github.com/huggingface/safetensors), for what the project keeps.
_NAMES = {
    "float32": "F32",
    "float64": "F64",
    "int32": "I32",
    "int64": "I64",
    "uint16": "U16",
    "uint8": "U8",
}


def write_tensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], *, overwrite: bool = False
) -> None:
    """Write a safetensors file atomically without building it in memory.

    Args:
        path: The file.
        arrays: C-contiguous arrays by name.
        overwrite: Replace an existing file.

    Raises:
        StorageError: It could not be written.
    """
    header, offset = {}, 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    # Data begins at a multiple of 8 bytes, so that mapped tensors are aligned.
    text += b" " * (-len(text) % 8)
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays.values():
            file.write(memoryview(array.reshape(-1)).cast("B") if array.size else b"")

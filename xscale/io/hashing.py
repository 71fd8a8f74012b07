"""SHA-256 of files and of lists of values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from xscale.errors import InputError

_BLOCK = 1 << 20


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        InputError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path and its rights"
        ) from error
    return digest.hexdigest()


def fingerprint_of(value: object) -> str:
    """Return the SHA-256 of a JSON-able value; floats count with all their digits."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()

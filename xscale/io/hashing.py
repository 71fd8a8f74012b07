"""SHA-256 of files and of values; JSON objects that carry a hash of themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xscale.errors import InputError, IntegrityError

_BLOCK = 1 << 20
_SELF = "self"


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


def with_own_hash(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-able object with a hash over all its values, as its last key ``self``."""
    return {**values, _SELF: fingerprint_of(values)}


def checked_by_own_hash(
    values: Mapping[str, Any], where: object, advice: str, *, required: bool = False
) -> dict[str, Any]:
    """Return what ``with_own_hash`` was given.

    Args:
        values: The object, read back.
        where: Its file, for errors.
        advice: What to do about a damaged file.
        required: Whether an object without a hash, as older versions wrote it, is refused.

    Raises:
        IntegrityError: It was changed since it was written.
    """
    values = dict(values)
    claimed = values.pop(_SELF, None)
    if (required or claimed is not None) and claimed != fingerprint_of(values):
        raise IntegrityError("does not match its own hash", where=where, advice=advice)
    return values

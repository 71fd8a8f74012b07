"""Checkpoints: a safetensors file and a JSON manifest that makes it valid.

The tensor file is written first, the manifest last; a tensor file without a manifest that matches
its SHA-256 does not exist for any reader. There is no "latest" pointer: the newest good one wins.
Tensors are numpy arrays here; who needs torch converts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xscale.errors import IntegrityError, NumericsError, StorageError
from xscale.io.hashing import checked_by_own_hash, with_own_hash
from xscale.io.own_files import open_own, read_own_json
from xscale.io.storage import open_atomic, remove_file, write_json
from xscale.io.system_errors import is_full
from xscale.io.tensors import Written, read_tensors, stream_tensors, tensor_hash

FORMAT = 1
_CHUNK = 1 << 24
_KINDS = {"format": int, "bytes": int, "sha256": str, "tensors": dict, "state": dict}
_NAME = re.compile(r"step_(\d{8,})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    step: int
    tensors: dict[str, np.ndarray]
    state: dict
    """Everything that is not a tensor: time trained, best score."""


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, np.ndarray],
    state: dict,
    keep: int = 2,
    run: str | None = None,
) -> Path:
    """Write one checkpoint, then drop all but the newest ``keep``.

    Only for the one who holds the run's lock: tensor files without a manifest are removed.

    Args:
        folder: Where checkpoints are.
        step: Of the training.
        tensors: Arrays by name.
        state: What is not a tensor.
        keep: How many checkpoints stay.
        run: Id of the run that it belongs to.

    Returns:
        The tensor file.

    Raises:
        NumericsError: A tensor has NaN or infinite numbers; nothing is written.
        StorageError: It could not be written, or reads back differently; older ones are kept, the
            newest of them in any case.
    """
    check_finite(step, tensors)
    path = folder / f"step_{step:08d}.safetensors"
    try:
        written = _write(path, tensors)
    except StorageError as error:
        listed = _listed(folder)
        if not is_full(error) or len(listed) < 2:
            raise
        # The second newest is the price of going on where a disk is full.
        _remove(listed[1:])
        written = _write(path, tensors)
    manifest = {
        "format": FORMAT,
        "step": step,
        "file": path.name,
        "bytes": written.size,
        "sha256": written.sha256,
        "tensors": {name: [str(array.dtype), list(array.shape)] for name, array in tensors.items()},
        # One hash a tensor, so that a render reads and checks a fraction of the file.
        "hashes": written.hashes,
        "state": state,
    }
    if run is not None:
        manifest["run"] = run
    _check_written(path, written)
    write_json(path.with_suffix(".json"), with_own_hash(manifest), overwrite=True)
    _remove(_listed(folder)[keep:])
    # Also those that a killed writer left without their manifest, at whatever step.
    for tensor_file in folder.glob("step_*.safetensors"):
        if not tensor_file.with_suffix(".json").exists():
            remove_file(tensor_file)
    return path


def _write(path: Path, tensors: dict[str, np.ndarray]) -> Written:
    with open_atomic(path, overwrite=True) as file:
        return stream_tensors(file, tensors)


def _remove(listed: Sequence[tuple[int, Path]]) -> None:
    """Remove checkpoints; the manifest goes first, so that none is ever half there."""
    for _, manifest in listed:
        remove_file(manifest)
        remove_file(manifest.with_suffix(".safetensors"))


def check_finite(step: int, tensors: dict[str, np.ndarray]) -> None:
    """Refuse numbers that would make every later picture NaN.

    Raises:
        NumericsError: A tensor has NaN or infinite numbers.
    """
    for name, array in tensors.items():
        # The least and the greatest number are NaN where there is any.
        if array.dtype.kind == "f" and array.size:
            ends = array.min(), array.max()
            if not np.isfinite(ends).all():
                raise NumericsError(f"tensor {name} has NaN or infinite numbers at step {step}")


def _check_written(path: Path, written: Written) -> None:
    """Read a checkpoint again, from the disk where the system lets go of its pages.

    Raises:
        StorageError: The storage has not kept it; it is removed, older ones are not.
    """
    with suppress(OSError), open_own(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        check_whole(path, written.size, written.sha256)
    except (IntegrityError, FileNotFoundError) as error:
        remove_file(path)
        raise StorageError(
            "the storage did not keep what was written: it reads back differently",
            where=path,
            advice="older checkpoints are kept; check the disk, or train onto another one",
        ) from OSError(errno.EIO, str(error))


PICTURES = ("field.", "shader.", "cameras.", "mesh.")
"""Beginnings of the names of what pictures need; two thirds of a file are the optimizer's."""


def load_newest(
    folder: Path, prefixes: Sequence[str] | None = None, run: str | None = None
) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that is intact.

    Args:
        folder: Where checkpoints are.
        prefixes: Beginnings of the names of the tensors that are wanted; only those are read and
            checked. None: all.
        run: Id of the run that they must belong to; None: not asked.

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
            return _load(step, manifest, prefixes, run), refused
        except IntegrityError as error:
            refused.append(str(error))
    if listed:
        raise IntegrityError(
            f"none of {len(listed)} checkpoints is intact ({refused[0]})",
            where=folder,
            advice="restore the folder from a copy, or train into a new one",
        )
    return None, refused


def _listed(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("step_*.json"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def _load(
    step: int, manifest_path: Path, prefixes: Sequence[str] | None, run: str | None
) -> Checkpoint:
    path = manifest_path.with_suffix(".safetensors")
    try:
        manifest = checked_by_own_hash(
            read_own_json(manifest_path), manifest_path, "", required=True
        )
        intact = manifest["step"] == step
        intact = intact and all(isinstance(manifest[key], kind) for key, kind in _KINDS.items())
        intact = intact and isinstance(manifest.get("hashes", {}), dict)
    except (IntegrityError, FileNotFoundError, ValueError, KeyError):
        intact = False
    if not intact:
        raise IntegrityError("the manifest is damaged", where=manifest_path)
    if manifest["format"] > FORMAT:
        raise IntegrityError(
            f"was written in format {manifest['format']}, this version reads {FORMAT}",
            where=manifest_path,
            advice="update xscale",
        )
    if run is not None and manifest.get("run") != run:
        raise IntegrityError("is a checkpoint of another run", where=manifest_path)
    try:
        if prefixes is None or "hashes" not in manifest:
            check_whole(path, manifest["bytes"], manifest["sha256"])
        known = manifest.get("hashes", {})
        beginnings = tuple(prefixes) if prefixes is not None else ("",)
        tensors = read_tensors(
            path,
            wanted=lambda name: name.startswith(beginnings),
            # The hash of a whole file has been compared.
            check=lambda name, array: (
                prefixes is None or not known or known.get(name) == tensor_hash(array)
            ),
        )
    except FileNotFoundError as error:
        raise IntegrityError("is missing", where=path) from error
    names = {name for name in manifest["tensors"] if name.startswith(beginnings)}
    if names - set(tensors):
        raise IntegrityError(f"lacks the tensor {min(names - set(tensors))}", where=path)
    return Checkpoint(step, tensors, manifest["state"])


def check_whole(path: Path, size: int, sha256: str) -> None:
    """Compare a file with its size and hash.

    Raises:
        FileNotFoundError: It does not exist.
        IntegrityError: It differs, or it is not a regular file.
    """
    digest = hashlib.sha256()
    with open_own(path) as file:
        same = os.fstat(file.fileno()).st_size == size
        while same and (piece := file.read(_CHUNK)):
            digest.update(piece)
    if not same or digest.hexdigest() != sha256:
        raise IntegrityError("does not match the hash in its manifest", where=path)

"""The run folder: the name of every file in it, and the one way to read and write each.

Files that are read back carry the run's id or a hash, which every reading checks:

manifest.json                 what was trained (``xscale.run.manifest``); makes a folder a run
mesh.safetensors              the mesh with its clusters
background.safetensors        what uncovered pixels show
residuals.safetensors         what the training left unexplained, at the mesh's vertices
photos.safetensors            the source photos, where they are kept
simplified.safetensors        a very large mesh with fewer faces, for a viewer's moving pictures
photo_counts.safetensors      in how many training photos each vertex is seen, for viewers
checkpoints/step_N.*          the newest good ones
metrics.jsonl                 a line every two seconds, each with a checksum
scores.json                   scores of the test views
renders/VIEWS/                pictures, with hashes in a journal: checked before pictures are scored
                              or filmed, and by ``--verify``; otherwise only their sizes are

Files for people, which nothing reads back, have neither:

refined_cameras.json          by how much cameras moved
diverged.json                 ranges of all tensors where a training diverged
report.html previews/ tensorboard/

``lock`` holds no data: the process that has it open owns the folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xscale.errors import InputError, IntegrityError, StorageError
from xscale.io.checkpoints import PICTURES, Checkpoint, load_newest, save_checkpoint
from xscale.io.own_files import checked_line, read_checked_lines, read_own_json
from xscale.io.run_lock import RunLock
from xscale.io.storage import (
    append_line,
    clean_temporaries,
    make_folder,
    refuse_link,
    write_json,
)
from xscale.io.system_errors import is_about_storage
from xscale.io.temporaries import TEMPORARY_PREFIX
from xscale.io.tensors import read_tensors, write_tensors
from xscale.run.manifest import Manifest, manifest_from_json

MESH = "mesh.safetensors"
BACKGROUND = "background.safetensors"
RESIDUALS = "residuals.safetensors"
PHOTOS = "photos.safetensors"
SIMPLIFIED = "simplified.safetensors"
PHOTO_COUNTS = "photo_counts.safetensors"
_LOST = "copy the whole run folder, or train again"


class RunFolder:
    """The files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest_file = self.path / "manifest.json"
        self.checkpoints = self.path / "checkpoints"
        self.previews = self.path / "previews"
        self.renders = self.path / "renders"
        self.tensorboard = self.path / "tensorboard"
        self.metrics_file = self.path / "metrics.jsonl"
        self.scores_file = self.path / "scores.json"
        self.report_file = self.path / "report.html"
        self.refined_file = self.path / "refined_cameras.json"
        self.diverged_file = self.path / "diverged.json"
        self.lock: RunLock | None = None
        """The lock of who writes into the folder."""
        self.on_lost_line: Callable[[StorageError], None] = lambda error: None
        """Called when a line of the log could not be written."""

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, read once.

        Raises:
            InputError: The folder is not a run.
            IntegrityError: The manifest is damaged or of another format.
        """
        try:
            values = read_own_json(self.manifest_file)
        except FileNotFoundError:
            raise InputError(
                "is not an xscale run: manifest.json is missing",
                where=self.path,
                advice="xscale train makes one",
            ) from None
        return manifest_from_json(values, self.manifest_file)

    def write_manifest(self, manifest: Manifest, *, overwrite: bool = False) -> None:
        """Write the manifest: the last file of a new run, since it makes the folder one."""
        self.check_in_place()
        write_json(self.manifest_file, manifest.to_json(), overwrite=overwrite)
        self.__dict__.pop("manifest", None)

    def is_run(self) -> bool:
        """Whether the folder has a manifest."""
        return os.path.lexists(self.manifest_file)

    def never_begun(self) -> bool:
        """Whether this is a run that was killed before its manifest was written."""
        left = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        return bool(left) and all(
            name in (MESH, BACKGROUND) or name.startswith(TEMPORARY_PREFIX) for name in left
        )

    def read(self, name: str, *, advice: str = _LOST, what: str = "is missing") -> dict:
        """Return the arrays of one of the run's tensor files.

        Args:
            name: ``MESH``, ``BACKGROUND``, ``RESIDUALS``, ``PHOTOS``, ``SIMPLIFIED`` or
                ``PHOTO_COUNTS``.
            advice: What to do where it does not exist.
            what: What that is called.

        Raises:
            InputError: It does not exist.
            IntegrityError: It is damaged or of another run.
        """
        try:
            return read_tensors(self.path / name, run=self.manifest.run)
        except FileNotFoundError as error:
            raise InputError(what, where=self.path / name, advice=advice) from error

    def write(self, name: str, arrays: Mapping[str, np.ndarray], run: str | None) -> None:
        """Write one of the run's tensor files in place of an older one.

        Args:
            name: As of ``read``.
            arrays: Arrays by name.
            run: Id of the run.
        """
        self.check_in_place()
        write_tensors(self.path / name, arrays, run=run, overwrite=True)

    def has(self, name: str) -> bool:
        """Whether one of the run's files exists."""
        return os.path.lexists(self.path / name)

    def load_newest(
        self, prefixes: Sequence[str] | None = PICTURES
    ) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest good checkpoint, and a line for each that was refused.

        Args:
            prefixes: Beginnings of the names of the tensors that are wanted; None: all.

        Raises:
            IntegrityError: No checkpoint is good, or those that were written are gone.
        """
        self.check_in_place()
        found, refused = load_newest(self.checkpoints, prefixes, self.manifest.run)
        if found is None and (step := self._step_saved()) is not None:
            raise IntegrityError(
                f"its checkpoints are missing, though one of step {step} was written",
                where=self.checkpoints,
                advice="restore the folder from a copy, or train into a new one",
            )
        return found, [f"W-CHECKPOINT: {line}; an older one is used" for line in refused]

    def save_checkpoint(
        self, step: int, tensors: dict[str, np.ndarray], state: dict, run: str | None
    ) -> None:
        """Write a checkpoint, and a line of the log that says so."""
        self.check_in_place()
        save_checkpoint(self.checkpoints, step, tensors, state, run=run)
        self.log({"step": step, "checkpoint": True})

    def checkpoint_hash(self, step: int) -> str:
        """Return the hash of a checkpoint's tensors."""
        return str(read_own_json(self.checkpoints / f"step_{step:08d}.json")["sha256"])

    def pictures(self, name: str) -> Path:
        """Return the folder of some pictures of the run, below ``renders``.

        Raises:
            UnsafePathError: It is a symbolic link.
        """
        refuse_link(self.renders)
        refuse_link(self.renders / name)
        return self.renders / name

    def scoring_lock(self) -> RunLock:
        """Return the lock of the one process that scores the run; a training goes on beside it.

        Raises:
            UnsafePathError: ``renders`` is a symbolic link.
        """
        refuse_link(self.renders)
        return RunLock(make_folder(self.renders))

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``; storage that fails loses the line and ends nothing."""
        if self.lock is not None:
            self.lock.check()
        try:
            append_line(self.metrics_file, checked_line(line))
        except StorageError as error:
            if not is_about_storage(error):
                raise
            self.on_lost_line(error)

    def write_divergence(self, report: Mapping[str, Any]) -> None:
        """Write what helps to find why a training diverged."""
        write_json(self.diverged_file, dict(report), overwrite=True)

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl`` that are whole."""
        return read_checked_lines(self.metrics_file)[0]

    def log_warnings(self) -> list[str]:
        """Return a line for each line of ``metrics.jsonl`` that is torn or damaged."""
        _, damaged = read_checked_lines(self.metrics_file)
        return [
            f"W-LOG: {self.metrics_file.name}: line {number} is damaged and left out"
            for number in damaged
        ]

    def clean(self) -> None:
        """Remove what a killed writer left; only for who holds the run's lock."""
        self.check_in_place()
        for folder in (self.path, self.checkpoints, self.previews):
            clean_temporaries(folder)

    def _step_saved(self) -> int | None:
        """Return the step of the last checkpoint that the log says was written."""
        steps = [line.get("step", 0) for line in self.logged() if line.get("checkpoint") is True]
        return steps[-1] if steps else None

    def check_in_place(self) -> None:
        """Refuse folders that lead elsewhere: what is written into a run stays in it.

        Raises:
            UnsafePathError: One is a symbolic link.
            StorageError: The run was moved, removed or replaced while its lock is held.
        """
        if self.lock is not None:
            self.lock.check()
        for folder in (self.checkpoints, self.previews, self.renders, self.tensorboard):
            refuse_link(folder)

"""Resuming: what a training must have in common with its beginning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from xscale.config import from_dict, to_dict
from xscale.errors import UsageError
from xscale.io.checkpoints import Checkpoint
from xscale.run.folder import RunFolder
from xscale.run.manifest import Manifest
from xscale.scene.scene import Scene
from xscale.training.prepare import Prepared
from xscale.training.settings import Settings


def newest_checkpoint(
    prepared: Prepared, out: Path, say: Callable[[str], None]
) -> Checkpoint | None:
    """Return what to resume from; None where the run was stopped before its first one."""
    folder = RunFolder(out)
    check_same(folder.manifest, prepared.manifest, folder.manifest_file)
    checkpoint, remarks = folder.load_newest(None)
    for line in remarks:
        say(line)
    if checkpoint is None:
        say("the run has no checkpoint yet: it begins again")
    return checkpoint


def as_begun(scene: Scene, out: Path, use_repaired: bool) -> Scene:
    """Leave out of a scene what the run to resume left out when it was opened.

    Raises:
        UsageError: Such a photo was repaired and shall be used again: the run has no place for it.
    """
    manifest = RunFolder(out).manifest
    known = manifest.cameras
    reasons = {e["photo"]: e["reason"] for e in manifest.scene.left_out or ()}
    repaired = {
        photo.name: reasons[photo.name]
        for photo in scene.photos
        if photo.name in reasons and photo.name not in known
    }
    if repaired and use_repaired:
        raise UsageError(
            f"{next(iter(repaired))} was left out when the run began, which has no place for it",
            advice="train into a new folder, or leave --use-repaired out",
        )
    return scene.without(repaired) if repaired else scene


def check_same(saved: Manifest, wanted: Manifest, where: Path) -> None:
    """Refuse to resume with anything changed that the run's results depend on.

    Args:
        saved: The run's manifest.
        wanted: That of the training as it is asked for now.
        where: The run's manifest file, for errors.

    Raises:
        UsageError: Something differs; it is named with both values.
    """
    # Settings that an earlier version did not have were what they are by default.
    ours = to_dict(from_dict(Settings, saved.settings))
    pairs: list[tuple[str, object, object]] = [
        ("the scene", saved.scene.fingerprint, wanted.scene.fingerprint),
        ("--downscale", saved.scene.downscale, wanted.scene.downscale),
        ("--seed", saved.seed, wanted.seed),
        ("the training photos", saved.split.train, wanted.split.train),
        ("the test photos", saved.split.test, wanted.split.test),
        *_different("", ours, json.loads(json.dumps(wanted.settings))),
        ("the box of the mesh", saved.box, wanted.box),
    ]
    for what, own, other in pairs:
        if own != other:
            shown = what.startswith("the ")
            values = "differs" if shown else f"is {own} in the run, {other} now"
            if what.endswith("photos"):
                values = "differ"
            raise UsageError(
                f"cannot resume: {what} {values}",
                where=where,
                advice="give the same options and scene as before, or train into a new folder",
            )


def _different(prefix: str, ours: dict, theirs: dict) -> Iterator[tuple[str, object, object]]:
    """Yield the settings that differ: name, our value, their value."""
    for key in {**ours, **theirs}:
        own, other = ours.get(key), theirs.get(key)
        if isinstance(own, dict) and isinstance(other, dict):
            yield from _different(f"{prefix}{key}.", own, other)
        elif own != other:
            yield f"{prefix}{key}", own, other

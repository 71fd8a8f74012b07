"""What a training that goes on must have in common with its beginning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from xscale.config import from_dict, to_dict
from xscale.errors import UsageError
from xscale.io.checkpoints import Checkpoint, load_newest
from xscale.io.storage import TEMPORARY_PREFIX
from xscale.render.run import Run
from xscale.scene.scene import Scene
from xscale.training.prepare import Prepared
from xscale.training.settings import Settings


def newest_checkpoint(
    prepared: Prepared, out: Path, say: Callable[[str], None]
) -> Checkpoint | None:
    """Return what to resume from; None where the run was stopped before its first one."""
    _check_same(Run.open(out).manifest, prepared.manifest, out)
    checkpoint, refused = load_newest(out / "checkpoints")
    for line in refused:
        say(f"W-CHECKPOINT: {line}; an older one is used")
    return checkpoint


def as_begun(scene: Scene, out: Path, requarantine: bool) -> Scene:
    """Leave out of a scene what the run to resume left out when it was opened.

    Raises:
        UsageError: Such a photo was repaired and shall be used again: the run has no place for it.
    """
    manifest = Run.open(out).manifest
    known = manifest["cameras"]
    reasons = {e["photo"]: e["reason"] for e in manifest["scene"].get("left_out", [])}
    repaired = {
        photo.name: reasons[photo.name]
        for photo in scene.photos
        if photo.name in reasons and photo.name not in known
    }
    if repaired and requarantine:
        raise UsageError(
            f"{next(iter(repaired))} was left out when the run began, which has no place for it",
            advice="train into a new folder, or leave --requarantine out",
        )
    return scene.without(repaired) if repaired else scene


def never_begun(out: Path) -> bool:
    """Whether ``out`` is a run that was killed before its manifest, the last file, was written."""
    left = [path.name for path in out.iterdir()] if out.is_dir() else []
    return bool(left) and all(
        name in ("mesh.safetensors", "background.safetensors") or name.startswith(TEMPORARY_PREFIX)
        for name in left
    )


def _check_same(saved: dict, wanted: dict, out: Path) -> None:
    """Refuse to resume with anything that the run's results depend on changed."""
    for key in ("scene", "settings", "split", "seed", "box"):
        ours, theirs = saved[key], json.loads(json.dumps(wanted[key]))
        if key == "settings":
            # What a run of an earlier version does not name yet was as it is by default.
            ours = to_dict(from_dict(Settings, ours))
        if key == "scene":
            ours, theirs = ({k: v[k] for k in ("fingerprint", "downscale")} for v in (ours, theirs))
        if ours != theirs:
            raise UsageError(
                f"cannot resume: {key} differs from the run's",
                where=out / "manifest.json",
                advice="give the same options and scene as before, or train into a new folder",
            )

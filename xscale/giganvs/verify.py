"""Checks of prepared scenes: files, splits, leaks, and whether all scores can be made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xscale.errors import InputError, ListError, XscaleError
from xscale.giganvs.layout import CARD, PreparedScene
from xscale.metrics.lpips_weights import check_available
from xscale.scene.checks.duplicates import check_leaks

_WIDER = 30
"""Factor on the distance and angle between the cameras of photos that may be the same: 0.3 % of
the cameras' median distance, and 1.7 degrees."""


@dataclass(frozen=True)
class Verdict:
    """Findings of one scene."""

    scene: str
    faults: tuple[str, ...]
    """Lines that make its scores worthless; empty for a good scene."""
    remarks: tuple[str, ...]


def scenes_of(root: str | Path, names: list[str] | None = None) -> list[Path]:
    """Return the prepared scenes below a folder, or the folder itself where it is one.

    Args:
        root: The folder.
        names: Which of them; None: all.

    Raises:
        InputError: There is none, or not all of those names.
    """
    root = Path(root)
    if (root / CARD).is_file():
        found = {root.resolve().name: root}
    else:
        found = {p.parent.name: p.parent for p in sorted(root.glob(f"*/{CARD}"))}
    if names:
        unknown = [name for name in names if name not in found]
        if unknown:
            raise InputError(
                f"has no prepared scene {unknown[0]}", where=root,
                advice=f"there are {', '.join(found) or 'none'}",
            )  # fmt: skip
        return [found[name] for name in dict.fromkeys(names)]
    if not found:
        raise InputError(
            "holds no prepared scene", where=root,
            advice="xscale giganvs prepare SCENE --out ROOT/NAME makes one",
        )  # fmt: skip
    return list(found.values())


def verify(path: Path, on_stage: Callable[[str], None] | None = None) -> Verdict:
    """Check one prepared scene.

    Args:
        path: Its folder.
        on_stage: Called with a line when a check begins.
    """
    say = on_stage or (lambda line: None)
    faults: list[str] = []
    remarks: list[str] = []
    try:
        prepared = PreparedScene.open(path)
        say(f"{path.name}: files")
        faults += prepared.damage()
        scene = prepared.scene
        remarks += scene.warnings
        if prepared.counts_backs:
            remarks.append(prepared.remark)
        names = [photo.name for photo in scene.photos]
        strangers = sorted(set(names) ^ set(prepared.card["photos"]))
        faults += [f"{name} is not in both the card and the folder" for name in strangers[:5]]
        if not prepared.splits():
            faults.append("has no splits")
        for name in prepared.splits():
            say(f"{path.name}: split {name}")
            split = prepared.split(name)
            found: list[str] = []
            check_leaks(scene.photos, split.test, True, found.append, wider=_WIDER)
            for line in found:
                (faults if line.startswith("W-PHOTO-LEAK") else remarks).append(line)
            for photo in split.test:
                prepared.coverage(split, photo)
    except (ListError, XscaleError) as error:
        faults.append(str(error))
    return Verdict(path.name, tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(remarks)))


def lpips_notice(weights: str | Path | None = None) -> str | None:
    """Return a line where LPIPS cannot be scored here, before any work; None where it can.

    Args:
        weights: Folder with the backbones' weights; None looks in the usual places.

    Raises:
        UsageError: The folder does not exist.
    """
    _, notice = check_available(weights)
    return None if notice is None else f"W-LPIPS: {notice}"

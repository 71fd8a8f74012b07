"""Which photos are held out: every 7th, as the authors' configuration, and whole clusters of views.

The cluster protocol follows the recipe of InceptionGS: six clusters of views by farthest-point
sampling; 90 % of one cluster and 5 % of every other are held out. Its seed and weights are not
published, so the splits here are ours, and no figure of theirs is comparable with ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xscale.errors import ListError
from xscale.geometry.camera import Camera
from xscale.io.hashing import fingerprint_of
from xscale.io.names import name_bytes
from xscale.io.own_files import read_own_json

CLUSTERS = 6
EVERY = 7
_HELD = 0.9
_ELSEWHERE = 0.05
_FORMAT = 1
_RIGHT_ANGLE = np.pi / 2


@dataclass(frozen=True)
class SplitFile:
    """A split as a list of names, with a hash."""

    name: str
    rule: str
    """How the names were chosen, in words."""
    photos: tuple[str, ...]
    test: tuple[str, ...]
    groups: dict[str, int]
    """Cluster of neighbouring views of every photo."""
    seed: int | None = None

    @property
    def hash(self) -> str:
        """SHA-256 over the names: equal for equal splits."""
        return fingerprint_of({"photos": list(self.photos), "test": list(self.test)})

    def to_json(self) -> dict[str, Any]:
        """Return the split as plain values."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "rule": self.rule,
            "seed": self.seed,
            "photos": list(self.photos),
            "test": list(self.test),
            "groups": self.groups,
            "hash": self.hash,
        }


def make_splits(cameras: Mapping[str, Camera], seed: int = 0) -> list[SplitFile]:
    """Return the splits of a scene: ``every7`` and ``cluster1`` to ``cluster6``.

    Args:
        cameras: World-frame cameras of all photos, by name.
        seed: Of the cluster protocol.
    """
    names = tuple(sorted(cameras, key=name_bytes))
    member, scale = _clusters([cameras[name] for name in names], seed)
    groups = {name: int(cluster) for name, cluster in zip(names, member, strict=True)}
    rule = f"every {EVERY}th of the sorted names, beginning with the first (authors' configuration)"
    splits = [SplitFile("every7", rule, names, names[::EVERY], groups)]
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(names))
    for cluster in range(int(member.max()) + 1):
        held: list[int] = []
        for other in range(int(member.max()) + 1):
            inside = [i for i in order if member[i] == other]
            share = _HELD if other == cluster else _ELSEWHERE
            held += inside[: round(share * len(inside))]
        if not held or len(held) == len(names):
            continue
        test = tuple(names[i] for i in sorted(held))
        rule = (
            f"ours, after InceptionGS: {_HELD:.0%} of cluster {cluster + 1} and {_ELSEWHERE:.0%} "
            f"of every other; clusters by farthest-point sampling, distance "
            f"sqrt((centres / {scale:.6g})^2 + (angle / 90 degrees)^2)"
        )
        splits.append(SplitFile(f"cluster{cluster + 1}", rule, names, test, groups, seed))
    return splits


def _clusters(cameras: Sequence[Camera], seed: int) -> tuple[np.ndarray, float]:
    """Return the cluster of each camera, and the length that counts as a right angle does."""
    centres = np.array([camera.position for camera in cameras])
    looks = np.array([camera.R[2] for camera in cameras])
    spread = np.linalg.norm(centres - np.median(centres, axis=0), axis=1)
    scale = float(np.median(spread)) or 1.0

    def distance(index: int) -> np.ndarray:
        apart = np.linalg.norm(centres - centres[index], axis=1) / scale
        angle = np.arccos(np.clip(looks @ looks[index], -1, 1)) / _RIGHT_ANGLE
        return np.hypot(apart, angle)

    first = int(np.random.default_rng(seed).integers(len(cameras)))
    nearest = distance(first)
    member = np.zeros(len(cameras), int)
    for cluster in range(1, min(CLUSTERS, len(cameras))):
        centre = int(np.argmax(nearest))
        if nearest[centre] == 0:
            break
        found = distance(centre)
        member[found < nearest] = cluster
        nearest = np.minimum(nearest, found)
    return member, scale


def read_split(path: Path, known: Sequence[str]) -> SplitFile:
    """Read a split file.

    Args:
        path: The file.
        known: Names of the scene's photos.

    Raises:
        ListError: It does not exist, is not a split, names unknown photos, or its hash differs.
        IntegrityError: It is not JSON.
    """
    try:
        values = read_own_json(path)
    except FileNotFoundError:
        raise ListError("does not exist", where=path, advice="xscale giganvs prepare") from None
    try:
        split = SplitFile(
            str(values["name"]),
            str(values["rule"]),
            tuple(map(str, values["photos"])),
            tuple(map(str, values["test"])),
            {str(k): int(v) for k, v in values["groups"].items()},
            values.get("seed"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ListError(
            f"is not a split file: {error}", where=path, advice="prepare the scene again"
        ) from error
    strangers = sorted({*split.photos, *split.test} - set(known))
    if strangers:
        raise ListError(
            f"names {strangers[0]}, which the scene does not have", where=path,
            advice="take the split of this scene, or prepare the scene again",
        )  # fmt: skip
    unlisted = sorted(set(known) - set(split.photos))
    if unlisted:
        raise ListError(
            f"does not name {unlisted[0]}, a photo of the scene", where=path,
            advice="list all photos, or prepare a scene of fewer",
        )  # fmt: skip
    if values.get("hash") != split.hash:
        raise ListError(
            "does not match its hash", where=path, advice="restore it, or prepare the scene again"
        )
    for names in (split.photos, split.test):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ListError(f"names {twice[0]} twice", where=path, advice="name each photo once")
    lost = [name for name in split.test if name not in split.groups]
    if lost:
        raise ListError(f"gives {lost[0]} no group", where=path, advice="prepare the scene again")
    if not split.test or not set(split.test) < set(split.photos):
        raise ListError(
            "holds out no photo, or all of them", where=path, advice="prepare the scene again"
        )
    return split

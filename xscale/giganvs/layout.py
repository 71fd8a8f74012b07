"""A scene of the benchmark on disk: photos, cameras, mesh, coverage, splits, and their hashes.

ROOT/NAME/giganvs.json        what was prepared from what; written last
ROOT/NAME/images_K/ cams_K/   photos and cameras in the authors' layout
ROOT/NAME/mesh.ply            (or the mesh's own format)
ROOT/NAME/splits/NAME.json
ROOT/NAME/coverage/SPLIT/STEM.png   255 = the pixel shows surface: the same for all methods

Scenes of format 1 have one mask a photo, coverage/STEM.png, which counts both sides of every face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from xscale.errors import InputError, IntegrityError, ListError
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.giganvs.coverage import Coverage
from xscale.giganvs.splits import SplitFile, read_split
from xscale.io.hashing import sha256_file
from xscale.io.names import safe_name
from xscale.io.own_files import read_own, read_own_json
from xscale.io.photo.images import encode_png
from xscale.io.photo.plain import decode_plain
from xscale.scene.photo import png_name
from xscale.scene.scene import Scene

CARD = "giganvs.json"
FORMAT = 2
_ONE_MASK = 1
"""Format of scenes with one mask a photo."""
_MOST_MASK = 1 << 28
_COVERED = 128
_ROWS = 512
"""Rows of a picture that are rasterized at a time."""


@dataclass(frozen=True, eq=False)
class PreparedScene:
    """A scene of the benchmark, opened."""

    path: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> PreparedScene:
        """Read what ``prepare`` wrote.

        Raises:
            InputError: The folder was not prepared.
            IntegrityError: Its card is damaged.
        """
        path = Path(path)
        try:
            card = read_own_json(path / CARD)
        except FileNotFoundError:
            raise InputError(
                f"is not a prepared scene: {CARD} is missing", where=path,
                advice="xscale giganvs prepare SCENE --out makes one",
            ) from None  # fmt: skip
        kinds = {"format": int, "downscale": int | float, "photos": dict, "coverage": dict}
        whole = all(isinstance(card.get(key), kind) for key, kind in kinds.items())
        if whole and card["format"] not in (_ONE_MASK, FORMAT):
            raise IntegrityError(
                f"has format {card['format']}, this version reads {FORMAT}", where=path / CARD
            )
        if not whole or not _fits(card):
            raise IntegrityError("is damaged", where=path / CARD, advice="prepare the scene again")
        for name in (*card["photos"], *(() if card["format"] == _ONE_MASK else card["coverage"])):
            safe_name(name, path / CARD)
        return cls(path, card)

    @property
    def name(self) -> str:
        """Name of the scene: its folder's."""
        return self.path.resolve().name

    @cached_property
    def scene(self) -> Scene:
        """Photos, cameras and mesh."""
        return Scene.open(self.path)

    @cached_property
    def surface(self) -> Surface:
        """The mesh, for rays; both sides of every face."""
        return build_surface(self.scene.mesh)

    @property
    def counts_backs(self) -> bool:
        """Whether the coverage counts both sides of every face, as scenes of format 1 do."""
        return self.card["format"] == _ONE_MASK

    @property
    def remark(self) -> str:
        """A line about a coverage that counts both sides."""
        return (
            f"W-COVERAGE: {self.name} was prepared by an earlier version: its coverage counts both "
            "sides of every face, as xscale score --two-sided does; xscale giganvs prepare "
            "--overwrite makes it anew"
        )

    def splits(self) -> list[str]:
        """Return the names of the scene's splits."""
        return sorted(path.stem for path in (self.path / "splits").glob("*.json"))

    def split(self, name: str) -> SplitFile:
        """Return a split by its name, or by the path of its file.

        Raises:
            ListError: There is none of that name, or it is damaged.
        """
        path = Path(name) if name.endswith(".json") else self.path / "splits" / f"{name}.json"
        if not path.is_file():
            raise ListError(
                f"has no split {name}", where=self.path,
                advice=f"there are {', '.join(self.splits())}",
            )  # fmt: skip
        return read_split(path, list(self.card["photos"]))

    def photo(self, name: str) -> np.ndarray:
        """Return a photo, uint8 [H, W, 3].

        Raises:
            IntegrityError: It changed since the scene was prepared.
        """
        photo = self.scene.photo(name)
        if sha256_file(photo.path) != self.card["photos"][name]:
            raise _changed(photo.path)
        return photo.read()

    def coverage(self, split: SplitFile, name: str) -> np.ndarray:
        """Return the pixels of a test photo that show surface, bool [H, W].

        Raises:
            InputError: The mask is missing or of another size.
            IntegrityError: It changed since the scene was prepared.
        """
        listed = self._listed(split)
        path = self.path / _mask_file(None if self.counts_backs else split.name, name)
        data = self._read_mask(path) if listed else self._drawn(split, name)
        changed = listed is not None and hashlib.sha256(data).hexdigest() != listed[name]
        try:
            mask = decode_plain(data, path)[:, :, 0] >= _COVERED
        except InputError:
            if changed:
                raise _changed(path) from None
            raise
        camera = self.scene.photo(name).camera
        if mask.shape != (camera.height, camera.width):
            raise InputError(
                f"is {mask.shape[1]} x {mask.shape[0]}, its photo is {camera.width} x "
                f"{camera.height}", where=path, advice="prepare the scene again",
            )  # fmt: skip
        if changed:
            raise _changed(path)
        return mask

    def has_masks(self, split: SplitFile) -> bool:
        """Whether any test photo of a split has a mask."""
        return any(self.scene.photo(name).mask_path for name in split.test)

    def mask(self, name: str) -> np.ndarray:
        """Return the pixels of a photo that may be used, bool [H, W]: all where it has no mask.

        Raises:
            IntegrityError: The mask changed since the scene was prepared.
        """
        photo = self.scene.photo(name)
        path = photo.mask_path
        if path is not None and sha256_file(path) != self._sha256_of_mask(name):
            raise _changed(path)
        mask = photo.read_mask()
        return np.ones((photo.camera.height, photo.camera.width), bool) if mask is None else mask

    def _sha256_of_mask(self, name: str) -> str | None:
        path = self.scene.photo(name).mask_path
        if path is None:
            return None
        return self.card.get("files", {}).get(f"masks/{path.name}")

    def _listed(self, split: SplitFile) -> dict[str, str] | None:
        """Return SHA-256 of a split's masks by photo; None for a split that was not prepared."""
        if self.counts_backs:
            return self.card["coverage"]
        known = self.card["coverage"].get(split.name)
        if known is None or self.split(split.name).hash != split.hash:
            return None
        if not known.keys() >= set(split.test):
            raise IntegrityError(
                f"lists no coverage of some test photos of {split.name}", where=self.path / CARD,
                advice="prepare the scene again",
            )  # fmt: skip
        return known

    def _read_mask(self, path: Path) -> bytes:
        try:
            return read_own(path, _MOST_MASK)
        except FileNotFoundError:
            raise InputError(
                "does not exist", where=path, advice="prepare the scene again"
            ) from None

    def _drawn(self, split: SplitFile, name: str) -> bytes:
        """Return the mask of a photo in a split that has no files, as PNG."""
        drawn = self._drawers.get(split.hash)
        if drawn is None:
            drawn = self._drawers[split.hash] = Coverage(self.scene, split, self.surface)
        return encode_png(drawn.mask(name))

    @cached_property
    def _drawers(self) -> dict[str, Coverage]:
        return {}

    def footprint(self, name: str) -> np.ndarray:
        """Return each pixel's size on the surface, float32 [H, W], NaN where nothing is covered."""
        camera = self.scene.photo(name).camera
        packed = torch.from_numpy(camera.recentred(self.scene.origin).packed())
        sizes = np.full((camera.height, camera.width), np.nan, np.float32)
        for top in range(0, camera.height, _ROWS):
            rows = min(_ROWS, camera.height - top)
            rect = (0, top, camera.width, rows)
            points, _ = build_gbuffer(self.surface, packed, camera.width, camera.height, rect)
            part = sizes[top : top + rows].reshape(-1)
            part[points.pixel_index.numpy()] = points.footprint.numpy()
        return sizes

    def damage(self) -> Iterator[str]:
        """Yield a line for every file that no longer matches its hash."""
        folder = f"images_{self.card['downscale']:g}"
        listed = {f"{folder}/{name}": sha for name, sha in self.card["photos"].items()}
        masks = {None: self.card["coverage"]} if self.counts_backs else self.card["coverage"]
        for split, known in masks.items():
            listed |= {_mask_file(split, name): sha for name, sha in known.items()}
        listed |= dict(self.card.get("files", {}))
        for name, sha in listed.items():
            path = self.path / name
            if not path.is_file():
                yield f"{name} is missing"
            elif sha256_file(path) != sha:
                yield f"{name} changed since the scene was prepared"

    def rules(self, split: SplitFile) -> dict[str, Any]:
        """Return everything that decides the figures of all methods on a split."""
        listed = self._listed(split)
        if listed is None:
            masks = {n: hashlib.sha256(self._drawn(split, n)).hexdigest() for n in split.test}
        else:
            masks = {name: listed[name] for name in split.test}
        kept = {name: self._sha256_of_mask(name) for name in split.test}
        return {
            "split": split.name,
            "split_sha256": split.hash,
            "downscale": self.card["downscale"],
            "sizes": self.card.get("sizes"),
            "photos_sha256": {name: self.card["photos"][name] for name in split.test},
            "coverage_sha256": masks,
            **({"masks_sha256": kept} if any(kept.values()) else {}),
        }


def _mask_file(split: str | None, name: str) -> str:
    """Return where the mask of a photo lies in a scene's folder; split None: the only one."""
    return f"coverage/{'' if split is None else f'{split}/'}{png_name(name)}"


def _fits(card: dict[str, Any]) -> bool:
    """Whether a card's masks are those of its photos."""
    photos, masks = card["photos"].keys(), card["coverage"]
    if card["format"] == _ONE_MASK:
        return masks.keys() == photos
    if not isinstance(card.get("files"), dict):
        return False
    splits = {PurePosixPath(p).stem for p in card["files"] if p.startswith("splits/")}
    names = [m.keys() for m in masks.values() if isinstance(m, dict)]
    return masks.keys() == splits and len(names) == len(masks) and all(n <= photos for n in names)


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(
        "changed since the scene was prepared", where=path,
        advice="restore it, or prepare the scene again",
    )  # fmt: skip

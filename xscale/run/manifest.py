"""The manifest of a run: what was trained, on what, with which settings; typed and checked."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from xscale.config import from_dict
from xscale.errors import ConfigError, IntegrityError, XscaleError
from xscale.geometry.camera import Camera
from xscale.geometry.camera_json import camera_from_json, camera_to_json
from xscale.io.hashing import checked_by_own_hash, with_own_hash
from xscale.io.names import safe_name
from xscale.model.box import Box
from xscale.model.settings import ModelSettings
from xscale.scene.split import Split

FORMAT = 1
_ADVICE = "restore the folder from a copy, or train again"


def new_run_id() -> str:
    """Return the id of a new run: its files carry it, so that parts of two runs never mix."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True)
class TrainedScene:
    """The scene that a run was trained on."""

    fingerprint: str
    """``Scene.fingerprint``."""
    layout: str
    root: str
    """The folder, as it was given."""
    absolute: str = ""
    """The same folder from the root of the machine that trained; empty in older runs."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options that open it again; see ``Scene.options``."""
    provenance: dict[str, Any] = field(default_factory=dict)
    photos: int
    downscale: float
    """Factor by which the photos were reduced for training and scoring."""
    warnings: tuple[str, ...] = ()
    left_out: tuple[dict[str, Any], ...] | None = None
    """Damaged photos: ``photo`` and ``reason``; None where nothing is known yet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """``manifest.json`` of a run folder."""

    run: str | None
    """Id of the run; None for runs of versions that gave none."""
    scene: TrainedScene
    origin: tuple[float, float, float]
    """World position of the mesh's local origin."""
    box: Box
    """Where the hash grid lies, local frame."""
    preset: str
    settings: dict[str, Any]
    """All settings of the training, as plain values."""
    split: Split
    cameras: dict[str, Camera]
    """World-frame cameras of all photos at their stored size, by name."""
    versions: dict[str, str]
    seed: int
    threads: int | None = None
    """Threads that the training computed with; its results do not depend on them."""

    @cached_property
    def model(self) -> ModelSettings:
        """Settings of the learned part."""
        return from_dict(ModelSettings, self.settings["model"])

    @cached_property
    def origin_array(self) -> np.ndarray:
        """``origin`` as float64 [3]."""
        return np.array(self.origin, np.float64)

    def refines(self, what: str) -> bool:
        """Whether the training moved ``cameras`` or the ``surface``."""
        return self.settings.get("refine", {}).get(what, "off") != "off"

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain values, with a hash over all others."""
        scene = {k: v for k, v in dataclasses.asdict(self.scene).items() if v is not None}
        values: dict[str, Any] = {
            "format": FORMAT,
            "scene": scene,
            "origin": list(self.origin),
            "box": {"centre": list(self.box.centre), "extent": list(self.box.extent)},
            "preset": self.preset,
            "settings": self.settings,
            "split": {"train": list(self.split.train), "test": list(self.split.test)},
            "cameras": {name: camera_to_json(camera) for name, camera in self.cameras.items()},
            "versions": self.versions,
            "seed": self.seed,
        }
        if self.threads is not None:
            values["threads"] = self.threads
        if self.run is not None:
            values["run"] = self.run
            return with_own_hash(values)
        return values


def manifest_from_json(values: Mapping[str, Any], where: object) -> Manifest:
    """Return the manifest that plain values describe.

    Args:
        values: What ``manifest.json`` holds.
        where: The file, for errors.

    Raises:
        IntegrityError: Another format, a value that is missing, of a wrong type or impossible, or
            one that was changed since it was written.
    """
    if values.get("format") != FORMAT:
        raise IntegrityError(
            f"has format {values.get('format')!r:.40}, this version reads {FORMAT}", where=where
        )
    of_a_run = values.get("run") is not None
    values = checked_by_own_hash(values, where, _ADVICE, required=of_a_run)
    try:
        found = _typed(values, where)
        _ = found.model
    except ConfigError as error:
        raise IntegrityError(
            f"its settings are not those of this version: {error}",
            where=where,
            advice="use the version that trained the run, or train again",
        ) from error
    except XscaleError as error:
        raise IntegrityError(f"{error}", where=where, advice=_ADVICE) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"is damaged: {what}", where=where, advice=_ADVICE) from error
    return found


def _typed(values: Mapping[str, Any], where: object) -> Manifest:
    scene, split, box = (_object(values[key], key) for key in ("scene", "split", "box"))
    names = {key: tuple(_text(name, f"split.{key}") for name in _list(split[key], key))
             for key in ("train", "test")}  # fmt: skip
    cameras = {
        safe_name(name, where): camera_from_json(_object(numbers, name), f"camera {name}")
        for name, numbers in _object(values["cameras"], "cameras").items()
    }
    unknown = [name for name in (*names["train"], *names["test"]) if name not in cameras]
    if unknown:
        raise ValueError(f"the split names {unknown[0]!r:.60}, which has no camera")
    if len({*names["train"], *names["test"]}) != len(names["train"]) + len(names["test"]):
        raise ValueError("the split names a photo twice")
    settings = _object(values["settings"], "settings")
    for key in settings:
        _object(settings[key], f"settings.{key}")
    _ = settings["model"]
    left_out = scene.get("left_out")
    return Manifest(
        run=None if values.get("run") is None else _text(values["run"], "run"),
        scene=TrainedScene(
            fingerprint=_text(scene["fingerprint"], "scene.fingerprint"),
            layout=_text(scene["layout"], "scene.layout"),
            root=_text(scene["root"], "scene.root"),
            absolute=_text(scene.get("absolute", ""), "scene.absolute"),
            options=_object(scene.get("options", {}), "scene.options"),
            provenance=_object(scene.get("provenance", {}), "scene.provenance"),
            photos=int(_number(scene["photos"], "scene.photos")),
            downscale=_at_least_one(scene["downscale"]),
            warnings=tuple(_text(w, "scene.warnings") for w in _list(scene.get("warnings", []),
                                                                     "scene.warnings")),
            left_out=None if left_out is None else tuple(
                _left_out(entry) for entry in _list(left_out, "scene.left_out")
            ),
        ),
        origin=_triple(values["origin"], "origin"),
        box=Box(_triple(box["centre"], "box.centre"), _triple(box["extent"], "box.extent")),
        preset=_text(values["preset"], "preset"),
        settings=settings,
        split=Split(names["train"], names["test"]),
        cameras=cameras,
        versions={k: _text(v, "versions") for k, v in _object(values.get("versions", {}),
                                                              "versions").items()},
        seed=_seed(values["seed"]),
        threads=None if values.get("threads") is None else int(_number(values["threads"],
                                                                       "threads")),
    )  # fmt: skip


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} is not an object")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{what} is not a list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is not text")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
        raise TypeError(f"{what} is not a number")
    return value


def _seed(value: object) -> int:
    seed = int(_number(value, "seed"))
    if not -(2**63) <= seed < 2**63:
        raise ValueError("seed has more than 64 bits")
    return seed


def _at_least_one(value: object) -> float:
    if _number(value, "scene.downscale") < 1:
        raise ValueError("scene.downscale is below 1")
    return value


def _triple(value: object, what: str) -> tuple[float, float, float]:
    x, y, z = (float(_number(number, what)) for number in _list(value, what))
    return x, y, z


def _left_out(value: object) -> dict[str, Any]:
    entry = _object(value, "scene.left_out")
    _text(entry["photo"], "scene.left_out.photo"), _text(entry["reason"], "scene.left_out.reason")
    return entry

"""How a scene is to be read: one dataclass for the command line, Python and a run's manifest.

Nothing here is slow to import: a command's options are checked before anything is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from xscale.errors import CameraError, UsageError

PixelOrigin = Literal["corner", "center"]
_PATHS = ("transform", "cameras", "images")
_NOT_KEPT = ("layout_scale",)
"""Options that the scene's own name keeps."""


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Files to read instead of those that a scene folder holds, and what its files mean."""

    mesh: tuple[Path, ...] = ()
    """The mesh, where it is not the folder's own mesh.*; given several times, all together."""
    transform: Path | None = None
    """File with 16 numbers, the 4x4 matrix that takes the mesh into the cameras' frame."""
    mesh_repair: Literal["none", "drop-bad-faces"] = "none"
    """Treatment of faces whose corners are NaN or infinite: refuse them or leave them out."""
    cameras: Path | None = None
    """The cameras, where they are not the folder's own; the kind is recognised by its content."""
    images: Path | None = None
    """The folder that photo names are relative to, where it is not the usual one."""
    colmap_model: str | None = None
    """Which of several COLMAP models: a folder below sparse/, for example 0."""
    layout_scale: float | None = None
    """Number k of the images_k folder of a benchmark layout; default: the smallest."""
    pixel_origin: PixelOrigin = "corner"
    """Where the cameras' pixel (0, 0) lies: the picture's corner, or its first pixel's centre."""
    pose_convention: Literal[
        "layout",
        "world-to-camera",
        "world-to-camera-opengl",
        "camera-to-world",
        "camera-to-world-opengl",
        "world-to-camera-centre",
    ] = "layout"
    """Meaning of the cameras' matrices, where it is not their layout's: which way
    they go, and OpenCV's axes (y down, z forward) or OpenGL's (y up, z backwards)."""
    on_bad_photo: Literal["skip", "stop"] = "skip"
    """Treatment of a damaged training photo: left out and named (a few), or refused."""
    alpha: Literal["mask", "ignore", "over-white"] = "mask"
    """Meaning of an alpha channel: a mask (below 128 of 255 is left out), nothing, or colours that
    lie over white."""
    convert_cmyk: bool = False
    """Convert CMYK photos, as if their inks were ideal, instead of refusing them."""
    color: Literal["srgb", "linear", "icc"] = "srgb"
    """Meaning of photos' numbers: sRGB, linear light, or what the embedded colour profile says."""
    no_outside: bool = False
    """Refuse photos that are links out of the photo folder."""
    drop_outliers: bool = False
    """Leave out the few training photos whose cameras do not fit the others, instead of naming
    them only."""

    def __post_init__(self) -> None:
        if self.pixel_origin not in ("corner", "center"):
            raise CameraError(f"pixel origin must be corner or center, got {self.pixel_origin!r}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SceneOptions:
        """Return options from Python's keywords, or from the text that a manifest keeps.

        Args:
            given: Values by field. Paths may be text, ``mesh`` one path or several; None is the
                default; a truth value may be its text.

        Raises:
            UsageError: There is no such option.
        """
        known = {field.name for field in fields(SceneOptions)}
        chosen = {}
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"a scene has no option {name!r}")
            if value is None:
                continue
            if name == "mesh":
                value = _paths(value)
            elif name in _PATHS:
                value = Path(value)
            elif name == "colmap_model":
                value = str(value)
            elif isinstance(getattr(cls, name), bool):
                value = value not in (False, "False", "")
            chosen[name] = value
        return SceneOptions(**chosen)

    def changed(self) -> dict[str, Any]:
        """Return the options that are not their defaults, by name."""
        found = {f.name: (getattr(self, f.name), f.default) for f in fields(SceneOptions)}
        return {name: value for name, (value, default) in found.items() if value != default}

    def as_text(self) -> dict[str, str | list[str]]:
        """Return what ``of`` reads, as a run's manifest keeps it."""
        text: dict[str, str | list[str]] = {}
        for name, value in self.changed().items():
            if name == "mesh":
                text[name] = str(value[0]) if len(value) == 1 else [str(path) for path in value]
            elif name not in _NOT_KEPT:
                text[name] = str(value)
        return text


def _paths(value: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(value),) if isinstance(value, str | os.PathLike) else tuple(map(Path, value))

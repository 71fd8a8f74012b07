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
    """Mesh file to use instead of the folder's mesh.*; several files become one mesh."""
    transform: Path | None = None
    """File with 16 numbers: the 4x4 matrix that moves the mesh into the cameras' frame."""
    mesh_repair: Literal["none", "drop-bad-faces"] = "none"
    """Treatment of faces whose corners are NaN or infinite: none refuses the mesh, drop-bad-faces
    leaves them out."""
    cameras: Path | None = None
    """Camera file to use instead of the folder's own; its kind is recognised by its content."""
    images: Path | None = None
    """Folder of the photos, if it is not the layout's usual one; photo names are relative to it."""
    colmap_model: str | None = None
    """COLMAP model to use if there are several: the name of its folder below sparse/, such as 0."""
    layout_scale: float | None = None
    """Number k of the images_k folder of a benchmark layout; default: the smallest k."""
    pixel_origin: PixelOrigin = "corner"
    """Place of the cameras' pixel coordinate (0, 0): the picture's corner, or the centre of its
    first pixel."""
    pose_convention: Literal[
        "layout",
        "world-to-camera",
        "world-to-camera-opengl",
        "camera-to-world",
        "camera-to-world-opengl",
        "world-to-camera-centre",
    ] = "layout"
    """Meaning of the cameras' matrices: their direction, and OpenCV's axes (y down, z forward) or
    OpenGL's (y up, z backwards). layout takes the layout's own meaning."""
    on_bad_photo: Literal["skip", "stop"] = "skip"
    """Treatment of damaged training photos: skip leaves out a few and names them, stop refuses the
    scene."""
    alpha: Literal["mask", "ignore", "over-white"] = "mask"
    """Meaning of an alpha channel: a mask (pixels below 128 of 255 are left out), nothing, or
    opacity over white."""
    convert_cmyk: bool = False
    """Convert CMYK photos as if their inks were ideal; by default they are refused."""
    color: Literal["srgb", "linear", "icc"] = "srgb"
    """Meaning of pixel values: sRGB, linear light, or as the embedded colour profile says."""
    no_outside: bool = False
    """Refuse photos that are symbolic links to places outside of the photo folder."""
    drop_outliers: bool = False
    """Leave out a few training photos whose cameras do not fit the others; by default they are
    only named."""

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

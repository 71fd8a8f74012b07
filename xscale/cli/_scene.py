"""The options by which every command that takes a SCENE says how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from xscale.scene.scene import Scene


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """A scene folder, and what to read instead of what it holds."""

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    """Folder with photos, cameras and a mesh."""
    mesh: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], tyro.conf.arg(metavar="FILE")] = ()
    """The mesh, where it is not the folder's own mesh.*; given several times, all together."""
    transform: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File with 16 numbers, the 4x4 matrix that takes the mesh into the cameras' frame."""
    mesh_repair: Literal["none", "drop-bad-faces"] = "none"
    """Treatment of faces whose corners are NaN or infinite: refuse them or leave them out."""
    cameras: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The cameras, where they are not the folder's own; the kind is recognised by its content."""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder that photo names are relative to, where it is not the usual one."""
    colmap_model: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which of several COLMAP models: a folder below sparse/, for example 0."""
    pixel_origin: Literal["corner", "center"] = "corner"
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
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    drop_outliers: bool = False
    """Leave out the few training photos whose cameras do not fit the others, instead of naming
    them only."""

    def open(self) -> Scene:
        """Open the scene; errors as for ``Scene.open``."""
        from xscale.scene.scene import Scene

        return Scene.open(
            self.scene,
            mesh=self.mesh or None,
            transform=self.transform,
            mesh_repair=self.mesh_repair,
            cameras=self.cameras,
            images=self.images,
            colmap_model=self.colmap_model,
            pixel_origin=self.pixel_origin,
            pose_convention=self.pose_convention,
            on_bad_photo=self.on_bad_photo,
            alpha=self.alpha,
            convert_cmyk=self.convert_cmyk,
            drop_outliers=self.drop_outliers,
            color=self.color,
            no_outside=self.no_outside,
        )

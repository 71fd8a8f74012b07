"""The options by which every command that takes a SCENE says how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from xscale.scene.options import SceneOptions

if TYPE_CHECKING:
    from xscale.scene.scene import Scene


@dataclass(frozen=True, kw_only=True)
class SceneArguments(SceneOptions):
    """A scene folder, and how it is to be read."""

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    """Folder with photos, cameras and a mesh."""
    mesh: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], tyro.conf.arg(metavar="FILE")] = ()
    """The mesh, where it is not the folder's own mesh.*; given several times, all together."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""

    def open(self) -> Scene:
        """Open the scene; errors as for ``Scene.open``."""
        from xscale.scene.scene import Scene

        return Scene.open(self.scene, self)

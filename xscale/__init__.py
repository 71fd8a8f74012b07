"""xscale: photographs and a photogrammetry mesh in, photorealistic novel views out.

Public names are resolved on first use, so ``import xscale`` costs nothing and needs neither
torch nor a compiled module.
"""

from __future__ import annotations

import importlib
import operator

__version__ = "0.1.0"

_PUBLIC = {
    "Camera": "xscale.geometry.camera",
    "Mesh": "xscale.geometry.mesh",
    "RenderOptions": "xscale.render.options",
    "Run": "xscale.render.run",
    "Scene": "xscale.scene.scene",
    "XscaleError": "xscale.errors",
    "open": "xscale.render.run:Run.open",
    "render_job": "xscale.render.render_job",
    "score_run": "xscale.scoring",
    "train": "xscale.training.api",
}

__all__ = [
    "Camera",
    "Mesh",
    "RenderOptions",
    "Run",
    "Scene",
    "XscaleError",
    "__version__",
    "open",
    "render_job",
    "score_run",
    "train",
]


def __getattr__(name: str) -> object:
    """Import the module behind a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'xscale' has no attribute {name!r}")
    module, _, path = _PUBLIC[name].partition(":")
    return operator.attrgetter(path or name)(importlib.import_module(module))


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)

"""xscale: photographs and a photogrammetry mesh in, photorealistic novel views out.

Public names are resolved on first use, so ``import xscale`` costs nothing and needs neither
torch nor a compiled module.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "Camera": "xscale.geometry.camera",
    "Mesh": "xscale.geometry.mesh",
    "Run": "xscale.render.run",
    "Scene": "xscale.scene.scene",
    "XscaleError": "xscale.errors",
    "train": "xscale.train.api",
}

__all__ = ["Camera", "Mesh", "Run", "Scene", "XscaleError", "__version__", "train"]


def __getattr__(name: str) -> object:
    """Import the module behind a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'xscale' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)

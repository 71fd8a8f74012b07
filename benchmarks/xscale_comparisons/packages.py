"""Packages that xscale is compared with: whether they are installed, and how one installs them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import NamedTuple

from torch import Tensor

from xscale.errors import SetupError


class Package(NamedTuple):
    """A package that xscale does not depend on."""

    name: str
    """Name of the choice in xscale's options."""
    module: str
    """Module to import."""
    install: str
    """Command that installs it."""


NVDIFFRAST = Package(
    "nvdiffrast",
    "nvdiffrast.torch",
    "pip install git+https://github.com/NVlabs/nvdiffrast (non-commercial licence)",
)
TCNN = Package(
    "tcnn",
    "tinycudann",
    "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch",
)


def installed() -> tuple[str, ...]:
    """Return which of "nvdiffrast" and "tcnn" are installed, without importing them."""
    found = (NVDIFFRAST, TCNN)
    return tuple(p.name for p in found if importlib.util.find_spec(p.module.split(".")[0]))


def import_peer(package: Package) -> ModuleType:
    """Import a package.

    Raises:
        SetupError: It is not installed.
    """
    try:
        return importlib.import_module(package.module)
    except ImportError as error:
        raise SetupError(f"{package.name} is not installed", advice=package.install) from error


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor lies on a GPU."""
    return tensor.device.type == "cuda"

"""Puts a compiled module with sanitizers into the place of xscale's own; a plug-in of pytest.

``python -m pytest -p tests.sanitizers.module`` with XSCALE_SANITIZED naming the module's file.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys


def _load(path: str) -> None:
    loader = importlib.machinery.ExtensionFileLoader("xscale._core", path)
    spec = importlib.util.spec_from_loader("xscale._core", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["xscale._core"] = module


_load(os.environ["XSCALE_SANITIZED"])

"""The ops: every one a public function with a PyTorch reference and compiled bodies behind it."""

from __future__ import annotations

from xscale.ops._dispatch import OPS, choice, use_backend
from xscale.ops._ext import (
    built,
    cuda_built,
    has_body,
    import_failure,
    isa,
    limit_threads,
    module_path,
)
from xscale.ops.adam import adam

__all__ = [
    "OPS",
    "adam",
    "built",
    "choice",
    "cuda_built",
    "has_body",
    "import_failure",
    "isa",
    "limit_threads",
    "module_path",
    "use_backend",
]

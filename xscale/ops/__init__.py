"""The ops: every one a public function with a PyTorch reference and compiled bodies behind it."""

from __future__ import annotations

from xscale.ops._dispatch import OPS, choice, use_backend
from xscale.ops._ext import built, cuda_built, import_failure, isa, limit_threads, module_path
from xscale.ops.adam import adam
from xscale.ops.encode import (
    GridLayout,
    encode,
    encode_backward,
    encode_backward_position,
    grid_layout,
)

__all__ = [
    "OPS",
    "GridLayout",
    "adam",
    "built",
    "choice",
    "cuda_built",
    "encode",
    "encode_backward",
    "encode_backward_position",
    "grid_layout",
    "import_failure",
    "isa",
    "limit_threads",
    "module_path",
    "use_backend",
]

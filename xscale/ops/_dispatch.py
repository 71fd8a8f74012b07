"""The table of ops and the single choice of body.

Tensors on the CPU go to the compiled CPU body, tensors on a GPU to the CUDA body. The PyTorch
reference runs when it is asked for (``use_backend("reference")`` or XSCALE_BACKEND=reference), and
everywhere when xscale was installed without a compiler (``xscale doctor`` says so). There is no
silent fallback from a compiled build to the reference.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.library import CustomOpDef

from xscale.errors import BackendError, UsageError
from xscale.ops import _ext


@dataclass(frozen=True)
class Op:
    """One row of the table: an op, the rows of the compiled module behind it, its tolerances."""

    name: str
    kernels: tuple[str, ...]
    """Rows of the compiled module (forward, backward)."""
    float32_tolerance: float
    """Largest error of a float32 body against the float64 reference, relative to the largest
    magnitude of the result."""
    chained: bool = False
    """Whether it only joins other ops, which run where it has no body."""


OPS: dict[str, Op] = {
    op.name: op
    for op in [
        Op("adam", ("adam",), 2e-6),
        Op("breaks", ("breaks",), 1e-3),
        Op("encode", ("encode", "encode_backward", "encode_backward_position"), 1e-5),
        Op("fused_frame", ("fused_frame",), 1.001 / 255, chained=True),
        Op("fused_step", ("fused_step",), 2e-5, chained=True),
        Op("interpolate", ("interpolate",), 1e-6),
        Op("rasterize", ("rasterize",), 0.0),
        Op("reproject", ("reproject",), 1.001 / 255),
        Op("shade_film", ("shade_film", "shade_film_gradient"), 1e-5),
        Op("shade_relu", ("shade_relu", "shade_relu_gradient"), 4e-6),
        Op("sides", ("sides",), 0.0),
    ]
}

BACKENDS = ("auto", "cpu", "cuda", "emulated", "reference")
_forced: list[str] = []


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Force one body for every op called inside.

    Args:
        name: "cpu", "cuda", "reference", "auto", or "emulated": the passes of the CUDA bodies, run
            on the host for tests.
    """
    _check_name(name)
    _forced.append(name)
    try:
        with _ext.emulation(name == "emulated"):
            yield
    finally:
        _forced.pop()


def choice(op: str, device: torch.device) -> str:
    """Return which body ``op`` uses for tensors on ``device``: "cpu", "cuda" or "reference".

    Raises:
        BackendError: The body asked for is not in this build, or cannot run on this device.
    """
    wanted = _forced[-1] if _forced else os.environ.get("XSCALE_BACKEND", "auto")
    _check_name(wanted)
    if wanted == "reference" or (wanted == "auto" and not _ext.built()):
        return "reference"
    body = device.type
    if wanted not in ("auto", body) and (wanted, body) != ("emulated", "cpu"):
        raise BackendError(
            f"{op}: backend {wanted!r} was asked for, but the tensors are on {device}",
            advice=f"move them, or use backend {body!r}",
        )
    if not all(_ext.has_body(kernel, body) for kernel in OPS[op].kernels):
        raise BackendError(
            f"{op} has no {body} body in this build (xscale doctor lists them)",
            advice="run on CPU tensors, or set XSCALE_BACKEND=reference",
        )
    return body


def use_reference(op: str, device: torch.device) -> bool:
    """Whether ``op`` runs its PyTorch reference for tensors on ``device``. The one fork."""
    return choice(op, device) == "reference"


def registered(name: str, **options: object) -> Callable[[Callable], CustomOpDef]:
    """Register a function with PyTorch; of ``torch.library.custom_op``. See ``call``."""

    def register(body: Callable) -> CustomOpDef:
        op = torch.library.custom_op(name, mutates_args=(), **options)(body)
        op.body = body
        return op

    return register


def call(op: CustomOpDef, *arguments: object) -> object:
    """Call a registered op, or its body alone where PyTorch need not know of the call.

    It must know where autograd records, where something is compiled, and for tensors of other
    kinds than its own. Otherwise it would only load its compiler on the way: seconds, once.
    """
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
    if recorded or not plain or torch.compiler.is_compiling():
        return op(*arguments)
    return op.body(*arguments)


def _check_name(name: str) -> None:
    if name not in BACKENDS:
        raise UsageError(
            f"XSCALE_BACKEND {name!r} is not one of {', '.join(BACKENDS)}",
            advice="unset it to let the device decide",
        )

"""The only importer of the compiled module: tensors become addresses here, nowhere else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import ModuleType

import torch

from xscale.errors import BackendError

try:
    from xscale import _core
except ImportError as error:  # built without a compiler, or not built: the references run
    _core = None
    _import_error: ImportError | None = error
else:
    _import_error = None

_CODES = {
    torch.float32: "f4",
    torch.float64: "f8",
    torch.float16: "f2",
    torch.int32: "i4",
    torch.int64: "i8",
    torch.int16: "i2",
    torch.uint16: "u2",
    torch.uint8: "u1",
    torch.bool: "u1",
}

BODIES = ("cpu", "cuda", "emulated")
_thread = threading.local()


def built() -> bool:
    """Whether the compiled module is there."""
    return _core is not None


def module_path() -> str | None:
    """File of the compiled module, or None."""
    return None if _core is None else _core.__file__


def import_failure() -> str | None:
    """Why the compiled module could not be imported, or None."""
    return None if _import_error is None else str(_import_error)


def has_body(op: str, body: str) -> bool:
    """Whether this build holds a body of ``op``: "cpu", "cuda" or "emulated".

    The last is the logic of the CUDA kernel run on the host.
    """
    if _core is None or op not in _core.ops:
        return False
    return bool(_core.ops[op][BODIES.index(body)])


def isa() -> str:
    """Instruction set of the CPU bodies: "avx512", "avx2" or "base"; "none" if not built."""
    return "none" if _core is None else str(_core.isa())


def cuda_built() -> bool:
    """Whether the CUDA bodies were compiled."""
    return _core is not None and bool(_core.cuda_built)


@contextlib.contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let ops called from this Python thread use at most ``threads`` CPU threads."""
    if _core is None:
        yield
        return
    before = _core.max_threads()
    _core.set_threads(threads)
    try:
        yield
    finally:
        _core.set_threads(before)


@contextlib.contextmanager
def emulation(on: bool) -> Iterator[None]:
    """Let CPU tensors go to the device kernels, emulated on the host."""
    before = getattr(_thread, "emulation", False)
    _thread.emulation = on
    try:
        yield
    finally:
        _thread.emulation = before


def body_of(op: str, device: torch.device) -> str:
    """Return which body ``call`` runs for tensors on ``device``: one of ``BODIES``."""
    emulated = getattr(_thread, "emulation", False) and has_body(op, "emulated")
    return "emulated" if emulated and device.type == "cpu" else device.type


def call(op: str, device: torch.device, **fields: object) -> None:
    """Run the compiled body of ``op``; see ``call_in``.

    Raises:
        BackendError: The module is not built.
    """
    if _core is None:
        raise BackendError(
            f"{op}: the compiled module is missing ({_import_error})",
            advice="reinstall with a C++17 compiler, or use XSCALE_BACKEND=reference",
        )
    call_in(_core, op, body_of(op, device), device, **fields)


def call_in(module: ModuleType, op: str, body: str, device: torch.device, **fields: object) -> None:
    """Run a row of a compiled module.

    Args:
        module: A module made by csrc/binding.h.
        op: Name of the binding's row.
        body: One of ``BODIES``.
        device: Where all tensors live (the op's checks made sure of that).
        **fields: The args struct's fields; tensors must be contiguous, ``None`` is a null pointer,
            a dictionary is a struct within it.

    Raises:
        RuntimeError: The row has no such body.
        torch.OutOfMemoryError: The device has no memory left for what the body needs beside them.
    """
    on_gpu = device.type == "cuda"
    stream = torch.cuda.current_stream(device).cuda_stream if on_gpu else 0
    values = {name: _value(value) for name, value in fields.items()}
    try:
        # A launch goes to the thread's device, whatever its stream belongs to.
        with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
            if on_gpu and hasattr(module, "set_cuda_device"):
                # The module's CUDA runtime is not torch's: it is told the device as well.
                module.set_cuda_device(torch.cuda.current_device())
            if hasattr(module, f"{op}_scratch"):
                values["scratch"] = None
                if body != "cpu":
                    # Torch's memory: reused in the stream's order, and a CUDA graph may hold it.
                    size = getattr(module, f"{op}_scratch")(body, **values)
                    scratch = torch.empty(size, dtype=torch.uint8, device=device)
                    values["scratch"] = _value(scratch)
            getattr(module, op)(body, stream, **values)
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise


def _value(value: object) -> object:
    """Return an argument as the compiled module takes it."""
    if isinstance(value, torch.Tensor):
        return value.data_ptr(), _CODES[value.dtype], value.numel()
    if isinstance(value, dict):
        return {name: _value(inner) for name, inner in value.items()}
    return value

"""Which device a name means on this machine, and whether the kernels of this build run on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from xscale.config import check_device_name
from xscale.errors import DeviceError, UsageError
from xscale.ops import _ext
from xscale.ops._dispatch import OPS
from xscale.ops.adam import adam


def pick_device(name: str, on_notice: Callable[[str], None] | None = None) -> torch.device:
    """Return the device that a name means here.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N".
        on_notice: Called with one line when "auto" passes over a GPU that is there.

    Raises:
        UsageError: No such name, or a device for pictures only.
        DeviceError: A GPU was asked for and there is none, or the kernels do not run on it.
    """
    check_device_name(name)
    if name.startswith("webgpu"):
        raise UsageError(
            f"--device {name} renders; it does not train", advice="use --device cpu or cuda"
        )
    if name == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda" if name == "auto" else name)
    reason = why_unusable(device)
    if reason is None:
        return device
    if name == "auto":
        if on_notice is not None and torch.cuda.is_available() and _ext.cuda_built():
            on_notice(f"W-DEVICE: the GPU is not used: {reason}; xscale doctor says more")
        return torch.device("cpu")
    raise DeviceError(reason, advice="use --device cpu; xscale doctor says more")


def why_unusable(device: torch.device) -> str | None:
    """Return in a few words why the CUDA bodies cannot run on ``device``; None: they can.

    The answer comes from running one: a driver that is too old and a GPU that the build has no
    code for show only then.
    """
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    if (device.index or 0) >= torch.cuda.device_count():
        return f"there is no {device}, only {torch.cuda.device_count()} CUDA devices"
    lacking = [op.name for op in OPS.values() if not op.chained and not _complete(op.kernels)]
    if lacking:
        return f"this build has no CUDA body of {', '.join(lacking)}"
    try:
        rows = [torch.ones(1, 1, device=device) for _ in range(4)]
        adam(*rows, step=1, learning_rate=1.0)
        rows[0].cpu()
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        return f"the kernels do not run on {device}: {str(error).splitlines()[0]}"
    return None


def unusable_advice(reason: str) -> str:
    """Say what helps against a reason of ``why_unusable``."""
    text = reason.lower()
    if "no kernel image" in text or "ptx" in text:
        return "this build has no code for this GPU: put nvcc on PATH and reinstall from the source"
    if "driver" in text:
        return "the NVIDIA driver is older than the CUDA that this build was made with: update it"
    if "no cuda body" in text:
        return "put nvcc on PATH and reinstall from the source"
    if "torch finds no" in text:
        return "install a PyTorch with CUDA that the driver supports (nvidia-smi shows which)"
    return "report it with this page"


_streams = threading.local()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Launch what this thread does inside on a stream of its own.

    On a GPU it then runs beside what other threads have launched, not behind it; tensors made
    before the thread's first use of this may be read. Elsewhere this does nothing.
    """
    if device.type != "cuda":
        yield
        return
    streams = _streams.__dict__.setdefault("of", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
        streams[device].wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(streams[device]):
        yield


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor as copies to ``device`` want it: to a GPU they need not be waited for."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _complete(kernels: tuple[str, ...]) -> bool:
    return all(_ext.has_body(kernel, "cuda") for kernel in kernels)

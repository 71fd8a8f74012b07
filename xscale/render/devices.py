"""Devices that pictures can come from: PyTorch's, and the graphics chips that WebGPU reaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xscale import ops
from xscale.config import check_device_name
from xscale.errors import UsageError, XscaleError
from xscale.run.folder import RunFolder
from xscale.webgpu.device import Adapter, adapters, find_adapter


def pick_render_device(
    name: str, run: str | Path, on_notice: Callable[[str], None] | None = None
) -> str:
    """Return the device that a name means for pictures of a run: cpu, cuda, cuda:N or webgpu:N.

    "auto" takes CUDA, else a graphics chip that WebGPU reaches, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N", "webgpu" or "webgpu:N".
        run: The run's folder.
        on_notice: Called with one line when "auto" passes over a GPU.

    Raises:
        UsageError: No such name.
        SetupError: wgpu is not installed.
        DeviceError: There is no such GPU, or it cannot be used.
    """
    check_device_name(name)
    if name.startswith("webgpu"):
        number = name.partition(":")[2]
        return webgpu_name(find_adapter(int(number) if number else None))
    device = ops.pick_device(name, on_notice)
    if name != "auto" or device.type != "cpu":
        return str(device)
    chip = _graphics_chip()
    if chip is None:
        return "cpu"
    if RunFolder(run).manifest.model.encoding != "hash":
        if on_notice is not None:
            on_notice(f"W-DEVICE: {chip.name} is not used: WebGPU draws hash grids only")
        return "cpu"
    return webgpu_name(chip)


def pick_view_device(name: str, run: str | Path) -> str:
    """Return the device that a viewer's pictures come from: cpu or webgpu:N.

    "auto" takes a graphics chip that WebGPU reaches and that draws the run, else the CPU.

    Args:
        name: "auto", "cpu", "webgpu" or "webgpu:N".
        run: The run's folder.

    Raises:
        UsageError: No such name, or CUDA.
        SetupError: wgpu is not installed.
        DeviceError: There is no such chip, or it cannot be used.
    """
    check_device_name(name)
    if name.startswith("cuda"):
        raise UsageError("the viewer draws on cpu or webgpu", advice="use --device webgpu")
    if name == "auto":
        chip = _graphics_chip()
        drawn = RunFolder(run).manifest.model.encoding == "hash"
        return webgpu_name(chip) if chip is not None and drawn else "cpu"
    if name == "cpu":
        return name
    number = name.partition(":")[2]
    return webgpu_name(find_adapter(int(number) if number else None))


def webgpu_name(adapter: Adapter) -> str:
    """Return an adapter's name for ``--device``."""
    return f"webgpu:{adapter.number}"


def _graphics_chip() -> Adapter | None:
    """Return the first adapter that does not compute on the CPU, None where there is none."""
    try:
        return next((adapter for adapter in adapters() if not adapter.on_cpu), None)
    except XscaleError:
        return None

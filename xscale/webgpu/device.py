"""Adapters and devices of WebGPU: the only module that imports ``wgpu``."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from xscale.errors import DeviceError, ResourceError, SetupError, XscaleError

WEB_LIMITS: Mapping[str, int] = {
    "max-bind-groups": 4,
    "max-buffer-size": 1 << 28,
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-storage-size": 1 << 14,
    "max-storage-buffer-binding-size": 1 << 27,
    "max-storage-buffers-per-shader-stage": 8,
    "max-texture-dimension-2d": 8192,
    "max-uniform-buffer-binding-size": 1 << 16,
}
"""Limits that every browser grants; a page that needs more opens on some machines only."""
_TAKEN = ("max-buffer-size", "max-storage-buffer-binding-size")
"""Limits that are asked for beyond that, where an adapter has more."""
_BACKENDS = ("Vulkan", "Metal", "D3D12")
_ADVICE = "use --device cpu; xscale doctor lists the adapters"
_FRAMES = ("Validation Error", "Caused by:", "In wgpu")
"""Beginnings of the lines around what wgpu says."""
_lock = threading.Lock()


@dataclass(frozen=True)
class Adapter:
    """One graphics chip, or a driver that computes on the CPU."""

    number: int
    """N of --device webgpu:N."""
    name: str
    kind: str
    """DiscreteGPU, IntegratedGPU, VirtualGPU, CPU or Unknown."""
    backend: str
    """Vulkan, Metal or D3D12."""
    driver: str
    limits: Mapping[str, int]
    features: frozenset[str]
    handle: object
    """Object of wgpu."""

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU: for tests, never a replacement of the CPU body."""
        return self.kind == "CPU"


@dataclass(frozen=True)
class Device:
    """A device that is open, with the limits that it was given."""

    adapter: Adapter
    handle: object
    """Object of wgpu."""
    limits: Mapping[str, int]
    features: frozenset[str]

    @property
    def binding_bytes(self) -> int:
        """Bytes that one binding may have."""
        return min(self.limits["max-storage-buffer-binding-size"], self.limits["max-buffer-size"])


def module() -> ModuleType:
    """Return ``wgpu``.

    Raises:
        SetupError: It is not installed, or does not load.
    """
    try:
        import wgpu
    except ImportError as error:
        raise SetupError(
            "--device webgpu needs wgpu and Python 3.11 or newer",
            advice="pip install 'xscale[webgpu]', or use --device cpu",
        ) from error
    except (OSError, RuntimeError) as error:
        raise SetupError(
            f"wgpu does not load here: {_line(error)}", advice="use --device cpu"
        ) from error
    return wgpu


@cache
def adapters() -> tuple[Adapter, ...]:
    """Return the adapters of this machine; a chip that several drivers offer counts once.

    Raises:
        SetupError: wgpu is not installed.
    """
    wgpu = module()
    _without_opengl()
    try:
        with _no_display():
            handles = wgpu.gpu.enumerate_adapters_sync()
    except Exception as error:  # whatever a driver does, the CPU must stay usable
        raise DeviceError(f"the graphics drivers fail: {_line(error)}", advice=_ADVICE) from error
    found: dict[tuple, Adapter] = {}
    ranks = {name: rank for rank, name in enumerate(_BACKENDS)}
    usable = [handle for handle in handles if handle.info["backend_type"] in ranks]
    for handle in sorted(usable, key=lambda handle: ranks[handle.info["backend_type"]]):
        info = handle.info
        key = (info["vendor_id"], info["device_id"], info["device"])
        found.setdefault(
            key,
            Adapter(
                len(found),
                info["device"] or info["description"] or info["vendor"],
                info["adapter_type"],
                info["backend_type"],
                info["description"],
                dict(handle.limits),
                frozenset(handle.features),
                handle,
            ),
        )
    return tuple(found.values())


@contextlib.contextmanager
def _no_display() -> Iterator[None]:
    """Keep drivers that look for a window system from writing to the terminal without one."""
    name = "XDG_RUNTIME_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = "/"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _without_opengl() -> None:
    """Leave OpenGL alone: it has no compute shaders on many machines, and is slow to ask."""
    with contextlib.suppress(ImportError, AttributeError, RuntimeError, ValueError, KeyError):
        from wgpu.backends.wgpu_native import extras

        extras.set_instance_extras(backends=["Vulkan", "Metal", "DX12"])


def find_adapter(number: int | None) -> Adapter:
    """Return adapter N, or the first that does not compute on the CPU, else the first.

    Raises:
        SetupError: wgpu is not installed.
        DeviceError: There is no such adapter.
    """
    found = adapters()
    if not found:
        raise DeviceError(
            "there is no WebGPU adapter: no driver for Vulkan, Metal or D3D12",
            advice="install the graphics driver (mesa-vulkan-drivers computes on the CPU), or use "
            "--device cpu",
        )
    if number is None:
        return next((adapter for adapter in found if not adapter.on_cpu), found[0])
    if number >= len(found):
        raise DeviceError(
            f"there is no webgpu:{number}, only {len(found)} adapters", advice=_ADVICE
        )
    return found[number]


@cache
def _open(number: int | None) -> Device:
    return open_device(find_adapter(number))


def shared_device(number: int | None = None) -> Device:
    """Return the process's device on an adapter; see ``find_adapter``."""
    with _lock:
        return _open(number)


def forget_devices() -> None:
    """Open devices anew from now on: one was lost."""
    with _lock:
        _open.cache_clear()


def open_device(
    adapter: Adapter, limits: Mapping[str, int] | None = None, half: bool = True
) -> Device:
    """Open a device with the web's limits, and larger bindings where the adapter has them.

    Args:
        adapter: See ``adapters``.
        limits: Limits in place of those.
        half: Whether float16 arithmetic is asked for where the adapter has it.

    Raises:
        DeviceError: The adapter has less than the web's limits, or does not open.
    """
    wanted = dict(WEB_LIMITS)
    wanted |= {name: max(wanted[name], adapter.limits[name]) for name in _TAKEN}
    wanted |= limits or {}
    for name, least in wanted.items():
        if adapter.limits.get(name, 0) < least:
            raise DeviceError(
                f"{adapter.name}: {name} is {adapter.limits.get(name, 0)}, pictures need {least}",
                advice=_ADVICE,
            )
    features = ["shader-f16"] if half and "shader-f16" in adapter.features else []
    try:
        with _no_display():
            handle = adapter.handle.request_device_sync(
                required_features=features, required_limits=wanted
            )
    except Exception as error:  # whatever a driver does, the CPU must stay usable
        raise DeviceError(
            f"{adapter.name} does not open: {_line(error)}", advice=_ADVICE
        ) from error
    return Device(adapter, handle, wanted, frozenset(features))


@contextlib.contextmanager
def faults(device: Device) -> Iterator[None]:
    """Turn what a driver raises inside into one line.

    Raises:
        ResourceError: The adapter's memory is full.
        DeviceError: The device was lost or refused its work.
    """
    try:
        yield
    except XscaleError:
        raise
    except Exception as error:
        wgpu = module()
        name = device.adapter.name
        if isinstance(error, wgpu.GPUOutOfMemoryError) or "memory" in str(error).lower():
            raise ResourceError(
                f"{name} has too little memory: {_line(error)}", advice="use --device cpu"
            ) from error
        if isinstance(error, (wgpu.GPUError, RuntimeError, OSError)):
            forget_devices()
            raise DeviceError(
                f"{name} was lost or refused its work: {_line(error)}",
                advice="repeat the command, which continues where it stopped, or use --device cpu",
            ) from error
        raise


def _line(error: BaseException) -> str:
    """Return the first line of an error that says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_FRAMES)]
    return next(iter(telling or lines), repr(error))

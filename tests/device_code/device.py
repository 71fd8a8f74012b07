"""Ops on device code: their real launchers and kernels, run by the interpreter on CPU tensors.

Inside of ``Device.ops`` every op that has a CUDA body runs it where ``use_backend("emulated")``
would have run the host's loop. The interpreter checks each access and each collective; see
``Device.reports``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tests.device_code.build import Built
from xscale.ops import _ext

_DEFAULTS = {"order": 3, "races": 1, "bounds": 1, "counts": 0, "most_shared": 232448}


class Interpreter:
    """The interpreter in a library: programs are loaded into it and launched.

    Args:
        library: Its file.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name in ("load", "reports", "counts"):
            getattr(self._library, f"device_{name}").restype = ctypes.c_char_p
        self._library.device_allow.argtypes = [ctypes.c_uint64, ctypes.c_uint64]

    def load(self, program: Path) -> None:
        """Load a decoded program; its functions take the place of others of the same names."""
        error = self._library.device_load(str(program).encode()).decode()
        if error:
            raise RuntimeError(error)

    def option(self, name: str, value: int) -> None:
        """Set "order", "races", "bounds", "counts", "processors", "most_shared" or "resident"."""
        if self._library.device_option(name.encode(), int(value)):
            raise KeyError(name)

    @contextlib.contextmanager
    def options(self, **values: int) -> Iterator[None]:
        """Set options for a while."""
        for name, value in values.items():
            self.option(name, value)
        try:
            yield
        finally:
            for name in values:
                self.option(name, _DEFAULTS[name])

    def allow(self, tensor: torch.Tensor) -> None:
        """Let kernels touch a tensor's memory, from its first element to its last."""
        if tensor.numel():
            sizes = zip(tensor.shape, tensor.stride(), strict=True)
            elements = 1 + sum((size - 1) * stride for size, stride in sizes)
            self._library.device_allow(tensor.data_ptr(), elements * tensor.element_size())

    def forget(self) -> None:
        """Let kernels touch nothing any more."""
        self._library.device_forget()

    def launch(self, name: str, *arguments: object, blocks: int = 1, threads: int = 32) -> int:
        """Run a kernel; tensors among its arguments are addresses, others ctypes' numbers.

        Returns:
            The status of the CUDA runtime.
        """
        values = []
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                self.allow(argument)
                argument = ctypes.c_uint64(argument.data_ptr())
            values.append(argument)
        pointers = (ctypes.c_void_p * len(values))(
            *(ctypes.cast(ctypes.pointer(value), ctypes.c_void_p) for value in values)
        )
        try:
            return self._library.device_launch(
                name.encode(), blocks, threads, ctypes.c_size_t(0), pointers
            )
        finally:
            self.forget()

    def reports(self) -> list[str]:
        """Return what was found wrong since the last call."""
        return self._library.device_reports().decode().splitlines()

    def counts(self) -> dict[str, dict]:
        """Return counts by kernel and by line of the source, where "counts" is set."""
        return json.loads(self._library.device_counts())


class Device(Interpreter):
    """All ops' device code.

    Args:
        built: The build.
    """

    def __init__(self, built: Built) -> None:
        self.built = built
        path = built.module()
        loader = importlib.machinery.ExtensionFileLoader("device_code._core", str(path))
        spec = importlib.util.spec_from_loader("device_code._core", loader)
        self._module = importlib.util.module_from_spec(spec)
        loader.exec_module(self._module)
        super().__init__(path)
        self._loaded: tuple | None = None
        self.launched: dict[str, int] = {}
        """Calls by op."""

    def architecture(self, number: int, folders: Sequence[str] | None = None) -> None:
        """Choose whose PTX runs, 90 or 80: of all folders of csrc, or of some."""
        wanted = (number, folders)
        if wanted != self._loaded:
            for program in self.built.programs(number, folders):
                self.load(program)
            self._loaded = wanted

    @contextlib.contextmanager
    def ops(self, architecture: int = 90) -> Iterator[None]:
        """Run the device code of ops where the emulation would run.

        Args:
            architecture: Compute capability. 80 differs from 90 in how rows are added to; see
                ``architecture`` for the code of some folders alone.
        """
        self.architecture(architecture)
        core, body_of, value = _ext._core, _ext.body_of, _ext._value

        def body(op: str, device: torch.device) -> str:
            emulated = getattr(_ext._thread, "emulation", False) and device.type == "cpu"
            found = self._module.ops.get(op)
            return "cuda" if emulated and found and found[1] else body_of(op, device)

        def watched(given: object) -> object:
            if isinstance(given, torch.Tensor):
                self.allow(given)
            return value(given)

        _ext._core, _ext.body_of, _ext._value = _Core(self, core, self._module), body, watched
        try:
            yield
        finally:
            _ext._core, _ext.body_of, _ext._value = core, body_of, value


class _Core:
    """The compiled module, with the CUDA bodies of another one."""

    def __init__(self, device: Device, core: object, module: object) -> None:
        self._device, self._core, self._module = device, core, module

    def __getattr__(self, name: str) -> object:
        if not callable(getattr(self._core, name)):
            return getattr(self._core, name)

        def called(body: object = None, *arguments: object, **fields: object) -> object:
            if body == "cuda":
                try:
                    return getattr(self._module, name)(body, *arguments, **fields)
                finally:
                    if not name.endswith("_scratch"):
                        self._device.launched[name] = self._device.launched.get(name, 0) + 1
                        self._device.forget()
            given = arguments if body is None else (body, *arguments)
            return getattr(self._core, name)(*given, **fields)

        return called

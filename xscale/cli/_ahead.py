"""Starting quickly: what is not needed is left out, what is needed later loads meanwhile."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Which loads pathlib, tempfile and more: as long as all of this module.
    from importlib.abc import Loader

_DEFERRED = "torch._meta_registrations"
_ASKING = ("torch._dynamo", "torch._inductor", "torch._decomp", "torch._prims", "torch._refs")


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import a module on a thread of its own while the body runs; an error of the body goes first.

    Most of what PyTorch's import waits for is the interpreter, most of what opening a scene or a
    run waits for is not.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="xscale-import") as aside:
        found = aside.submit(importlib.import_module, module)
        yield
        found.result()


def defer_compiler() -> None:
    """Leave out what only PyTorch's compiler needs, until somebody asks for it.

    ``import torch`` describes a thousand operations to its compiler in Python, a third of the time
    that it takes. Nothing here compiles but a bench's peers, so the description is a module whose
    body runs when something is looked up in it, or when the compiler is imported.
    """
    if "torch" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the deferred module; has its body run before the compiler is imported."""

    def __init__(self) -> None:
        self._module: _Deferred | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == _DEFERRED and self._module is None:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._module = _Deferred(name)
                spec.loader = _LaterLoader(self._module, spec.loader)
            return spec
        if name.startswith(_ASKING) and self._module is not None and _imported("torch"):
            self._module.load()
        return None


def _imported(name: str) -> bool:
    """Whether a module's import is over."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


class _Deferred(ModuleType):
    """A module that is empty until something is looked up in it."""

    loader: Loader | None = None

    def load(self) -> None:
        """Run the body, once."""
        loader, self.loader = self.loader, None
        if loader is not None:
            loader.exec_module(self)

    def __getattr__(self, name: str) -> object:
        # Names with underscores are asked for by who goes through all modules there are.
        if self.loader is None or name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.load()
        return getattr(self, name)


class _LaterLoader:
    """Gives a module without running its body."""

    def __init__(self, module: _Deferred, loader: Loader) -> None:
        self._module = module
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        self._module.loader = self._loader
        if not _generators_work():
            self._module.load()


def _generators_work() -> bool:
    """Give random generators the class that the description gives them (PyTorch 2.13).

    Returns:
        Whether they can be made then; other versions may put other things there.
    """
    core = sys.modules["torch._C"]
    try:
        if hasattr(core, "_set_generator_metaclass"):
            base = importlib.import_module("torch._opaque_base")
            core._set_generator_metaclass(base.OpaqueBaseMeta)
        core.Generator()
    except Exception:
        return False
    return True

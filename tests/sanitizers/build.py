"""The CPU bodies compiled with sanitizers, and tests run on them in processes of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LLVM = Path("/usr/lib/llvm-19/lib")
_MODULE = "tests.sanitizers.module"
# cmake and ninja of the environment come first.
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@dataclass(frozen=True)
class Sanitized:
    """A build of the compiled module with sanitizers.

    What it was made of is compiled again where it changed.
    """

    name: str
    """Folder of the build, in build/."""
    sanitizers: str
    compiler: str
    options: tuple[str, ...]
    """Further options for cmake."""
    environment: tuple[tuple[str, str], ...]
    """Variables of the processes that load the module."""

    @property
    def folder(self) -> Path:
        return ROOT / "build" / self.name

    @cached_property
    def module(self) -> Path:
        """Build the module and return its file."""
        configure = [
            "cmake", "-S", str(ROOT), "-B", str(self.folder), "-G", "Ninja",
            f"-DXSCALE_SANITIZE={self.sanitizers}", "-DXSCALE_CUDA=OFF",
            f"-DPython_EXECUTABLE={sys.executable}", *self.options,
        ]  # fmt: skip
        _checked(configure, ROOT, CXX=self.compiler)
        _checked(["ninja", "-C", str(self.folder), "_core"], ROOT)
        (module,) = self.folder.glob("_core*.so")
        return module

    def changed(self, source: str, before: str, after: str, folder: Path) -> Path:
        """Return the module with a text of one of its sources replaced.

        Args:
            source: The source's path in csrc.
            before: The text, once in there.
            after: What takes its place.
            folder: For what is made.
        """
        text = (ROOT / "csrc" / source).read_text()
        assert text.count(before) == 1
        changed = folder / Path(source).name
        changed.write_text(text.replace(before, after))
        into = self.module
        listed = ["ninja", "-C", str(self.folder), "-t", "commands", "_core"]
        *compiles, link = _checked(listed, ROOT).splitlines()
        (compile_,) = (line for line in compiles if line.endswith(f"/csrc/{source}"))
        words = shlex.split(compile_)
        made = words[words.index("-o") + 1]
        words[words.index("-o") + 1] = str(folder / "changed.o")
        words[-1] = str(changed)
        _checked(words, self.folder)
        words = shlex.split(link.removeprefix(": &&").removesuffix("&& :"))
        words[words.index(made)] = str(folder / "changed.o")
        words[words.index("-o") + 1] = str(folder / into.name)
        _checked(words, self.folder)
        return folder / into.name

    def run(self, module: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
        """Run python with a module of this build in the place of xscale's own."""
        environment = {
            **os.environ,
            **dict(self.environment),
            "XSCALE_SANITIZED": str(module),
            **environment,
        }
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, check=False, timeout=3000,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def test(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        """Run tests with this build's module; the first finding ends them."""
        # Output is not captured: what a sanitizer says as it ends the process would be lost.
        pytest = ("-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider", "-p", _MODULE)
        return self.run(self.module, *pytest, *words, **environment)


def address() -> Sanitized | str:
    """Return the build with AddressSanitizer and UBSan, or why there is none."""
    missing = _missing("cmake", "ninja", "g++")
    if missing:
        return missing
    libraries = [_found(name) for name in ("libasan.so", "libubsan.so")]
    if None in libraries:
        return "libasan or libubsan is not installed beside g++"
    environment = (
        ("LD_PRELOAD", " ".join(libraries)),
        ("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0:exitcode=99"),  # Python leaves its own
        ("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99"),
    )
    return Sanitized("address", "address,undefined", "g++", (), environment)


def thread() -> Sanitized | str:
    """Return the build with ThreadSanitizer, or why there is none.

    GCC's OpenMP is not known to its sanitizer, which takes every parallel loop for a race. Clang's
    tells it of barriers and joins through archer.
    """
    missing = _missing("cmake", "ninja", "clang++-19")
    if missing:
        return missing
    runtime = _LLVM / "clang/19/lib/linux/libclang_rt.tsan-x86_64.so"
    archer = _LLVM / "libarcher.so"
    absent = [path.name for path in (runtime, archer) if not path.exists()]
    if absent:
        return f"{absent[0]} is not installed: Debian has it in libclang-rt-19-dev, libomp-19-dev"
    environment = (
        ("LD_PRELOAD", str(runtime)),
        ("OMP_TOOL_LIBRARIES", str(archer)),
        (
            "TSAN_OPTIONS",
            "ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=99"
            ":external_symbolizer_path=/usr/bin/addr2line",
        ),
    )
    options = ("-DCMAKE_MODULE_LINKER_FLAGS=-shared-libsan",)
    return Sanitized("thread", "thread", "clang++-19", options, environment)


def _missing(*programs: str) -> str | None:
    absent = [name for name in programs if shutil.which(name, path=_PATH) is None]
    return f"{' and '.join(absent)} not found on PATH" if absent else None


def _found(library: str) -> str | None:
    """Return where g++ has a library; it repeats the name where it has none."""
    path = _checked(["g++", f"-print-file-name={library}"], ROOT).strip()
    return path if path != library else None


def _checked(command: list[str], folder: Path, **environment: str) -> str:
    environment = {**os.environ, "PATH": _PATH, **environment}
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout

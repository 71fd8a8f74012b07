"""Builds the device code for the interpreter: PTX of every kernel, launchers, the interpreter.

nvcc makes an object of each source of csrc, whose host part holds the real launchers, and the PTX
of its kernels for each architecture. The objects are linked with the interpreter in the place of
the CUDA runtime and with csrc/bindings.cpp, so that the module has the fields of the real one.
Bodies of the host are not linked: calling one ends the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARCHITECTURES = (90, 80)
_WITH_LAUNCHERS = ARCHITECTURES[0]
"""The one whose PTX the launchers' compilation makes."""
_INTERPRETER = Path(__file__).parent / "interpreter"
_NVCC = ["-std=c++17", "-O3", "--extended-lambda", "--expt-relaxed-constexpr", "-lineinfo"]
_HOST = ["-O1", "-std=c++17", "-fPIC", "-fvisibility=hidden"]


def compiler_missing() -> str | None:
    """Return why device code cannot be built here, or None."""
    missing = [name for name in ("nvcc", "g++", "nm") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found on PATH" if missing else None


class Built:
    """Files of a build.

    Args:
        folder: Where they lie; what is up to date there is kept.
        csrc: The sources.
    """

    def __init__(self, folder: Path, csrc: Path = ROOT / "csrc") -> None:
        self.folder, self.csrc = folder.resolve(), csrc.resolve()
        folder.mkdir(parents=True, exist_ok=True)

    def module(self) -> Path:
        """Build the launchers with the interpreter, and return the module."""
        with ThreadPoolExecutor(_processors()) as workers:
            host = workers.submit(self._bindings)
            interpreter = workers.submit(self.interpreter)
            objects = list(workers.map(self._launchers, self.sources()))
            return self._linked([host.result(), *interpreter.result(), *objects])

    def programs(self, architecture: int, folders: Sequence[str] | None = None) -> list[Path]:
        """Build the decoded PTX for a compute capability, 90 or 80.

        Args:
            architecture: The compute capability.
            folders: Folders of csrc; None: all.
        """
        sources = [s for s in self.sources() if folders is None or s.parent.name in folders]
        with ThreadPoolExecutor(_processors()) as workers:
            return list(workers.map(lambda s: self.program(s, architecture), sources))

    def sources(self) -> list[Path]:
        """Return the sources with kernels, the slowest to compile first."""
        return sorted(self.csrc.glob("*/*cuda.cu"), key=lambda path: "fused" not in path.parts)

    def program(self, source: Path, architecture: int) -> Path:
        """Return the decoded PTX of one source."""
        from tests.device_code.ptx import decode

        ptx = self._name(source).with_suffix(f".{architecture}.ptx")
        if architecture == _WITH_LAUNCHERS:
            self._launchers(source)
        else:
            command = [*self._nvcc(source), f"-arch=compute_{architecture}", "-ptx", str(source)]
            command += ["-o", str(ptx)]
            if self._stale(ptx, command):
                self._run(command, ptx, source)
        program = ptx.with_suffix(".txt")
        if not program.exists() or program.stat().st_mtime < ptx.stat().st_mtime:
            program.write_text(decode(ptx.read_text()))
        return program

    def _launchers(self, source: Path) -> Path:
        """Compile a source; nvcc makes the PTX on the way, which is kept."""
        made = self._name(source).with_suffix(".o")
        kept = made.with_suffix(".kept")
        code = f"compute_{_WITH_LAUNCHERS}"
        command = [
            *self._nvcc(source),
            "-Xcompiler",
            "-fPIC,-fvisibility=hidden",
            "-c",
            str(source),
        ]
        command += ["-gencode", f"arch={code},code={code}", "-o", str(made)]
        command += ["--keep", "--keep-dir", str(kept)]
        if self._stale(made, command):
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            self._run(command, made, source)
            (kept / f"{source.stem}.ptx").replace(made.with_suffix(f".{_WITH_LAUNCHERS}.ptx"))
            shutil.rmtree(kept)
        return made

    def _nvcc(self, source: Path) -> list[str]:
        exact = re.search(
            r"XS_EXACT_CUDA_FOLDERS ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text()
        )[1]
        folder = source.parent.name
        more = ["--fmad=false"] if folder in exact.split() else []
        if self.csrc not in source.parents:  # not an op's: its own folder lies beside others
            more.append(f"-I{source.parents[1]}")
        return ["nvcc", *_NVCC, *more, f"-I{self.csrc}"]

    def interpreter(self) -> list[Path]:
        """Compile the interpreter; return its objects."""
        return [
            self._compiled(source, [*_HOST, "-O2", "-march=native", "-frounding-math"])
            for source in sorted(_INTERPRETER.glob("*.cpp"))
        ]

    def interpreter_alone(self) -> Path:
        """Return the interpreter as a library without any kernel."""
        return self._shared(self.folder / "interpreter.so", self.interpreter())

    def _bindings(self) -> Path:
        import pybind11

        includes = [pybind11.get_include(), sysconfig.get_paths()["include"], self.csrc]
        flags = [
            *_HOST, "-fopenmp", "-ffp-contract=off", "-DXS_NO_CONTRACTION", "-DXSCALE_WITH_CUDA=1",
            "-DXSCALE_HAS_X86=0", *(f"-I{path}" for path in includes),
        ]  # fmt: skip
        return self._compiled(self.csrc / "bindings.cpp", flags)

    def _linked(self, objects: list[Path]) -> Path:
        names = [set(), set()]
        for which, option in enumerate(("--undefined-only", "--defined-only")):
            command = ["nm", "-P", option, *map(str, objects)]
            listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            names[which] = {line.split()[0] for line in listing.splitlines() if " " in line}
        missing = sorted(name for name in names[0] - names[1] if name.startswith("_ZN2xs"))
        stubs = self.folder / "stubs.s"
        lines = [f".globl {name}\n.hidden {name}\n{name}: ud2\n" for name in missing]
        stubs.write_text('.section .note.GNU-stack,"",@progbits\n.text\n' + "".join(lines))
        return self._shared(self.folder / "_core.so", [*objects, stubs])

    def _shared(self, made: Path, parts: list[Path]) -> Path:
        command = ["g++", "-shared", "-fopenmp", "-o", str(made), *map(str, parts)]
        if self._stale(made, command, parts):
            self._run(command, made, *parts)
        return made

    def _compiled(self, source: Path, flags: list[str]) -> Path:
        made = self._name(source).with_suffix(".o")
        command = ["g++", *flags, "-c", str(source), "-o", str(made)]
        if self._stale(made, command):
            self._run(command, made, source)
        return made

    def _name(self, source: Path) -> Path:
        """Return the name of what is made of a source, without its suffix's dot twice."""
        return self.folder / f"{source.parent.name}-{source.stem}.x"

    def _stale(self, made: Path, command: list[str], parts: list[Path] | None = None) -> bool:
        """Whether a file must be made: its command, or what it was made of, is another now."""
        try:
            then = json.loads(made.with_suffix(".json").read_text())
            now = {name: _digest(Path(name)) for name in then["parts"]}
        except (OSError, ValueError):
            return True
        listed = parts is None or sorted(then["parts"]) == sorted(map(str, parts))
        return not made.exists() or not listed or then != {"command": command, "parts": now}

    def _run(self, command: list[str], made: Path, *parts: Path) -> None:
        depends = made.with_suffix(".d")
        compiles = "-c" in command or "-ptx" in command
        extra = ["-MD", "-MF", str(depends)] if compiles else []
        done = subprocess.run([*command, *extra], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        names = [str(part) for part in parts]
        if compiles:
            text = depends.read_text().replace("\\\n", " ").partition(":")[2]
            names = [name for name in text.split() if str(ROOT) in name or str(self.csrc) in name]
        state = {"command": command, "parts": {name: _digest(Path(name)) for name in names}}
        made.with_suffix(".json").write_text(json.dumps(state))


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

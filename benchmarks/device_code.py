"""Counts of the CUDA kernels that need no GPU, from the objects that nvcc made.

    python -m benchmarks.device_code build/*/CMakeFiles/xs_cuda.dir --json after.json
    python -m benchmarks.device_code build/*/CMakeFiles/xs_cuda.dir --before before.json

For each kernel: instructions, registers, stack, local memory, generic accesses, calls, matrix
products, blocks and warps that a multiprocessor holds. ``--loops NAME`` prints the innermost loops
of the kernels whose name holds NAME, with what they are made of. ``--before`` adds the figures of
an earlier file in brackets. Needs cuobjdump, which CUDA's toolkit has and PyPI too
(nvidia-cuda-cuobjdump with nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+((?:@!?U?P\w+ )?\s*)([A-Z][\w.]*)([^;]*);")
_SHARED_PER_PROCESSOR = 233472  # bytes of one of compute capability 9.0
_REGISTERS, _WARPS, _SHARED_PER_BLOCK = 65536, 64, 1024

# Threads of the blocks of kernels that have another number than most (csrc/*_cuda.cuh).
_BLOCKS = {"for_each_warp": 64, "for_each_team": 352}


@dataclass
class Kernel:
    """Counts of one kernel's code."""

    instructions: int
    registers: int
    stack: int
    local: int
    """Loads and stores of local memory."""
    generic: int
    """Loads and stores whose space is found out as they run."""
    calls: int
    uniform: int
    """Moves into uniform registers, which wait for the vector unit."""
    matrix: int
    """Matrix products."""
    threads: int
    """Threads of a block."""

    def warps(self, shared: int = 0) -> int:
        """Return the warps that a multiprocessor of compute capability 9.0 holds.

        Args:
            shared: Bytes of shared memory of a block.
        """
        each = -(-self.threads // 32)
        # Registers are given to warps in pieces of 256.
        by_registers = _REGISTERS // (-(-self.registers * 32 // 256) * 256 or 1) // each
        by_shared = _SHARED_PER_PROCESSOR // (shared + _SHARED_PER_BLOCK)
        return each * min(by_registers, by_shared, _WARPS // each, 32)


@dataclass
class Instruction:
    """One line of SASS."""

    address: int
    predicate: str
    name: str
    operands: str


def find_tool() -> str:
    """Return cuobjdump's path, of the toolkit or of the Python environment."""
    beside = list(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/cuobjdump"))
    found = shutil.which("cuobjdump") or next(map(str, beside), None)
    if found is None:
        sys.exit("device_code: cuobjdump was not found; pip install nvidia-cuda-cuobjdump")
    return found


def _lines(option: str, path: Path) -> list[str]:
    tool = find_tool()
    # It looks for nvdisasm on PATH, which lies beside it.
    search = {"PATH": f"{Path(tool).parent}:/usr/bin:/bin"}
    command = [tool, option, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=search)
    return done.stdout.splitlines()


def short_names(mangled: list[str]) -> dict[str, str]:
    """Return names that a reader knows again: the body's, without launchers and types."""
    listing = subprocess.run(
        ["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {}
    for name, text in zip(mangled, listing, strict=True):
        text = re.sub(r"\[clone[^\]]*\]|\bxs::|\(anonymous namespace\)::", "", text)
        text = re.sub(r"^void ", "", text)
        inner = re.sub(r"^\w+_kernel<(.*)>\((?:(?!>\().)*\)$", r"\1", text)
        lambda_of = re.search(r"\{lambda\(.*?\)#(\d+)\}", text)
        if lambda_of:
            # The function with its numbers stands before the parameters.
            outer = re.match(r"(?:\w+_kernel<)?(?:\w+ )?([\w:]+(?:<[^()]*?>)?)\(", text)
            inner = f"{outer[1] if outer else text} #{lambda_of[1]}"
            inner = re.sub(r", CudaLauncher", "", inner)
        names[name] = re.sub(r"\((?:int|bool)\)", "", inner).strip()
    return names


def read_code(path: Path) -> dict[str, list[Instruction]]:
    """Return the instructions of an object's kernels, by mangled name."""
    found: dict[str, list[Instruction]] = {}
    code: list[Instruction] = []
    for line in _lines("-sass", path):
        if "Function :" in line:
            code = found.setdefault(line.split(":")[1].strip(), [])
        elif part := _LINE.search(line):
            code.append(Instruction(int(part[1], 16), part[2].strip(), part[3], part[4].strip()))
    for code in found.values():
        while code and code[-1].name in ("NOP", "BRA"):  # what fills the last line of the cache
            code.pop()
    return found


def read_kernels(path: Path) -> dict[str, Kernel]:
    """Return the counts of an object's kernels, by short name."""
    code = read_code(path)
    names = short_names(list(code))
    usage, current = {}, ""
    for line in _lines("-res-usage", path):
        if function := re.search(r"Function (\w+):", line):
            current = function[1]
        elif numbers := re.search(r"REG:(\d+) STACK:(\d+)", line):
            usage[current] = (int(numbers[1]), int(numbers[2]))
    kernels = {}
    for name, instructions in code.items():
        names_of = Counter(i.name.split(".")[0] for i in instructions)
        block = next((n for part, n in _BLOCKS.items() if part in name), 256)
        kernels[names[name]] = Kernel(
            instructions=len(instructions),
            registers=usage.get(name, (0, 0))[0],
            stack=usage.get(name, (0, 0))[1],
            local=names_of["LDL"] + names_of["STL"],
            generic=names_of["LD"] + names_of["ST"] + names_of["QSPC"],
            calls=names_of["CALL"],
            uniform=names_of["R2UR"],
            matrix=names_of["HMMA"],
            threads=block,
        )
    return kernels


def inner_loops(code: list[Instruction]) -> list[list[Instruction]]:
    """Return the loops that hold no other loop: from a branch's target back to the branch."""
    at = {i.address: k for k, i in enumerate(code)}
    loops = []
    for k, i in enumerate(code):
        target = re.search(r"0x([0-9a-f]+)\s*$", i.operands)
        if i.name.startswith("BRA") and target and int(target[1], 16) <= i.address:
            begin = at.get(int(target[1], 16))
            if begin is not None:
                loops.append((begin, k))
    return [
        code[begin : end + 1]
        for begin, end in loops
        if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in loops)
    ]


def table(kernels: dict[str, Kernel], before: dict[str, dict] | None = None) -> str:
    """Return the counts as a table of Markdown, an earlier file's in brackets."""
    columns = {
        "instructions": "instructions", "registers": "registers", "stack": "stack B",
        "local": "local", "generic": "generic", "calls": "calls", "uniform": "R2UR",
        "matrix": "HMMA",
    }  # fmt: skip
    lines = [
        f"| kernel | {' | '.join(columns.values())} | warps an SM |",
        f"| --- |{' ---: |' * (len(columns) + 1)}",
    ]
    for name, kernel in sorted(kernels.items()):
        then = (before or {}).get(name)
        cells = []
        for field in columns:
            now = getattr(kernel, field)
            changed = then is not None and then[field] != now
            cells.append(f"{now:,} ({then[field]:,})" if changed else f"{now:,}")
        lines.append(f"| `{name}` | {' | '.join(cells)} | {kernel.warps()} |")
    return "\n".join(lines)


def _print_loops(paths: list[Path], part: str) -> None:
    for path in paths:
        code = read_code(path)
        for name, short in short_names(list(code)).items():
            if part in short:
                for loop in inner_loops(code[name]):
                    kinds = Counter(i.name.split(".")[0] for i in loop)
                    most = ", ".join(f"{n} {k}" for k, n in kinds.most_common(12))
                    print(f"{short} {loop[0].address:#x}: {len(loop)} instructions: {most}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("objects", nargs="+", type=Path, help="objects, or folders of them")
    parser.add_argument("--only", default="", help="kernels whose name holds this")
    parser.add_argument("--loops", metavar="NAME", help="print inner loops instead")
    parser.add_argument("--before", type=Path, help="an earlier --json")
    parser.add_argument("--json", type=Path, help="also write the counts")
    given = parser.parse_args()
    paths = [
        path
        for at in given.objects
        for path in (sorted(at.rglob("*cuda*.o")) if at.is_dir() else [at])
    ]
    if given.loops is not None:
        _print_loops(paths, given.loops)
        return
    kernels = {}
    for path in paths:
        kernels |= read_kernels(path)
    kernels = {name: kernel for name, kernel in kernels.items() if given.only in name}
    before = json.loads(given.before.read_text()) if given.before else None
    print(table(kernels, before))
    if given.json:
        from xscale.io.storage import write_json

        write_json(given.json, {name: asdict(kernel) for name, kernel in kernels.items()})


if __name__ == "__main__":
    main()

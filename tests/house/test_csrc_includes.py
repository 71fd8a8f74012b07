"""Who includes what in csrc: torch nowhere, pybind11 once, device code free of host threads."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.tree import ROOT, files, name_of

CSRC = ROOT / "csrc"
_INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
# Own headers that an op's header may include besides other ops' headers.
BESIDE_OPS = {"block.h", "check.h", "half.h", "host_device.h", "isa.h", "rows.h", "warp.h"}
# Headers of one op's CPU bodies only: no device code includes them.
CPU_ONLY = {"ops/encode_ranges.h", "ops/shade_bf16.h", "ops/shade_pieces.h"}


def _includes(path: Path) -> list[tuple[bool, str]]:
    """(is one of ours, name) of every include."""
    return [(q == '"', name) for q, name in _INCLUDE.findall(path.read_text(encoding="utf-8"))]


def _sources() -> list[Path]:
    return files(".h", ".cpp", ".cu", ".cuh", under="csrc")


def test_nothing_includes_torch():
    bad = [
        f"{name_of(path)}: {name}"
        for path in _sources()
        for _, name in _includes(path)
        if re.match(r"(torch|ATen|c10)/", name)
    ]
    assert bad == []


def test_only_the_bindings_include_pybind11():
    users = {name_of(p) for p in _sources() if any("pybind11" in n for _, n in _includes(p))}
    assert users == {"csrc/bindings.cpp"}


def test_op_headers_include_only_shared_headers_and_other_ops():
    bad = [
        f"{name_of(path)}: {name}"
        for path in (CSRC / "ops").glob("*.h")
        if f"ops/{path.name}" not in CPU_ONLY
        for ours, name in _includes(path)
        if ours and name not in BESIDE_OPS and not name.startswith("ops/")
    ]
    assert bad == []


def test_device_code_reaches_no_host_threads():
    def reached(path: Path, seen: set[str]) -> set[str]:
        for ours, name in _includes(path):
            if ours and name not in seen:
                seen.add(name)
                reached(CSRC / name, seen)
        return seen

    for path in files(".cu", under="csrc"):
        assert "parallel_cpu.h" not in reached(path, set()), name_of(path)


def test_only_device_files_mention_the_cuda_runtime():
    allowed = {".cu", ".cuh"}
    bad = [
        name_of(path)
        for path in _sources()
        if path.suffix not in allowed and any("cuda_runtime" in n for _, n in _includes(path))
    ]
    assert bad == []

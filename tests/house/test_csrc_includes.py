"""Who includes what in csrc: torch nowhere, pybind11 once, device code free of host threads."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.tree import ROOT, files, name_of

CSRC = ROOT / "csrc"
_INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
# Headers that any op may include besides other ops' headers.
SHARED = {
    "block.h",
    "check.h",
    "fields.h",
    "half.h",
    "host_device.h",
    "isa.h",
    "rows.h",
    "sine.h",
    "warp.h",
    "width.h",
}
# Headers of CPU bodies only: no device code includes them.
CPU_ONLY = {"encode/ranges.h", "shade/bf16.h", "shade/pieces.h"}
# Headers whose predicates must round alike everywhere.
EXACT = {"rasterize/rasterize.h", "interpolate/interpolate.h"}


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


def test_one_header_includes_pybind11():
    users = {name_of(p) for p in _sources() if any("pybind11" in n for _, n in _includes(p))}
    assert users == {"csrc/binding.h"}


def test_op_headers_include_only_shared_headers_and_other_ops():
    bad = [
        f"{name_of(path)}: {name}"
        for path in CSRC.glob("*/*.h")
        if str(path.relative_to(CSRC)) not in CPU_ONLY
        for ours, name in _includes(path)
        if ours and name not in SHARED and "/" not in name
    ]
    assert bad == []


def _reached(path: Path, seen: set[str]) -> set[str]:
    """Own headers that a file includes, directly or not."""
    for ours, name in _includes(path):
        if ours and name not in seen:
            seen.add(name)
            _reached(CSRC / name, seen)
    return seen


def test_device_code_reaches_no_host_threads():
    for path in files(".cu", under="csrc"):
        assert "parallel_cpu.h" not in _reached(path, set()), name_of(path)


def _folders(variable: str) -> set[str]:
    """A list of folders in CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return set(re.search(rf"set\({variable} ([^)]*)\)", text).group(1).split())


def test_every_source_with_exact_predicates_is_compiled_without_contraction():
    """A source with fused multiply-adds would break watertightness and say nothing."""
    exact = _folders("XS_EXACT_FOLDERS")
    missing = [
        name_of(path)
        for path in files(".cpp", under="csrc")
        if _reached(path, set()) & EXACT
        and path.parent.name not in exact
        and path != CSRC / "bindings.cpp"
    ]
    assert missing == []
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for flag in ("COMPILE_OPTIONS -ffp-contract=off", "COMPILE_DEFINITIONS XS_NO_CONTRACTION"):
        assert f"set_property(SOURCE ${{XS_EXACT_SOURCES}} APPEND PROPERTY {flag})" in text
    # A device's fused ops take face ids as given; whoever decides them compiles without.
    for path in files(".cu", under="csrc"):
        if any(name in EXACT | {"rasterize/items.h"} for _, name in _includes(path)):
            assert path.parent.name in _folders("XS_EXACT_CUDA_FOLDERS"), name_of(path)


def test_headers_with_exact_predicates_refuse_other_flags():
    """The compiler stops where the list of folders and the flag should ever part."""
    text = (CSRC / "rasterize/rasterize.h").read_text(encoding="utf-8")
    assert re.search(r"#if !defined\(XS_NO_CONTRACTION\).*\n#error", text)


def test_every_source_begins_with_what_it_is_for():
    bad = [
        name_of(path)
        for path in _sources()
        if not path.read_text(encoding="utf-8").startswith("// ")
    ]
    assert bad == []


def test_only_device_files_mention_the_cuda_runtime():
    allowed = {".cu", ".cuh"}
    bad = [
        name_of(path)
        for path in _sources()
        if path.suffix not in allowed and any("cuda_runtime" in n for _, n in _includes(path))
    ]
    assert bad == []


def test_assembly_that_lanes_run_together_is_volatile():
    # A compiler may else move it to where only some of a warp's lanes are.
    pattern = re.compile(r'asm(\s+volatile)?\s*\(\s*"([^"]*)"')
    found = [
        (name_of(path), text, bool(volatile))
        for path in _sources()
        for volatile, text in pattern.findall(path.read_text(encoding="utf-8"))
    ]
    bad = [name for name, text, volatile in found if ".sync" in text and not volatile]
    assert any(".sync" in text for _, text, _ in found)
    assert bad == []

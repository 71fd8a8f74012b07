"""An op lives in eight places; this lists any that is missing."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT
from xscale.ops import OPS
from xscale.ops._selftest import SELF_TESTS

# Ops whose row is in another op's bench file.
BENCH_FILE = {
    "fused_frame": "frame",
    "fused_step": "step",
    "rasterize": "raster",
    "shade_relu": "shade",
    "shade_film": "shade",
}


def _places(op: str) -> dict[str, bool]:
    module = ROOT / f"xscale/ops/{op}.py"
    text = module.read_text() if module.is_file() else ""
    bindings = (ROOT / "csrc/bindings.cpp").read_text()
    kernels = OPS[op].kernels
    return {
        f"csrc: {op}.h": _in_csrc(f"{op}.h", op),
        f"csrc: {op}_cpu.cpp": _in_csrc(f"{op}_cpu.cpp", op),
        f"csrc: {op}_cuda.cu": _in_csrc(f"{op}_cuda.cu", op),
        "csrc/bindings.cpp: a row for each kernel": all(f'"{k}"' in bindings for k in kernels),
        f"xscale/ops/{op}.py: def {op}": bool(re.search(rf"^def {op}\(", text, re.M)),
        f"xscale/ops/{op}.py: {op}_reference": f"{op}_reference" in text,
        "xscale/ops/_selftest.py: a row": op in SELF_TESTS,
        f"tests/ops/test_{op}.py": (ROOT / f"tests/ops/test_{op}.py").is_file(),
        f"benchmarks/op_{op}.py": _has_bench(op),
    }


def _in_csrc(name: str, op: str) -> bool:
    """Whether a source is there: in the op's own folder, or in the common one."""
    return any((ROOT / "csrc" / folder / name).is_file() for folder in (op, "ops"))


def _has_bench(op: str) -> bool:
    names = {op, BENCH_FILE.get(op, op)}
    return any((ROOT / f"benchmarks/op_{name}.py").is_file() for name in names)


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_op_has_its_places(op):
    assert [place for place, there in _places(op).items() if not there] == []


def test_every_op_of_the_build_is_in_the_table():
    text = (ROOT / "CMakeLists.txt").read_text()
    listed = re.search(r"set\(XSCALE_OPS ([^)]*)\)", text).group(1).split()
    folders = re.findall(r"csrc/(\w+)/\1_cpu\.cpp", text)
    assert sorted(listed + sorted(set(folders))) == sorted(OPS)

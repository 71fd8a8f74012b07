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


# Ops that are one function of another name, which a layout tells apart.
FUNCTION = {"shade_relu": "shade", "shade_film": "shade"}


def _places(op: str) -> dict[str, bool]:
    function = FUNCTION.get(op, op)
    module = ROOT / f"xscale/ops/{function}.py"
    text = module.read_text() if module.is_file() else ""
    bindings = (ROOT / "csrc/bindings.cpp").read_text()
    kernels = OPS[op].kernels
    return {
        **{f"csrc/{name}": (ROOT / "csrc" / name).is_file() for name in _sources(op)},
        "csrc/bindings.cpp: a row for each kernel": all(f'"{k}"' in bindings for k in kernels),
        f"{module.name}: def {function}": bool(re.search(rf"^def {function}\(", text, re.M)),
        f"{module.name}: {op}_reference": f"{op}_reference" in text,
        "xscale/ops/_selftest.py: a row": op in SELF_TESTS,
        f"tests/ops/test_{op}.py": (ROOT / f"tests/ops/test_{op}.py").is_file(),
        f"benchmarks/op_{op}.py": _has_bench(op),
    }


def _sources(op: str) -> list[str]:
    """An op's files in csrc: FOLDER/PART.h and its bodies, or FOLDER/FOLDER.h with plain names."""
    folder, _, part = op.partition("_")
    if part:
        return [f"{folder}/{part}.h", f"{folder}/{part}_cpu.cpp", f"{folder}/{part}_cuda.cu"]
    return [f"{op}/{op}.h", f"{op}/cpu.cpp", f"{op}/cuda.cu"]


def _has_bench(op: str) -> bool:
    names = {op, BENCH_FILE.get(op, op)}
    return any((ROOT / f"benchmarks/op_{name}.py").is_file() for name in names)


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_op_has_its_places(op):
    assert [place for place, there in _places(op).items() if not there] == []


def test_every_op_of_the_build_is_in_the_table():
    """A folder's headers that declare an args struct and a CPU body are ops."""
    built = {
        name
        for path in (ROOT / "csrc").glob("*/*.h")
        for name in re.findall(r"^void (\w+)_cpu\(const \w+Args&", path.read_text("utf-8"), re.M)
    }
    kernels = {kernel for op in OPS.values() for kernel in op.kernels}
    assert {name for name in built if not name.startswith("rasterize_rays")} == kernels

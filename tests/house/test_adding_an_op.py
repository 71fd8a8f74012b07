"""docs/adding-an-op.md by its word: the op that it shows compiles in a copy and computes."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sysconfig

import pytest

from tests.house.tree import ROOT

pybind11 = pytest.importorskip("pybind11")
COMPILER = shutil.which("c++")


def _shown() -> dict[str, str]:
    """The page's files by name, and its line of the bindings under "bindings"."""
    page = (ROOT / "docs/adding-an-op.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`(scale/[\w.]+)`:\n\n```cpp\n(.*?)```", page, re.M | re.S))
    files["bindings"] = re.search(r"```cpp\n(bind_op<.*?)```", page, re.S).group(1)
    return files


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The op of the page as a module of its own."""
    folder = tmp_path_factory.mktemp("op")
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    shown = _shown()
    line = shown.pop("bindings")
    for name, text in shown.items():
        (folder / "csrc" / name).parent.mkdir(exist_ok=True)
        (folder / "csrc" / name).write_text(text, encoding="utf-8")
    (folder / "tiny.cpp").write_text(
        '#include "binding.h"\n#include "scale/scale.h"\n#define XS_CUDA(function) nullptr\n'
        "namespace xs {\nvoid bind(py::module_& m) {\n"
        f"{line}}}\n}}\nPYBIND11_MODULE(tiny, m) {{\n"
        'm.attr("ops") = py::dict();\nxs::bind(m);\n}\n',
        encoding="utf-8",
    )
    module = folder / f"tiny{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ["-std=c++17", "-O0", "-fPIC", "-shared", "-fopenmp", "-fvisibility=hidden", "-Icsrc"]
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]
    includes = [f"-isystem{pybind11.get_include()}", f"-isystem{sysconfig.get_path('include')}"]
    sources = ["tiny.cpp", *(f"csrc/{name}" for name in shown if name.endswith(".cpp"))]
    command = [COMPILER, *flags, *warnings, *includes, *sources, "-o", str(module)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    spec = importlib.util.spec_from_file_location("tiny", module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.mark.parametrize("body", ["cpu", "emulated"])
def test_the_op_of_the_page_computes(tiny, body):
    given, made = (ctypes.c_float * 5)(1, 2, 3, 4, 5), (ctypes.c_float * 5)()
    fields = {
        "from": (ctypes.addressof(given), "f4", 5),
        "to": (ctypes.addressof(made), "f4", 5),
        "n": 5,
        "factor": 2.5,
    }
    tiny.scale(body, 0, **fields)
    assert list(made) == [2.5, 5.0, 7.5, 10.0, 12.5]


def test_a_field_that_is_forgotten_or_of_another_dtype_is_an_error(tiny):
    with pytest.raises(RuntimeError, match="scale takes 4 fields, got 1"):
        tiny.scale("cpu", 0, n=1)
    wrong = {"from": (0, "f8", 1), "to": None, "n": 0, "factor": 1.0}
    with pytest.raises(RuntimeError, match="scale: from must be f4, got f8"):
        tiny.scale("cpu", 0, **wrong)

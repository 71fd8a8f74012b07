"""What an import costs, and what it must not bring."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.house.tree import ROOT

HEAVY = ("torch", "open3d", "lpips", "torchvision", "trimesh", "numpy")


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(json.loads(done.stdout))


def test_importing_xscale_brings_neither_torch_nor_open3d():
    assert _modules_after("import xscale").isdisjoint(HEAVY)


@pytest.mark.parametrize("package", ["scene.scene", "geometry.camera", "io.storage", "errors"])
def test_packages_about_the_users_files_work_without_torch(package):
    assert "torch" not in _modules_after(f"import xscale.{package}")


def test_importing_everything_does_not_initialise_a_device():
    code = "import torch, xscale.cli.doctor, xscale.ops\nassert not torch.cuda.is_initialized()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_needs_nothing_but_the_standard_library():
    loaded = _modules_after(
        "import contextlib, io\nfrom xscale.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    )
    assert loaded.isdisjoint({*HEAVY, "tyro", "rich"})


def test_help_is_fast():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "xscale", "--help"], check=True, capture_output=True, cwd=ROOT
        )
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[2] < 0.5, seconds


def test_train_is_a_plain_function_of_the_package():
    code = (
        "import types, xscale\nfrom xscale import train\n"
        "assert type(train) is type(xscale.train) is types.FunctionType, train\n"
        "assert train.__module__ == 'xscale.training.api'\n"
        "import xscale.training.loop\nassert xscale.train is train"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

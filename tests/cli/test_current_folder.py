"""Nothing that lies in the current folder is executed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import xscale
from tests.house.tree import ROOT
from xscale.cli import bench
from xscale.errors import SetupError


@pytest.mark.parametrize("name", ["json", "imageio", "tyro"])
def test_modules_of_the_current_folder_are_not_imported(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("print('executed'); raise SystemExit(77)")
    found = subprocess.run(
        [sys.executable, "-m", "xscale", "inspect", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 3, found
    assert "executed" not in found.stdout + found.stderr


def test_benchmarks_of_the_current_folder_are_not_executed(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/_timing.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert bench.benchmarks_folder() == ROOT / "benchmarks"
    monkeypatch.setattr(xscale, "__file__", str(tmp_path / "elsewhere/xscale/__init__.py"))
    with pytest.raises(SetupError, match="source checkout"):
        bench.benchmarks_folder()

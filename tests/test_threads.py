"""One module decides how many threads compute; nothing else makes pools."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, name_of
from xscale import threads


@pytest.mark.parametrize(
    ("code", "omp", "said"),
    [
        ("", "3", "3 3"),
        ("threads.use(5)", "3", "5 5"),
        ("threads.use(5)", None, "5 5"),
        ("threads.use(None)", "2,1", "2 2,1"),
        ("from xscale.cli._console import parse; from xscale.cli.score import Options; "
         "parse(Options, ['r', '--threads', '4'], 'score')", "3", "4 4"),
    ],
)  # fmt: skip
def test_the_option_decides_then_the_environment(code, omp, said):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if omp is not None:
        environment["OMP_NUM_THREADS"] = omp
    shown = "print(threads.count(), os.environ['OMP_NUM_THREADS'])"
    code = f"from xscale import threads\n{code}\nimport os\n{shown}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == said


def test_without_any_all_cores_that_may_be_used_are(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2.5)
    threads._default.cache_clear()
    try:
        assert threads.count() == 2
        assert threads.pool("test", share=0.5)._max_workers == 1
        assert threads.pool("test", most=1)._max_workers == 1
    finally:
        threads._default.cache_clear()


def test_pools_of_threads_are_made_in_one_place():
    own = {"xscale/threads.py"}
    bad = [
        name_of(path)
        for path in files(".py", under="xscale")
        if "ThreadPoolExecutor(" in Path(path).read_text() or "cpu_count" in Path(path).read_text()
        if name_of(path) not in own
    ]
    assert bad == []

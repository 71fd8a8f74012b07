"""Ctrl-C and SIGTERM end every command, whatever it is doing: once, soon, with one line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import xscale
from tests import builders
from tests.house.tree import ROOT
from tests.viewer import desktop
from xscale import Scene, interrupts
from xscale.cli import main
from xscale.giganvs.prepare import prepare

AT_ONCE = 4
"""Commands that are interrupted at the same time: most of a moment is waiting."""
SMALL = ["optim.batch=1024", "model.grid.levels=4", "model.grid.log2_table_size=12",
         "model.shader.hidden=16"]  # fmt: skip


def soon():
    """Seconds from a signal to the end: 2, or more where others want the cores."""
    return 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene, a run of it, the same scene prepared for the benchmark, and a display."""
    root = tmp_path_factory.mktemp("interrupts")
    builders.write_colmap(builders.asymmetric_scene(photos=8), root / "scene")
    scene = Scene.open(root / "scene")
    xscale.train(scene, out=root / "run", steps=2, settings=SMALL)
    prepare(scene, root / "prepared/small")
    with contextlib.ExitStack() as stack:
        if not missing_for_windows():
            DISPLAY.update(stack.enter_context(desktop.desktop(root)))
        yield root
    DISPLAY.clear()


DISPLAY: dict[str, str] = {}


def missing_for_windows():
    """Why no window can be opened here, or None."""
    if sys.version_info < (3, 11) or importlib.util.find_spec("imgui_bundle") is None:
        return "the extra viewer is not installed"
    absent = desktop.missing()
    return f"not installed: {', '.join(absent)}" if absent else None


COMMANDS = {
    "inspect": ["inspect", "scene"],
    "convert": ["convert", "scene", "--to", "nerfstudio", "--out", "{out}"],
    "train": ["train", "scene", "--out", "{out}", "--minutes", "5", "--set", *SMALL],
    "render": ["render", "run", "--views", "all", "--samples", "8", "--size", "900x600",
               "--out", "{out}"],
    "score": ["score", "run"],
    "path": ["path", "run", "orbit", "--frames", "3000", "--out", "{out}.json"],
    "export": ["export", "run", "points", "--points", "3000000", "--out", "{out}.ply"],
    "demo": ["demo", "--scale", "tiny", "--out", "{out}", "--set", *SMALL],
    "doctor": ["doctor"],
    "bench": ["bench", "adam"],
    "view": ["view", "run"],
    "giganvs": ["giganvs", "run", "prepared", "--out", "{out}", "--minutes", "5", "--set", *SMALL],
    "giganvs verify": ["giganvs", "verify", "prepared"],
}  # fmt: skip


def interrupt(folder, words, out, moment, number):
    """Start a command, send a signal after some seconds.

    Returns:
        What it met ("python" before our first line, "command", or "over"), exit code, seconds to
        the end, stderr.
    """
    words = [word.format(out=out) for word in words]
    process = subprocess.Popen(
        [sys.executable, "-m", "xscale", *words],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(DISPLAY if words[0] == "view" else {}),
             "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        time.sleep(moment)
        met = "over" if process.poll() is not None else "command" if _caught(process) else "python"
        start = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.stderr.close()
    return met, process.returncode, time.monotonic() - start, said


def _caught(process):
    """Whether the process catches SIGTERM, which Python by itself does not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def check(folder, name, out, moment, number):
    met, code, seconds, said = interrupt(folder, COMMANDS[name], out, moment, number)
    what = f"{name} at {moment:.2f} s, {signal.Signals(number).name}: {code}, {seconds:.2f} s"
    if met == "over" or (code == 0 and seconds < 0.5):
        assert code == 0, f"{what}\n{said}"
        return "over"
    assert seconds < soon(), what
    if met == "python" and code != interrupts.EXIT_CODE:
        assert code in (-number, 1), f"{what}\n{said}"
        return "python"
    assert code == interrupts.EXIT_CODE, f"{what}\n{said}"
    assert said.count("xscale: error: ") == 1, f"{what}\n{said}"
    assert "Traceback" not in said, f"{what}\n{said}"
    assert "Exception ignored" not in said, f"{what}\n{said}"
    return "ended"


def at(folder, name, out, moments):
    """Interrupt a command at moments, some of them at the same time; what each met, in order."""
    if name == "view" and (missing := missing_for_windows()):
        pytest.skip(missing)
    with ThreadPoolExecutor(AT_ONCE) as workers:
        running = [
            workers.submit(check, folder, name, out / str(k), moment, number)
            for k, (moment, number) in enumerate(moments)
        ]
        return [future.result() for future in running]


def test_every_command_is_interrupted_here():
    assert {name.split()[0] for name in COMMANDS} == set(main.COMMANDS)


@pytest.mark.parametrize("name", ["train", "render"])
def test_a_command_ends_soon_at_a_few_moments(name, folder, tmp_path):
    moments = [(0.4, signal.SIGINT), (0.9, signal.SIGTERM), (1.6, signal.SIGINT)]
    found = at(folder, name, tmp_path, moments)
    assert "ended" in found, found


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"train", "render"}))
def test_a_command_ends_soon_at_its_first_moments(name, folder, tmp_path):
    at(folder, name, tmp_path, [(0.5, signal.SIGINT), (1.2, signal.SIGTERM)])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_ends_soon_at_forty_moments(name, folder, tmp_path):
    numbers = (signal.SIGINT, signal.SIGTERM)
    found = at(folder, name, tmp_path, [(5.0 * k / 39, numbers[k % 2]) for k in range(40)])
    assert len(found) == 40


PRETENDER = """
import sys, time
from xscale import interrupts
interrupts.install()
from xscale.cli import main
import types
module = types.ModuleType("xscale.cli.pretend")
def run(argv):
    print("ready", flush=True)
    {body}
module.run = run
sys.modules["xscale.cli.pretend"] = module
main.COMMANDS["pretend"] = ("xscale.cli.pretend", "a test's")
sys.argv = ["xscale", "pretend"]
sys.exit(main.main())
"""


@pytest.mark.parametrize(
    "body",
    [
        # Lost in a finalizer, turned into another error, caught by a loop, in native code.
        "class A:\n        def __del__(self): time.sleep(9)\n    a = A(); del a; time.sleep(60)",
        "try: time.sleep(60)\n    except BaseException: raise ImportError('failed') from None",
        "while True:\n        try: time.sleep(60)\n        except BaseException: pass",
        "import ctypes; ctypes.CDLL(None).sleep(60)",
    ],
    ids=["finalizer", "other error", "loop", "native code"],
)
def test_an_interrupt_that_is_lost_ends_the_process_all_the_same(body, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PRETENDER.format(body=body)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - start < soon()
    assert (process.returncode, said) == (interrupts.EXIT_CODE, interrupts.LINE)


def test_an_import_is_not_interrupted_but_what_follows_it(tmp_path):
    """Native code that imports ends the process by ``abort`` where the exception meets it."""
    module = "import time\nprint('ready', flush=True)\nend = time.monotonic() + 0.1\n"
    module += "while time.monotonic() < end: pass\nprint('imported', flush=True)\n"
    (tmp_path / "lengthy.py").write_text(module)
    body = (
        f"sys.path.insert(0, {str(tmp_path)!r})\n    try:\n        import lengthy\n"
        "        time.sleep(60)\n    finally: print('cleaned up', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", PRETENDER.format(body=body)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "ready\n"]
    process.send_signal(signal.SIGINT)
    written, said = process.communicate(timeout=30)
    assert written == "imported\ncleaned up\n"
    assert (process.returncode, said) == (interrupts.EXIT_CODE, interrupts.LINE)


def test_a_second_interrupt_does_not_wait():
    body = "while True:\n        try: time.sleep(60)\n        except BaseException: pass"
    process = subprocess.Popen(
        [sys.executable, "-c", PRETENDER.format(body=body)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert time.monotonic() - start < interrupts.GRACE / 2
    assert process.returncode == interrupts.EXIT_CODE

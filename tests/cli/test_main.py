"""The front door: names, exit codes, one-line errors, crash files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import pytest
from rich.console import Console

from tests import builders
from tests.house.tree import ROOT
from tests.render.conftest import write_tiny_run
from xscale.cli import _console, main
from xscale.cli._bars import bars
from xscale.errors import InterruptedRunError, MeshError


@pytest.fixture
def command(monkeypatch):
    """Put a command in place whose body the test gives."""

    def install(body):
        module = types.ModuleType("xscale.cli.pretend")
        module.run = body
        monkeypatch.setitem(sys.modules, "xscale.cli.pretend", module)
        monkeypatch.setitem(main.COMMANDS, "pretend", ("xscale.cli.pretend", "a test's"))

    return install


def _raise(error):
    def body(argv):
        raise error

    return body


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_listed_command_explains_itself(name, capsys):
    assert main.main([name, "--help"]) == 0
    assert f"xscale {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_names_an_unknown_option_in_one_line(name, capsys):
    assert main.main([name, "--no-such-option"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("xscale: error: ")
    assert captured.err.count("\n") == 1


def test_unknown_command_offers_the_nearest_name(capsys):
    assert main.main(["docter"]) == 2
    assert capsys.readouterr().err == (
        "xscale: error: there is no command 'docter'; did you mean doctor?\n"
    )


def test_without_a_command_help_goes_to_stderr_and_is_an_error(capsys):
    assert main.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "commands:" in captured.err


def test_version_is_the_packages(capsys):
    import xscale

    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"xscale {xscale.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MeshError("has no faces", where="a.ply", advice="export it again"), 3,
         "a.ply: has no faces; export it again"),
        (InterruptedRunError("stopped at step 3"), 130, "stopped at step 3"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_expected_failures_are_one_line_and_their_code(command, capsys, error, code, line):
    command(_raise(error))
    assert main.main(["pretend"]) == code
    assert capsys.readouterr().err == f"xscale: error: {line}\n"


def test_debug_shows_where_it_came_from(command, capsys):
    command(_raise(MeshError("has no faces")))
    assert main.main(["pretend", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_lack_of_memory_has_its_own_code(command, capsys):
    command(_raise(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")))
    assert main.main(["pretend"]) == 5
    command(_raise(MemoryError()))
    assert main.main(["pretend"]) == 5
    assert capsys.readouterr().err.count("out of memory") == 2


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 9), 4,
         "aaaaaaaaa: File name too long; choose a shorter name"),
        (OSError(errno.EFBIG, "File too large", "run"), 4,
         "run: File too large; the file size limit of this shell or file system is reached"),
        (OSError(errno.EIO, "Input/output error"), 4,
         "Input/output error; check the disk and the folder"),
        (OSError(errno.EMFILE, "Too many open files", "x"), 5,
         "x: Too many open files; raise `ulimit -n`"),
        (RuntimeError("can't start new thread"), 5,
         "can't start another thread; raise `ulimit -u` or `ulimit -v`"),
    ],
)  # fmt: skip
def test_limits_of_the_machine_are_no_bugs(
    command, capsys, tmp_path, monkeypatch, error, code, line
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command(_raise(error))
    assert main.main(["pretend"]) == code
    assert capsys.readouterr().err == f"xscale: error: {line}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["train", "{scene}", "--out", "{long}"],
        ["render", "{run}", "--out", "{long}"],
        ["export", "{run}", "mesh", "--out", "{long}.glb"],
        ["export", "{run}", "points", "--out", "{long}.ply"],
        ["path", "{run}", "orbit", "--out", "{long}.json"],
        ["convert", "{scene}", "--to", "colmap", "--out", "{long}"],
    ],
    ids=lambda words: " ".join(words[::2][:2]),
)
def test_a_name_that_no_file_can_have_is_one_line(words, capfd, tmp_path):
    scene = builders.asymmetric_scene()
    run = write_tiny_run(scene, tmp_path / "run")
    builders.write_colmap(scene, tmp_path / "scene")
    known = {"scene": tmp_path / "scene", "run": run, "long": tmp_path / ("a" * 256)}
    code = main.main([word.format(**known) for word in words])
    line = capfd.readouterr().err.splitlines()[-1]
    assert code == 4, line
    assert "choose a shorter name" in line


def test_unexpected_exception_leaves_a_crash_file(command, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command(_raise(ZeroDivisionError("by zero")))
    assert main.main(["pretend"]) == 1
    (file,) = tmp_path.iterdir()
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "ZeroDivisionError" in line
    assert str(file) in line
    assert "Traceback" in file.read_text()


def test_crash_file_that_cannot_be_written_is_said(command, capsys, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(blocked / "below"))
    command(_raise(ZeroDivisionError("by zero")))
    assert main.main(["pretend"]) == 1
    assert "no crash file could be written" in capsys.readouterr().err


def test_reader_that_leaves_early_is_not_an_error():
    done = subprocess.run(
        f"{sys.executable} -m xscale --help | true; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == "0\n"


def test_module_and_script_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "xscale", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == main.help_text()


def test_commands_are_files_of_this_package():
    folder = Path(main.__file__).parent
    public = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")} - {"main"}
    assert public == set(main.COMMANDS)


def test_long_work_reports_progress_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(_console, "EVERY", 0.0)
    monkeypatch.setattr(_console, "console", Console(file=sys.stderr, force_terminal=False))
    with bars("rendering", "scoring") as (on_render, on_score):
        on_render(1, 4, "a.png")
        on_score(3, 4)
    lines = capsys.readouterr().err.splitlines()
    assert any("rendering a.png" in line and "1 of 4, 25 %" in line for line in lines)
    assert any("scoring" in line and "3 of 4, 75 %" in line for line in lines)


def test_short_work_adds_no_lines(capsys, monkeypatch):
    monkeypatch.setattr(_console, "console", Console(file=sys.stderr, force_terminal=False))
    with bars("rendering") as (on_render,):
        on_render(1, 4)
    assert "25 %," not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_of_another_encoding_loses_no_work(asymmetric_folder, tmp_path, encoding):
    run = tmp_path / "run"
    words = ["train", asymmetric_folder, "--out", run, "--steps", "2", "--set", "optim.batch=300"]
    small = ["model.grid.levels=4", "model.grid.log2_table_size=9"]
    assert main.main([*map(str, words), *small]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "xscale", "score", str(run)],
        env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"psnr" in done.stdout.lower()
    assert list(run.rglob("scores.json"))

"""``xscale``: finds the command, runs it, turns what it raises into one line and an exit code.

Nothing is imported for ``xscale --help`` but the standard library. A command's module holds
``run(argv) -> exit code`` and is imported when it is called.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
import importlib
import io
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

import xscale
from xscale import interrupts
from xscale.cli import _ahead
from xscale.errors import ResourceError, UsageError, XscaleError, printable

_SUMMARIES = {
    "inspect": "list what a scene folder holds, and check that it fits together",
    "convert": "write a scene in another layout: COLMAP, nerfstudio or MVSNet",
    "train": "learn a scene from its photos and mesh; make a run folder",
    "render": "render views of a run, or any cameras",
    "score": "render the test views, score them and write the report",
    "view": "open a window to fly through a run or a scene",
    "path": "make a camera path, check it against the mesh and draw it",
    "export": "write a run as a textured mesh, point cloud, depth maps or web page",
    "giganvs": "the GigaNVS benchmark: prepare, verify, run, score, compare",
    "demo": "make a small scene, train, render and score it, in minutes",
    "doctor": "list what xscale found on this machine, and test every op",
    "bench": "time every op against its peer on this machine",
}

COMMANDS = {
    name: (f"xscale.cli.{name}", summary)
    for name, summary in _SUMMARIES.items()
    if (Path(__file__).parent / f"{name}.py").is_file()
}
"""The commands of this version: module and one line of help."""

_HELP = """usage: xscale COMMAND ...

Photographs and a photogrammetry mesh in, photorealistic novel views out.

commands:
{commands}

`xscale COMMAND --help` explains a command. Options of every command:
  --version   print the version
  --debug     show where in the code an error came from
docs/exit-codes.md lists the exit codes. If something is odd, run xscale doctor.
"""


def help_text() -> str:
    """Return the help of ``xscale`` itself."""
    lines = [f"  {name:<9} {summary}" for name, (_, summary) in COMMANDS.items()]
    return _HELP.format(commands="\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; by default the process's.

    Returns:
        The exit code (docs/exit-codes.md).
    """
    if argv is None:
        interrupts.install()
    # PyTorch's modules are a million objects that stay: to look through them again and again for
    # garbage is a tenth of the time that importing them takes, and as long again at the end.
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows "?" for a sign that it lacks, and nothing fails.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        code = _dispatch([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()
        failure = None
    except BaseException as error:
        failure = error
    # An interrupt that was lost, or that some library turned into an error of its own, still ends.
    if interrupts.ending():
        failure = KeyboardInterrupt()
    if failure is not None:
        interrupts.answered()
        code = _explain(failure, arguments, debug)
    if interrupts.ending() or _ahead.unfinished():
        interrupts.leave(code)
    return code


def _explain(error: BaseException, arguments: list[str], debug: bool) -> int:
    """Print what ended the command of these arguments; return its exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output left (`xscale ... | head`): nothing more to say, and the
        # interpreter must not stumble over the closed pipe when it ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    if isinstance(error, XscaleError):
        return _fail(error, error.exit_code, debug)
    if isinstance(error, KeyboardInterrupt):
        return _fail(error, interrupts.EXIT_CODE, debug, "interrupted")
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if _is_out_of_memory(error):
        lack = _lack_of_memory(error, arguments)
        return _fail(lack, lack.exit_code, debug)
    if (known := _of_the_system(error)) is not None:
        return _fail(known, known.exit_code, debug)
    report = _report(error)
    return _fail(error, 1, debug, f"unexpected {type(error).__name__}: {error}; {report}")


def _dispatch(arguments: list[str]) -> int:
    """Find the command and run it."""
    if not arguments:
        sys.stderr.write(help_text())
        return 2
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    if name == "--version":
        sys.stdout.write(f"xscale {xscale.__version__}\n")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        raise UsageError(
            f"there is no command {name!r}",
            advice=f"did you mean {near[0]}?" if near else "`xscale --help` lists them",
        )
    return importlib.import_module(COMMANDS[name][0]).run(rest)


def _fail(error: BaseException, code: int, debug: bool, message: str | None = None) -> int:
    """Print the one line (after the traceback, if asked for) and return the exit code."""
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"xscale: error: {message or error}\n")
    return code


def _of_the_system(error: BaseException) -> XscaleError | None:
    """Return what a limit or a disk of the machine ended, as an error of ours."""
    if isinstance(error, OSError):
        from xscale.io.system_errors import explained

        return explained(error)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return ResourceError(
            "can't start another thread", advice="raise `ulimit -u` or `ulimit -v`"
        )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is a lack of memory, of Python's, torch's or the linker's kinds."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    if isinstance(error, ImportError) and "failed to map segment" in text:
        return "not permitted" not in text
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text
    )


def _lack_of_memory(error: BaseException, arguments: list[str]) -> ResourceError:
    """Return what to say of a lack of memory, with what helps this command."""
    detail = f" ({error})" if str(error) else ""
    others = "end other programs, or raise `ulimit -v` or the container's limit"
    smaller = "--downscale 2 or a smaller table (--set model.grid.log2_table_size) take less"
    advice = f"{smaller}; else {others}" if arguments[:1] == ["train"] else others
    return ResourceError(f"out of memory{detail}", advice=advice)


def _report(error: BaseException) -> str:
    """Write the crash file of an unexpected error; say where it is."""
    name = f"xscale-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = "\n".join(
        [
            f"xscale {xscale.__version__}, Python {platform.python_version()}, "
            f"{platform.platform()}",
            "command: xscale " + printable(" ".join(sys.argv[1:]), 2000),
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    try:
        from xscale.io.storage import write_text

        path = Path(tempfile.gettempdir()) / name
        write_text(path, text)
    except Exception as failure:
        return f"no crash file could be written ({failure}); repeat with --debug"
    return f"details in {printable(path)}: please report it"


if __name__ == "__main__":
    sys.exit(main())

"""The viewer's package, which xscale starts by name and never imports: whether it can run here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from xscale.errors import SetupError

PACKAGE = "xscale_viewer"
_LIBRARIES = ("imgui_bundle", "glfw")
_OLDEST = (3, 11)
_PATIENCE = 30.0


def check_packages(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Check what can be checked without a display.

    Args:
        version: Of Python.

    Raises:
        SetupError: Python is too old, or a package is missing.
    """
    if version < _OLDEST:
        raise SetupError(
            f"the viewer needs Python 3.11 or newer, this is {version[0]}.{version[1]}",
            advice="install xscale[viewer] with a newer Python; xscale render works here",
        )
    for name in (PACKAGE, *_LIBRARIES):
        if importlib.util.find_spec(name) is None:
            raise SetupError(
                f"the viewer's package {name} is missing", advice="pip install 'xscale[viewer]'"
            )


def command(*arguments: str) -> list[str]:
    """Return the command of the viewer's process."""
    return [sys.executable, "-m", PACKAGE, *arguments]


def problem() -> str | None:
    """Return why ``xscale view`` would not open a window here, in one line; None where it would."""
    try:
        check_packages()
    except SetupError as error:
        return str(error)
    try:
        done = subprocess.run(
            command("--check"), capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"the viewer could not be tried: {error}"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("xscale: error: ")]
    if lines:
        return lines[-1].removeprefix("xscale: error: ")
    return f"the viewer's check ended with code {done.returncode}"


def describe() -> str:
    """Return doctor's line about the viewer."""
    found = problem()
    display = os.environ.get("DISPLAY")
    where = f" on display {display}" if display else ""
    return f"ready{where}" if found is None else found

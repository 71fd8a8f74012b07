"""The window: Dear ImGui's loop around the application, until the user closes it."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xscale.errors import InterruptedRunError, SetupError
from xscale_viewer.display import check_display
from xscale_viewer.settings import load_settings

if TYPE_CHECKING:
    from xscale_viewer.gui.app import App

INTERRUPTED = InterruptedRunError.exit_code
_MOST_A_SECOND = 60.0
_IDLE_A_SECOND = 1.0
"""Frames a second while nothing happens; events and finished pictures wake the loop at once."""
_AWAKE = 0.15
"""Seconds of full speed after an event."""


@dataclass(frozen=True)
class Start:
    """How a window is started: what ``xscale view`` passes to its process."""

    path: str | None = None
    photo: str | None = None
    scale: float | None = None
    theme: str | None = None
    size: tuple[int, int] = (1400, 900)
    unit: str | None = None
    threads: int | None = None
    device: str = "cpu"
    low_power: bool | None = None

    def to_text(self) -> str:
        """Return it as one argument of a process."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> Start:
        """Return what :meth:`to_text` gave."""
        plain = json.loads(text)
        return Start(**{**plain, "size": tuple(plain["size"])})


def run(start: Start) -> int:
    """Open the window and return the exit code when it is closed.

    Raises:
        SetupError: There is no display, or no OpenGL 3.3.
    """
    check_display()
    from imgui_bundle import hello_imgui, immapp

    from xscale_viewer.gui.app import App
    from xscale_viewer.session import Session

    settings = load_settings()
    for name in ("scale", "theme", "low_power"):
        if getattr(start, name) is not None:
            setattr(settings, name, getattr(start, name))
    session = Session(
        settings, hello_imgui.request_refresh, threads=start.threads, device=start.device
    )
    session.unit, session.waiting = start.unit, start.photo
    app = App(session)
    params = runner_params(app, start)
    try:
        immapp.run(params)
    except RuntimeError as error:
        raise SetupError(
            f"the window could not be opened: {str(error).splitlines()[0]}",
            advice="xscale doctor says what is missing",
        ) from error
    finally:
        app.textures.enabled = False
        app.commands.keep_settings()
        app.commands.paths.close()
        session.close()
    return INTERRUPTED if app.interrupted else 0


def runner_params(app: App, start: Start) -> object:
    """Return the parameters of Dear ImGui's loop for an application."""
    from imgui_bundle import hello_imgui, imgui

    params = hello_imgui.RunnerParams()
    window = params.app_window_params
    window.window_title = "xscale view"
    window.window_geometry.size = start.size
    window.restore_previous_geometry = False
    params.imgui_window_params.default_imgui_window_type = (
        hello_imgui.DefaultImGuiWindowType.no_default_window
    )
    params.imgui_window_params.show_status_bar = False
    params.ini_disable = True
    scale = app.session.settings.scale
    if scale != 1.0:
        params.dpi_aware_params.dpi_window_size_factor = scale
    options = hello_imgui.OpenGlOptions()
    options.anti_aliasing_samples = 0
    params.renderer_backend_options.open_gl_options = options
    idling = params.fps_idling
    idling.fps_idle, idling.fps_max = _IDLE_A_SECOND, _MOST_A_SECOND
    idling.time_active_after_last_event = _AWAKE
    held: list[object] = []

    def interrupted(number: int, frame: object) -> None:
        app.interrupted = True
        params.app_shall_exit = True

    def ready() -> None:
        # Python's own handler would raise in the middle of a frame, below C++.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupted)
        io = imgui.get_io()
        io.config_error_recovery_enable_assert = False
        io.config_error_recovery_enable_tooltip = False
        with contextlib.suppress(Exception):  # without it nothing can be dropped: no more
            held.append(_listen_to_drops(app))
        if start.path is not None:
            app.session.open(Path(start.path))

    params.callbacks.post_init = ready
    params.callbacks.show_gui = app.frame
    params.callbacks.before_exit = app.textures.clear
    return params


def _listen_to_drops(app: App) -> object:
    """Open the folders that are dropped on the window; return what must be kept alive."""
    import glfw
    from imgui_bundle import glfw_utils

    def dropped(window: object, paths: list[str]) -> None:
        app.dropped([str(path) for path in paths])

    glfw.set_drop_callback(glfw_utils.glfw_window_hello_imgui(), dropped)
    return dropped


def main(argv: list[str]) -> int:
    """Run the process that ``xscale view`` starts: ``--check``, or one argument of ``Start``."""
    from xscale.errors import XscaleError

    try:
        if argv == ["--check"]:
            check_display()
            return 0
        start = Start.from_text(argv[0]) if argv else Start()
        return run(start)
    except XscaleError as error:
        sys.stderr.write(f"xscale: error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED

"""Check of the display: whether a window can be opened on it."""

from __future__ import annotations

import os
import sys

from xscale.errors import SetupError

GL = (3, 3)
"""OpenGL version that the window needs."""


def check_display() -> None:
    """Open and close a hidden window.

    Raises:
        SetupError: There is no display, or it has no OpenGL 3.3.
    """
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise SetupError(
            "there is no display (DISPLAY is not set; Wayland needs XWayland)",
            advice="start xscale view on a desktop, over ssh -X, or under xvfb-run",
        )
    import imgui_bundle  # noqa: F401 - it tells glfw which library to load

    try:
        import glfw
    except ImportError as error:
        raise SetupError(
            f"the package glfw cannot be used: {error}", advice="pip install 'xscale[viewer]'"
        ) from error
    glfw.ERROR_REPORTING = False
    if not glfw.init():
        raise SetupError(
            f"the display cannot be opened ({_last(glfw)})",
            advice="check DISPLAY, or start xscale view on a desktop",
        )
    try:
        glfw.window_hint(glfw.VISIBLE, False)
        glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, GL[0])
        glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, GL[1])
        glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
        glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)
        window = glfw.create_window(64, 64, "xscale", None, None)
        if not window:
            raise SetupError(
                f"this display has no OpenGL {GL[0]}.{GL[1]} ({_last(glfw)})",
                advice="install a graphics driver, or Mesa's software OpenGL (libgl1-mesa-dri)",
            )
        glfw.destroy_window(window)
    finally:
        glfw.terminate()


def _last(glfw: object) -> str:
    code, text = glfw.get_error()
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return text or f"error {code}"

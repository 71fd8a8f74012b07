"""The application: one session and the panels over it, drawn once a frame."""

from __future__ import annotations

import time
from pathlib import Path

from imgui_bundle import hello_imgui, imgui

from xscale_viewer import keys
from xscale_viewer.commands import Commands
from xscale_viewer.gui.pages import Pages
from xscale_viewer.gui.side import SidePanel
from xscale_viewer.gui.textures import Textures
from xscale_viewer.gui.timeline import Timeline
from xscale_viewer.gui.view import ViewPanel
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion
from xscale_viewer.session import Session

_PANEL = 22.5
"""Width of the side panel in heights of a line."""
_AFTER_CLICK = 4
"""Frames drawn at once after a click."""
_THEMES = {
    "dark": hello_imgui.ImGuiTheme_.darcula_darker,
    "light": hello_imgui.ImGuiTheme_.light_rounded,
}


class App:
    """Draws a session.

    Args:
        session: The session.
        pictures: False on backends that have no textures.
    """

    def __init__(self, session: Session, pictures: bool = True) -> None:
        self.session = session
        self.textures = Textures(pictures)
        self.motion = Motion(session)
        self.inspector = Inspector(session, self.motion)
        self.commands = Commands(
            session, self.motion, self.inspector, imgui.set_clipboard_text, imgui.get_clipboard_text
        )
        self.view = ViewPanel(session, self.motion, self.inspector, self.commands, self.textures)
        self.side = SidePanel(session, self.inspector, self.commands, self.view, self.textures)
        self.timeline = Timeline(session, self.commands)
        self.pages = Pages(session, self.commands)
        self._theme = ""
        self._generation: object = None
        self._frames_left = 0
        self.faults = 0
        self.interrupted = False

    def frame(self) -> None:
        """Draw one frame; what goes wrong becomes a line in the status bar."""
        try:
            self._frame()
        except Exception as error:  # a fault of one frame must not end the window
            self.faults += 1
            self.session.say(f"a fault in the window: {type(error).__name__}: {error}")

    def _frame(self) -> None:
        s = self.session
        s.poll()
        if s.source is not self._generation:
            self._generation, self.inspector.clicked = s.source, None
        if self._theme != s.settings.theme:
            self._theme = s.settings.theme
            hello_imgui.apply_theme(_THEMES[self._theme])
            if self._theme == "light":
                _sharpen(imgui.get_style())
        self._keys()
        self.commands.paths.advance(imgui.get_io().delta_time)
        self.commands.paths.check()
        area = imgui.get_main_viewport()
        imgui.set_next_window_pos(area.work_pos)
        imgui.set_next_window_size(area.work_size)
        flags = imgui.WindowFlags_
        imgui.push_style_var(imgui.StyleVar_.window_padding.value, imgui.ImVec2(0, 0))
        imgui.push_style_var(imgui.StyleVar_.window_border_size.value, 0.0)
        imgui.begin(
            "xscale",
            None,
            flags.no_decoration.value
            | flags.no_move.value
            | flags.no_saved_settings.value
            | flags.no_bring_to_front_on_focus.value
            | flags.no_nav.value,
        )
        imgui.pop_style_var(2)
        self._body()
        imgui.end()
        self.pages.over()
        now = time.monotonic()
        if any(imgui.is_mouse_clicked(b) or imgui.is_mouse_released(b) for b in range(3)):
            # What a click opens is laid out in the frames after it.
            self._frames_left = _AFTER_CLICK
        self._frames_left = max(self._frames_left - 1, 0)
        waiting = _keys_are_left() or self._frames_left > 0
        if s.tick(now) or self.inspector.resting(now) or waiting:
            s.wake()

    def _body(self) -> None:
        s, line = self.session, imgui.get_frame_height_with_spacing()
        room = imgui.get_content_region_avail()
        height = room.y - line
        if s.source is None:
            if height > 1 and imgui.begin_child("first", imgui.ImVec2(0, height)):
                self.pages.first()
            if height > 1:
                imgui.end_child()
        else:
            panel = _PANEL * imgui.get_font_size() if s.settings.panel else 0.0
            panel = panel if room.x > 2.2 * panel else 0.0
            if height > 1 and room.x > panel + 1:
                none = imgui.WindowFlags_
                fixed = none.no_scrollbar.value | none.no_scroll_with_mouse.value
                imgui.begin_child("picture", imgui.ImVec2(room.x - panel, height), 0, fixed)
                below = min(self.timeline.height(), height / 2)
                left = imgui.get_content_region_avail()
                imgui.push_style_var(imgui.StyleVar_.item_spacing.value, imgui.ImVec2(0, 0))
                self.view.draw(imgui.ImVec2(left.x, left.y - below))
                if below:
                    self.timeline.draw(imgui.ImVec2(left.x, below))
                imgui.pop_style_var()
                imgui.end_child()
            else:
                s.size = (0, 0)
            if panel and height > 1:
                imgui.same_line(0, 0)
                padded = imgui.ChildFlags_.always_use_window_padding.value
                imgui.push_style_var(imgui.StyleVar_.window_padding.value, imgui.ImVec2(8, 6))
                imgui.begin_child("side", imgui.ImVec2(panel, height), padded)
                imgui.push_item_width(imgui.get_font_size() * 9)
                self.side.draw()
                imgui.pop_item_width()
                imgui.end_child()
                imgui.pop_style_var()
        self._status()

    def _status(self) -> None:
        """Draw the status bar: the last line said, the point under the cursor, the picture."""
        s, room = self.session, imgui.get_main_viewport().work_size
        imgui.set_cursor_pos_x(8)
        imgui.text(s.status)
        if imgui.is_item_hovered() and imgui.calc_text_size(s.status).x > room.x / 2:
            # The end of a long line lies under what follows, or beyond the window.
            imgui.set_next_window_size(imgui.ImVec2(0.6 * room.x, 0))
            if imgui.begin_tooltip():
                imgui.text_wrapped(s.status)
                imgui.end_tooltip()
        left = s.status
        if self.view.line and s.source is not None:
            imgui.same_line(0, imgui.get_font_size() * 2)
            imgui.text_disabled(self.view.line)
            left += self.view.line
        # Where room is short, facts about the point go before facts about the picture.
        room = imgui.get_window_width() - imgui.calc_text_size(left).x - 3 * imgui.get_font_size()
        lines = (picture_line(s), picture_line(s, short=True))
        right = next((line for line in lines if imgui.calc_text_size(line).x < room), "")
        right = right or (lines[1] if not self.view.line else "")
        wide = imgui.calc_text_size(right).x
        left = imgui.get_window_width() - wide - 8
        imgui.same_line(max(left, 0.0))
        end = imgui.get_cursor_screen_pos()
        size = imgui.ImVec2(end.x + wide + 8, end.y + imgui.get_text_line_height_with_spacing())
        ground = imgui.get_color_u32(imgui.Col_.window_bg)
        imgui.get_window_draw_list().add_rect_filled(imgui.ImVec2(end.x - 8, end.y), size, ground)
        imgui.text(right)

    def _keys(self) -> None:
        io = imgui.get_io()
        typing = io.want_text_input
        if not io.key_ctrl and not typing:
            self._fly(io)
        modifiers = ("Ctrl+" if io.key_ctrl else "") + ("Shift+" if io.key_shift else "")
        for key in keys.KEYS:
            if typing and not key.key.startswith("F"):
                continue
            before, _, last = key.key.rpartition("+")
            wanted = before + "+" if before else ""
            held = wanted == modifiers or (last == "equal" and modifiers == "Shift+")
            if held and any(imgui.is_key_pressed(k, False) for k in imgui_keys(last)):
                self.commands.run(key.action)

    def _fly(self, io: imgui.IO) -> None:
        s = self.session
        if s.source is None:
            return
        move = [0, 0, 0]
        for name, way in keys.FLY.items():
            if imgui.is_key_down(imgui_keys(name)[0]):
                move = [a + b for a, b in zip(move, way, strict=True)]
        if any(move):
            factor = 4.0 if io.key_shift else 0.25 if io.key_alt else 1.0
            self.motion.fly(move, io.delta_time, factor)
            s.wake()

    def dropped(self, paths: list[str]) -> None:
        """Open what was dropped on the window: the first folder, or a file's folder."""
        if not paths:
            return
        path = Path(paths[0])
        if path.is_file() and path.name == "manifest.json":  # of a run
            path = path.parent
        self.session.open(path)


def _sharpen(style: imgui.Style) -> None:
    """Give the light theme what it lacks: edges of fields, and grey text that can be read."""
    style.frame_border_size = 1.0
    for part, grey in ((imgui.Col_.border, 0.62), (imgui.Col_.text_disabled, 0.38)):
        style.set_color_(part.value, imgui.ImVec4(grey, grey, grey, 1.0))


def _keys_are_left() -> bool:
    """Whether keys and clicks wait for the next frames: Dear ImGui takes one of a kind a frame."""
    return len(imgui.get_current_context().input_events_queue) > 0


def imgui_keys(name: str) -> list[imgui.Key]:
    """Return Dear ImGui's keys for a name of ``keys.KEYS``, the keypad's too."""
    table = {"enter": ("enter", "keypad_enter"), "minus": ("minus", "keypad_subtract"),
             "equal": ("equal", "keypad_add")}  # fmt: skip
    names = table.get(name, (f"_{name}" if name.isdigit() else name.lower(),))
    return [getattr(imgui.Key, each) for each in names]


def picture_line(session: Session, *, short: bool = False) -> str:
    """Return the status bar's right end: size, time and share reused of the picture shown.

    Args:
        session: The session.
        short: Leave out what matters least.
    """
    picture = session.picture
    if session.opening is not None:
        return "opening"
    if picture is None or session.source is None:
        return ""
    height, width = picture.rgba.shape[:2]
    parts = [] if short else [f"{width} x {height}", f"{picture.seconds * 1000:.0f} ms"]
    if picture.reused > 0 and not short:
        parts.append(f"{100 * picture.reused:.0f} % reused")
    if picture.stage == "moving":
        parts.append("moving")
    else:
        parts.append(f"exact, {picture.samples} x {picture.samples} samples")
    if not picture.complete:
        parts.append(f"{100 * picture.rows[1] // height} %")
    return "   ".join(parts)

"""Timeline below the view: keys that can be dragged, and the playhead."""

from __future__ import annotations

import numpy as np
from imgui_bundle import imgui

from xscale_viewer.commands import Commands
from xscale_viewer.gui.overlay import colour
from xscale_viewer.gui.track import BLOCKED, CHOSEN, KEY, WAY
from xscale_viewer.session import Session

HEIGHT = 3.4
"""In heights of a line."""
_ROOM = 1.15
"""Seconds that are shown, in durations: the last key can be dragged to the right."""
_STEPS = (0.5, 1, 2, 5, 10, 30, 60, 300)
_CLICK = 3.0


class Timeline:
    """Draws the timeline and takes the mouse on it."""

    def __init__(self, session: Session, commands: Commands) -> None:
        self._session, self._commands = session, commands
        self._key: int | None = None
        self._held = False
        self._moved = self._start = 0.0
        self._span = 2.0

    def height(self) -> float:
        """Return the height that it needs, pixels; 0 where it is not shown."""
        track = self._session.track
        shown = self._session.source is not None and track.shown and track.keys
        return HEIGHT * imgui.get_font_size() if shown else 0.0

    def draw(self, size: imgui.ImVec2) -> None:
        """Draw into the current window, at a size in pixels."""
        if size.x < 60 or size.y < 8:
            return
        track, em = self._session.track, imgui.get_font_size()
        corner = imgui.get_cursor_screen_pos()
        imgui.invisible_button("timeline", size)
        left, wide = corner.x + em, size.x - 2 * em
        if not (self._held or 0.4 * self._span < track.duration < 0.97 * self._span):
            # Only where there is need: a key stays where it was dropped.
            self._span = max(track.duration * _ROOM, 2.0)
        middle = corner.y + size.y * 0.5
        self._mouse(left, wide)
        drawing = imgui.get_window_draw_list()
        text = imgui.get_color_u32(imgui.Col_.text)
        faint = imgui.get_color_u32(imgui.Col_.text_disabled)

        def x(seconds: float) -> float:
            return left + wide * seconds / self._span

        step = next((s for s in _STEPS if s * wide / self._span > 4 * em), _STEPS[-1])
        for seconds in np.arange(0, self._span, step):
            drawing.add_line(
                imgui.ImVec2(x(seconds), middle - 3), imgui.ImVec2(x(seconds), middle + 3), faint
            )
            drawing.add_text(imgui.ImVec2(x(seconds) + 3, corner.y + 2), faint, f"{seconds:g} s")
        drawing.add_line(
            imgui.ImVec2(x(0), middle), imgui.ImVec2(x(track.duration), middle), colour(WAY), 3
        )
        for first, last in runs(track.blocked):
            a, b = (x(k / max(track.count - 1, 1) * track.duration) for k in (first, last + 1))
            b = max(b, a + 0.5 * em)  # a single frame is seen too
            drawing.add_line(imgui.ImVec2(a, middle), imgui.ImVec2(b, middle), colour(BLOCKED), 6)
        here = x(track.seconds)
        drawing.add_line(
            imgui.ImVec2(here, corner.y + 2), imgui.ImVec2(here, corner.y + size.y - 2), text, 2
        )
        for at, key in enumerate(track.keys):
            tint = colour(CHOSEN if at == track.selected else KEY)
            _diamond(drawing, (x(key.seconds), middle), em * 0.5, tint, text)
        line = f"{track.seconds:.2f} s, frame {track.frame_at(track.seconds) + 1} of {track.count}"
        drawing.add_text(imgui.ImVec2(left, corner.y + size.y - em - 1), text, line)

    def _mouse(self, left: float, wide: float) -> None:
        track, paths = self._session.track, self._commands.paths
        mouse, em = imgui.get_mouse_pos(), imgui.get_font_size()
        seconds = float(np.clip((mouse.x - left) / wide, 0, 1)) * self._span
        if imgui.is_item_hovered() and imgui.is_mouse_clicked(0):
            self._held, self._moved, track.playing = True, 0.0, False
            places = [left + wide * key.seconds / self._span for key in track.keys]
            near = int(np.argmin([abs(place - mouse.x) for place in places]))
            self._key = near if abs(places[near] - mouse.x) <= 0.5 * em else None
            if self._key is not None:
                track.selected = self._key
            self._start = mouse.x
        if not self._held:
            return
        self._moved = max(self._moved, abs(mouse.x - self._start))
        if self._key is None:
            self._session.go_along(seconds)
        elif self._moved > _CLICK:
            track.set_time(self._key, seconds)
        if not imgui.is_mouse_down(0):
            if self._key is not None and self._moved <= _CLICK:
                paths.choose(self._key)
            self._held, self._key = False, None


def runs(frames: set[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of numbers that follow each other."""
    found: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if found and frame == found[-1][1] + 1:
            found[-1] = (found[-1][0], frame)
        else:
            found.append((frame, frame))
    return found


def _diamond(
    drawing: imgui.ImDrawList, at: tuple[float, float], half: float, tint: int, edge: int
) -> None:
    x, y = at
    corners = [imgui.ImVec2(x, y - half), imgui.ImVec2(x + half, y), imgui.ImVec2(x, y + half),
               imgui.ImVec2(x - half, y)]  # fmt: skip
    drawing.add_quad_filled(*corners, tint)
    drawing.add_quad(*corners, edge, 1)

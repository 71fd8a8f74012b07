"""The tab of the camera path: keys, pace, file, and rendering."""

from __future__ import annotations

import numpy as np
from imgui_bundle import imgui

from xscale_viewer.commands import Commands
from xscale_viewer.session import Session

_KINDS = ("frames only", "frames and mp4", "frames and webm")
_VIDEO = (None, "mp4", "webm")
_LARGEST = 16384


class PathTab:
    """Draws the tab."""

    def __init__(self, session: Session, commands: Commands) -> None:
        self._session, self._commands = session, commands
        self._kind = 1
        self._overwrite = False

    def draw(self) -> None:
        """Draw into the current window."""
        paths, track = self._commands.paths, self._session.track
        self._button("Add view (Y)", paths.add)
        imgui.same_line()
        self._button("Stop (Space)" if track.playing else "Play (Space)", paths.play)
        if not track.keys:
            imgui.text_wrapped(
                "Go to a view and add it, then go to the next one and add that: the camera passes "
                "smoothly through all of them. Or load a path from its file."
            )
        else:
            self._keys()
            self._pace()
        imgui.separator_text("File")
        _, paths.path = imgui.input_text("##file", paths.path)
        imgui.same_line()
        self._button("Load", paths.load)
        if len(track.keys) > 1:
            imgui.same_line()
            self._button("Save", paths.save)
            self._render()

    def _button(self, text: str, action: object) -> None:
        if imgui.button(text):
            action()

    def _keys(self) -> None:
        paths, track = self._commands.paths, self._session.track
        self._button("This view for the key", paths.replace)
        imgui.same_line()
        self._button("Remove (Del)", paths.remove)
        height = min(len(track.keys), 6) * imgui.get_text_line_height_with_spacing()
        if imgui.begin_child("keys", imgui.ImVec2(0, height + imgui.get_font_size() * 0.5)):
            for at, key in enumerate(track.keys):
                text = f"key {at + 1}   {key.seconds:.2f} s   {key.view.fov:.0f} degrees"
                if imgui.selectable(text, at == track.selected)[0]:
                    paths.choose(at)
        imgui.end_child()
        at = track.selected
        if at is not None and at > 0:
            changed, value = imgui.drag_float("at second", track.keys[at].seconds, 0.02, 0, 0)
            if changed:
                track.set_time(at, value)

    def _pace(self) -> None:
        track = self._session.track
        if len(track.keys) > 1:
            changed, value = imgui.drag_float("duration", track.duration, 0.05, 0, 0, "%.2f s")
            if changed:
                track.set_duration(value)
            self._button("Same pace everywhere", track.even)
        _, track.ease = imgui.checkbox("gentle start and end", track.ease)
        changed, rate = imgui.input_float("frames a second", track.fps, 0, 0, "%.6g")
        if changed and np.isfinite(rate) and 0 < rate <= 240:
            track.fps = rate
        changed, size = imgui.input_int2("size", list(track.size))
        if changed:
            track.size = tuple(int(np.clip(edge, 2, _LARGEST)) for edge in size)
        if track.blocked:
            imgui.text_wrapped(
                f"The path goes through the surface at {len(track.blocked)} of "
                f"{track.count} frames (red)."
            )

    def _render(self) -> None:
        paths = self._commands.paths
        imgui.separator_text("Render")
        running = paths.rendering is not None and not paths.rendering.done
        if not running:
            _, self._kind = imgui.combo("##kind", self._kind, list(_KINDS))
            imgui.same_line()
            if imgui.button("Render"):
                paths.render(_VIDEO[self._kind], self._overwrite)
            _, self._overwrite = imgui.checkbox("replace existing files", self._overwrite)
        if paths.rendering is not None:
            if running:
                imgui.progress_bar(paths.rendering.share, imgui.ImVec2(-1, 0))
            imgui.text_wrapped(paths.rendering.line)
            if running:
                self._button("Cancel", paths.rendering.cancel)

"""The view: the rendered picture, what is drawn over it, and the mouse."""

from __future__ import annotations

import time

import numpy as np
from imgui_bundle import imgui

from xscale_viewer import cut, navigation, picking
from xscale_viewer.commands import Commands
from xscale_viewer.gui import legend, overlay, track
from xscale_viewer.gui.textures import Textures
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion, offset
from xscale_viewer.photos import error_picture
from xscale_viewer.session import Session

SIDES = ("photo", "render", "error")
_CLICK = 4.0
"""Pixels that the mouse may move in a click."""
_GRAB = 8.0
"""Pixels beside the wipe's line that still mean it."""
_LINES = np.array([20, 20, 20], np.uint8)
_POINTS = np.array([255, 80, 200], np.uint8)


class ViewPanel:
    """Draws a session's pictures and takes the mouse."""

    def __init__(
        self,
        session: Session,
        motion: Motion,
        inspector: Inspector,
        commands: Commands,
        textures: Textures,
    ) -> None:
        self.sides = ["photo", "render"]
        self.wipe_at = 0.5
        self.line = ""
        self._session, self._motion, self._inspector = session, motion, inspector
        self._commands, self._textures = commands, textures
        self._button: int | None = None
        self._travel = self._grip = 0.0
        self._last = (0.0, 0.0)
        self._wiping = self._cutting = self._double = False
        self._key: int | None = None
        """Key of the camera path that is dragged."""

    def draw(self, size: imgui.ImVec2) -> None:
        """Draw into the current window, at a size in pixels."""
        s = self._session
        s.size = (max(0, int(size.x)), max(0, int(size.y)))
        if min(s.size) < 2:
            self.line = ""
            return
        corner = imgui.get_cursor_screen_pos()
        flags = imgui.ButtonFlags_
        imgui.invisible_button(
            "view",
            imgui.ImVec2(*s.size),
            flags.mouse_button_left.value
            | flags.mouse_button_right.value
            | flags.mouse_button_middle.value,
        )
        hovered = imgui.is_item_hovered()
        drawing = imgui.get_window_draw_list()
        end = imgui.ImVec2(corner.x + s.size[0], corner.y + s.size[1])
        drawing.push_clip_rect(corner, end, True)
        drawing.add_rect_filled(corner, end, imgui.get_color_u32(imgui.Col_.child_bg))
        if s.source is not None:
            self._pictures(drawing, (corner.x, corner.y))
            overlay.draw(drawing, (corner.x, corner.y), s, self._inspector, self._textures)
            self._path(drawing, (corner.x, corner.y))
            legend.draw(drawing, (corner.x, corner.y), s)
            mouse = imgui.get_mouse_pos()
            cursor = (mouse.x - corner.x, mouse.y - corner.y)
            self._mouse(cursor, hovered)
            self.line = self._inspector.hover(cursor if hovered else None, time.monotonic())
        drawing.pop_clip_rect()

    def _pictures(self, drawing: imgui.ImDrawList, corner: tuple[float, float]) -> None:
        s = self._session
        camera = s.camera()
        if camera is None:
            return
        low, high = fitted(corner, s.size, (camera.width, camera.height))
        # The last whole picture lies below the bands of the next one.
        for key, picture in (("base", s.base), ("now", s.picture)):
            if picture is None or (key == "now" and picture is s.base):
                continue
            mark = (picture.number, picture.stage, picture.rows, s.wireframe, s.points)
            texture = self._textures.of(key, self._decorated(picture), mark)
            if texture is not None:
                height, width = picture.rgba.shape[:2]
                at = fitted(corner, s.size, (width, height))
                drawing.add_image(texture, imgui.ImVec2(*at[0]), imgui.ImVec2(*at[1]))
        if s.wipe and s.photo is not None:
            self._draw_wipe(drawing, low, high)

    def _path(self, drawing: imgui.ImDrawList, corner: tuple[float, float]) -> None:
        s = self._session
        camera = s.camera()
        if s.picture is not None and camera is not None:
            shown = s.picture.request.camera.scaled(camera.width, camera.height)
            left, top = offset(s.size, camera)
            track.draw(drawing, (corner[0] + left, corner[1] + top), s, shown)

    def _decorated(self, picture: object) -> np.ndarray:
        """Return a picture with the mesh's lines and sparse points, where they are on."""
        s = self._session
        if not (s.wireframe or s.points):
            return picture.rgba
        rgba = picture.rgba.copy()
        if s.wireframe:
            lines = picking.edges(picture.face) & (rgba[..., 3] > 0)
            rgba[lines, :3] = _LINES
        if s.points and s.source.points is not None:
            camera = picture.request.camera
            row, column = picking.visible_pixels(camera, picture.depth, s.source.points)
            for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
                r = np.minimum(row + down, rgba.shape[0] - 1)
                rgba[r, np.minimum(column + right, rgba.shape[1] - 1), :3] = _POINTS
        return rgba

    # Photo | render | error

    def _draw_wipe(
        self, drawing: imgui.ImDrawList, low: tuple[float, float], high: tuple[float, float]
    ) -> None:
        s = self._session
        split = low[0] + (high[0] - low[0]) * self.wipe_at
        halves = ((low[0], split), (split, high[0]))
        for side, (x0, x1) in zip(self.sides, halves, strict=True):
            texture = self._side(side)
            if texture is not None and x1 > x0:
                drawing.push_clip_rect(imgui.ImVec2(x0, low[1]), imgui.ImVec2(x1, high[1]), True)
                drawing.add_image(texture, imgui.ImVec2(*low), imgui.ImVec2(*high))
                drawing.pop_clip_rect()
        white = imgui.color_convert_float4_to_u32(imgui.ImVec4(1, 1, 1, 0.9))
        drawing.add_line(imgui.ImVec2(split, low[1]), imgui.ImVec2(split, high[1]), white, 2)
        middle = (low[1] + high[1]) / 2
        drawing.add_circle_filled(imgui.ImVec2(split, middle), 6, white)
        names = (f"{self.sides[0]} ", f" {self.sides[1]}")
        wide = imgui.calc_text_size(names[0]).x
        y = low[1] + 6
        for x, text in ((split - wide - 4, names[0]), (split + 4, names[1])):
            overlay.label(drawing, (x, y), text)
        if s.photos is not None and s.photos.fault:
            overlay.label(drawing, (low[0] + 8, high[1] - 28), s.photos.fault)

    def _side(self, side: str) -> object | None:
        """Return the texture of a side of the wipe; None for the render, which is drawn below."""
        s = self._session
        if side == "render" or s.photos is None:
            return None
        camera = s.camera()
        photo = s.photos.fitted(s.photo, (camera.width, camera.height))
        if photo is None or not photo.size:
            return None
        if side == "photo":
            return self._textures.of("photo", photo, (s.photo, photo.shape))
        base = s.base
        if base is None or base.rgba.shape[:2] != photo.shape[:2] or base.stage == "moving":
            return None
        mark = (base.number, base.stage, s.photo)
        return self._textures.of("error", error_picture(photo, base.rgba[..., :3]), mark)

    # Mouse

    def _mouse(self, cursor: tuple[float, float], hovered: bool) -> None:
        io = imgui.get_io()
        if hovered and io.mouse_wheel:
            self._motion.wheel(cursor, io.mouse_wheel)
        for button in range(3):
            if hovered and imgui.is_mouse_clicked(button) and self._button is None:
                self._press(button, cursor)
        if self._button is None:
            return
        # In the frame of the release too: the last moves come with it.
        self._held(cursor)
        if not imgui.is_mouse_down(self._button):
            self._let_go(cursor)

    def _held(self, cursor: tuple[float, float]) -> None:
        """Take the moves of a button that was pressed in the view."""
        # Not the mouse's own delta: in the frame of the press it is the way before the press.
        delta = (cursor[0] - self._last[0], cursor[1] - self._last[1])
        if self._wiping:
            camera = self._session.camera()
            if camera is not None:
                left = offset(self._session.size, camera)[0] - self._grip
                self.wipe_at = float(np.clip((cursor[0] - left) / camera.width, 0, 1))
        elif self._cutting:
            self._drag_cut(delta)
        elif self._key is not None:
            track.drag_key(self._session, self._key, delta)
        else:
            self._travel = max(self._travel, abs(delta[0]) + abs(delta[1]))
            if self._travel <= _CLICK:
                # Not a drag yet; the first step of one is the way from the press.
                return
            self._motion.drag(delta)
        self._last = cursor

    def _let_go(self, cursor: tuple[float, float]) -> None:
        """End what a pressed button did: a click, or a drag."""
        holding = self._wiping or self._cutting or self._key is not None
        if self._travel <= _CLICK and self._button == 0 and not holding:
            if self._double and not self._session.measuring:
                self._double_click(cursor)
            else:
                self._inspector.click(cursor)
        elif self._key is not None and self._double:
            self._commands.paths.choose(self._key)
        self._motion.release()
        self._button, self._wiping, self._cutting, self._key = None, False, False, None

    def _drag_cut(self, delta: tuple[float, float]) -> None:
        """Move the clipping plane with its handle, within the scene's box."""
        s = self._session
        handle = overlay.cut_handle(s)
        if handle is None:
            return
        pixel = navigation.pixel_size(s.view, handle[0], s.size[1])
        moved = cut.dragged(s.cut, s.view, delta, pixel)
        low, high = cut.span(s.cut, s.source.low, s.source.high)
        room = (high - low) * 1e-3
        s.cut = moved.at(min(max(moved.place, low + room), high - room))

    def _double_click(self, cursor: tuple[float, float]) -> None:
        """Go to the photo whose frustum is under the cursor, else centre the surface point."""
        name = overlay.photo_under(self._session, cursor)
        if name is None:
            self._motion.double_click(cursor)
        else:
            self._session.go_to_photo(name)

    def _press(self, button: int, cursor: tuple[float, float]) -> None:
        io, s = imgui.get_io(), self._session
        self._button, self._travel, self._last = button, 0.0, cursor
        # Dear ImGui counts clicks in the frame of the press only.
        self._double = button == 0 and imgui.get_mouse_clicked_count(0) == 2
        camera = s.camera()
        if s.wipe and s.photo is not None and camera is not None and button == 0:
            line = offset(s.size, camera)[0] + self.wipe_at * camera.width
            if abs(cursor[0] - line) <= _GRAB:
                self._wiping, self._grip = True, line - cursor[0]
                return
        handle = overlay.cut_handle(s) if button == 0 else None
        if handle is not None:
            apart = np.hypot(cursor[0] - handle[1][0], cursor[1] - handle[1][1])
            if apart <= overlay.HANDLE + 3:
                self._cutting = True
                return
        if button == 0 and not (io.key_shift or io.key_ctrl or s.measuring):
            self._key = track.key_under(s, cursor)
            if self._key is not None:
                s.track.selected = self._key
                return
        if button == 1 or (button == 0 and io.key_shift):
            self._motion.press(cursor, "pan")
        elif button == 2 or (button == 0 and io.key_ctrl):
            self._motion.press(cursor, "look")
        else:
            self._motion.press(cursor, "orbit")


def fitted(
    corner: tuple[float, float], size: tuple[int, int], picture: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the screen's rectangle of a picture in the middle of the view, as large as fits.

    Args:
        corner: The view's upper left one.
        size: The view's.
        picture: (width, height) in its own pixels.
    """
    share = min(size[0] / picture[0], size[1] / picture[1])
    wide, high = picture[0] * share, picture[1] * share
    left, top = corner[0] + (size[0] - wide) / 2, corner[1] + (size[1] - high) / 2
    return (left, top), (left + wide, top + high)

"""The tab of photos: list, jump, photo | render | error, and where the photos are."""

from __future__ import annotations

from pathlib import Path

from imgui_bundle import imgui

from xscale_viewer.commands import Commands
from xscale_viewer.gui.textures import Textures
from xscale_viewer.gui.view import SIDES, ViewPanel
from xscale_viewer.session import Session


class PhotoTab:
    """Draws the tab."""

    def __init__(
        self, session: Session, commands: Commands, view: ViewPanel, textures: Textures
    ) -> None:
        self._session, self._commands = session, commands
        self._view, self._textures = view, textures
        self._filter = ""
        self._folder = ""

    def draw(self) -> None:
        """Draw into the current window."""
        s = self._session
        for number, (text, action) in enumerate(
            (("Previous", "photo_previous"), ("Next", "photo_next"), ("Nearest", "photo_nearest"))
        ):
            if number:
                imgui.same_line()
            if imgui.button(text):
                self._commands.run(action)
        self._wipe()
        if s.photos is not None and s.photos.fault:
            self._missing(s.photos.fault)
        self._thumbnail()
        _, self._filter = imgui.input_text_with_hint("##filter", "name to jump to", self._filter)
        names = sorted(s.source.cameras, key=lambda name: name.encode())
        names = [name for name in names if self._filter.lower() in name.lower()]
        if imgui.begin_child("names"):
            clipper = imgui.ListClipper()
            clipper.begin(len(names))
            while clipper.step():
                for name in names[clipper.display_start : clipper.display_end]:
                    text = f"{name}  (test)" if name in s.source.tests else name
                    if imgui.selectable(text, name == s.photo)[0]:
                        s.go_to_photo(name)
        imgui.end_child()

    def _wipe(self) -> None:
        s = self._session
        if imgui.checkbox("wipe (B)", s.wipe)[0]:
            self._commands.run("wipe")
        if s.wipe:
            for index, text in enumerate(("left", "right")):
                at = SIDES.index(self._view.sides[index])
                self._view.sides[index] = SIDES[imgui.combo(text, at, list(SIDES))[1]]
            if s.photo in s.source.tests:
                imgui.text_wrapped("a test photo: its exposure is never fitted")

    def _thumbnail(self) -> None:
        s = self._session
        name = s.photo or s.last_photo
        if name is None or name not in s.source.cameras or s.photos is None:
            return
        picture = s.photos.thumbnail(name)
        if picture is None or not picture.size:
            return
        texture = self._textures.of(("thumbnail", name), picture)
        if texture is not None:
            height, width = picture.shape[:2]
            imgui.image(texture, imgui.ImVec2(width, height))

    def _missing(self, fault: str) -> None:
        """Say why there are no photos, and ask where they are."""
        s = self._session
        imgui.text_wrapped(fault)
        _, self._folder = imgui.input_text_with_hint("##folder", "the scene's folder", self._folder)
        imgui.same_line()
        if imgui.button("Look there") and self._folder:
            s.locate_photos(Path(self._folder).expanduser())

"""The side panel: view, photos, inspection, measurements, tour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from imgui_bundle import imgui

from xscale_viewer import navigation
from xscale_viewer.advice import Wanted
from xscale_viewer.commands import UPS, Commands
from xscale_viewer.cut import DIRECTIONS, span
from xscale_viewer.gui.path import PathTab
from xscale_viewer.gui.photos import PhotoTab
from xscale_viewer.gui.textures import Textures
from xscale_viewer.gui.view import ViewPanel
from xscale_viewer.inspection import Inspector, evidence, measured
from xscale_viewer.session import Session
from xscale_viewer.units import METRES, coordinates, length

_UNITS = ("unknown", *METRES)
_BACKGROUNDS = ("run", "learned", "white", "black")


class SidePanel:
    """Tabs beside the view."""

    def __init__(
        self,
        session: Session,
        inspector: Inspector,
        commands: Commands,
        view: ViewPanel,
        textures: Textures,
    ) -> None:
        self._session, self._inspector, self._commands = session, inspector, commands
        self._textures = textures
        self._path = PathTab(session, commands)
        self._photos = PhotoTab(session, commands, view, textures)
        self._csv = "measurements.csv"
        self._list = "wanted-photos.json"
        self._size = [1920, 1080]
        self._numbers: list[float] | None = None
        self._shown_click: object = None

    def draw(self) -> None:
        """Draw into the current window."""
        if not imgui.begin_tab_bar("tabs"):
            return
        click = self._inspector.clicked
        for name, tab in (
            ("View", self._view), ("Photos", self._photos.draw), ("Inspect", self._inspect),
            ("Measure", self._measure), ("Tour", self._tour), ("Path", self._path.draw),
        ):  # fmt: skip
            flags = 0
            if name == "Inspect" and click is not None and click is not self._shown_click:
                flags = imgui.TabItemFlags_.set_selected.value
                self._shown_click = click
            if imgui.begin_tab_item(name, None, flags)[0]:
                tab()
                imgui.end_tab_item()
        imgui.end_tab_bar()

    def _button(self, text: str, action: str) -> None:
        if imgui.button(text):
            self._commands.run(action)

    def _view(self) -> None:
        s, kept = self._session, self._session.settings
        modes = s.source.modes
        changed, index = imgui.combo("mode", modes.index(s.mode), list(modes))
        if changed:
            s.mode, s.wipe = modes[index], False
        if s.view.parallel is None:
            changed, value = imgui.slider_float("field of view", s.view.fov, 5, 120, "%.0f degrees")
            if changed:
                s.go(navigation.zoomed(s.view, value - s.view.fov))
        else:
            imgui.text(f"orthographic, {length(s.view.parallel, s.unit)} high")
        for text, action, on in (
            ("orthographic (O)", "parallel", s.view.parallel is not None),
            ("cameras (K)", "frustums", kept.frustums),
            ("mesh lines (X)", "wireframe", s.wireframe),
            ("sparse points (I)", "points", s.points),
            ("collision (C)", "collision", kept.collision),
            ("clipping plane (T)", "clip", s.cut is not None),
        ):
            if imgui.checkbox(text, on)[0]:
                self._commands.run(action)
        if s.cut is not None:
            self._cut()
        self._buttons(("Home", "home"), ("Frame all", "frame_all"), ("Level", "level"))
        self._buttons(*((n.capitalize(), f"axis_{n}") for n in list(navigation.AXES)[:3]))
        self._buttons(*((n.capitalize(), f"axis_{n}") for n in list(navigation.AXES)[3:]))
        self._buttons(("Undo", "undo"), ("Redo", "redo"), ("Way out", "leave"))
        imgui.set_next_item_width(imgui.get_font_size() * 9)
        if imgui.begin_combo("up", "choose", 0):
            for name in UPS:
                if imgui.selectable(name, False)[0]:
                    self._commands.set_up(name)
            imgui.end_combo()
        imgui.separator_text("Camera")
        self._numeric()
        imgui.separator_text("Picture")
        _, kept.low_power = imgui.checkbox("low power", kept.low_power)
        _, kept.samples = imgui.slider_int("samples at rest", kept.samples, 1, 4)
        at = _BACKGROUNDS.index(kept.background)
        kept.background = _BACKGROUNDS[imgui.combo("background", at, list(_BACKGROUNDS))[1]]
        at = _UNITS.index(s.unit or "unknown")
        chosen = _UNITS[imgui.combo("unit of the scene", at, list(_UNITS))[1]]
        s.unit = None if chosen == "unknown" else chosen
        _, self._size = imgui.input_int2("size", self._size)
        if imgui.button("Screenshot at this size"):
            width, height = (int(np.clip(edge, 1, 32768)) for edge in self._size)
            self._commands.screenshot((width, height))
        self._buttons(("Copy JSON", "copy_json"), ("Copy command", "copy_command"))

    def _cut(self) -> None:
        """Show the clipping plane's direction, place and side."""
        s = self._session
        at = DIRECTIONS.index(s.cut.direction)
        changed, chosen = imgui.combo("cut along", at, ["this view", *DIRECTIONS[1:]])
        if changed:
            self._commands.cut_along(DIRECTIONS[chosen])
        low, high = span(s.cut, s.source.low, s.source.high)
        changed, place = imgui.slider_float("##place", s.cut.place, low, high, "%.6g")
        if changed:
            s.cut = s.cut.at(place)
        imgui.same_line()
        if imgui.button("Swap sides"):
            s.cut = s.cut.flipped()
        if s.cut.direction == "view":
            imgui.same_line()
            if imgui.button("Face me"):
                self._commands.cut_along("view")

    def _buttons(self, *pairs: tuple[str, str]) -> None:
        for number, (text, action) in enumerate(pairs):
            if number:
                imgui.same_line()
            self._button(text, action)

    def _numeric(self) -> None:
        """Show place and angles as numbers; they are taken when the user leaves a field."""
        s = self._session
        now = [*map(float, s.view.position), *navigation.angles(s.view, s.source.up)]
        numbers = now if self._numbers is None else self._numbers
        editing = False
        for index, text in enumerate(("x", "y", "z", "heading", "pitch", "roll")):
            form = "%.4f" if index < 3 else "%.2f"
            changed, numbers[index] = imgui.input_double(text, numbers[index], 0, 0, form)
            editing |= imgui.is_item_active() or changed
            if imgui.is_item_deactivated_after_edit():
                moved = replace(s.view, position=np.array(numbers[:3]))
                s.go(navigation.from_angles(moved, *numbers[3:], s.source.up))
                editing = False
        self._numbers = list(numbers) if editing else None

    def _inspect(self) -> None:
        s, found = self._session, self._inspector.clicked
        if found is None:
            imgui.text_wrapped("Click the surface: the photos that see the point are listed here.")
            return
        imgui.text_wrapped(coordinates(found.point, s.source.extent))
        if s.source.georeference:
            imgui.text_wrapped(s.source.georeference)
        imgui.text(f"distance {length(found.distance, s.unit)}")
        imgui.text_wrapped(evidence(found, s.unit, s.source.tests))
        imgui.separator_text(f"{len(found.seen)} photos see it, the finest first")
        for sighting in found.seen:
            imgui.push_id(sighting.name)
            imgui.begin_group()
            self._crop(sighting)
            imgui.same_line()
            imgui.begin_group()
            test = "  (test)" if sighting.name in s.source.tests else ""
            imgui.text(f"{sighting.name}{test}")
            imgui.text(f"{length(sighting.size, s.unit)} a pixel")
            imgui.text(f"{sighting.angle:.0f} degrees aslant")
            if imgui.button("Go there"):
                s.go_to_photo(sighting.name)
            imgui.end_group()
            imgui.end_group()
            imgui.pop_id()

    def _crop(self, sighting: object) -> None:
        s = self._session
        side = imgui.get_font_size() * 5.5
        camera = s.source.cameras[sighting.name]
        picture = s.photos.crop(sighting.name, camera, sighting.pixel)
        texture = None
        if picture is not None:
            key = ("crop", sighting.name)
            texture = self._textures.of(key, picture, sighting.pixel)
        if texture is None:
            imgui.dummy(imgui.ImVec2(side, side))
        else:
            imgui.image(texture, imgui.ImVec2(side, side))

    def _measure(self) -> None:
        s = self._session
        self._button("Stop (M)" if s.measuring else "Measure (M)", "measure")
        imgui.text_wrapped(
            "Click points on the surface; Enter ends. The error is that of aiming at a pixel, "
            "not of the mesh."
        )
        gone = None
        for index, chain in enumerate(s.measurements.all):
            imgui.push_id(index)
            imgui.set_next_item_width(imgui.get_font_size() * 6)
            _, chain.name = imgui.input_text("##name", chain.name)
            imgui.same_line()
            if imgui.small_button("x"):
                gone = chain
            imgui.text_wrapped(measured(chain, s.unit))
            imgui.pop_id()
        if gone is not None:
            s.measurements.remove(gone)
            s.keep_measurements()
        _, self._csv = imgui.input_text("file", self._csv)
        if imgui.button("Save CSV") and self._csv:
            self._commands.save_csv(Path(self._csv).expanduser())

    def _tour(self) -> None:
        s, commands = self._session, self._commands
        imgui.text_wrapped("Places where photos and model disagree most, the worst first.")
        self._buttons(("Previous (P)", "tour_previous"), ("Next (N)", "tour_next"))
        for index, place in enumerate(s.tour.places):
            text = f"{index + 1}: off by {place.value * 255:.1f} of 255"
            if imgui.selectable(text, index == s.tour.at)[0]:
                s.tour.at = index - 1
                commands.run("tour_next")
        imgui.separator_text("Photos that are missing")
        imgui.text_wrapped(
            "Places that few photos see, or none as finely as this view does (or, in the scene, "
            "as photos usually do)."
        )
        self._buttons(("In this view", "advice_in_view"), ("In the scene", "advice"))
        for index, wanted in enumerate(s.wanted):
            imgui.push_id(index)
            if imgui.selectable(f"{index + 1}: {lacking(wanted, s.unit)}", False)[0]:
                s.go(navigation.view_of(wanted.camera))
            imgui.pop_id()
        if s.wanted:
            _, self._list = imgui.input_text("file##list", self._list)
            if imgui.button("Save their cameras") and self._list:
                commands.save_advice(Path(self._list).expanduser())


def lacking(wanted: Wanted, unit: str | None) -> str:
    """Return a line that says what photos lack at a place."""
    if not wanted.photos:
        return f"no photo sees it; wanted {length(wanted.size, unit)} a pixel"
    count = "1 photo" if wanted.photos == 1 else f"{wanted.photos} photos"
    best = length(wanted.best, unit)
    return f"{count}, the best {best} a pixel; wanted {length(wanted.size, unit)}"

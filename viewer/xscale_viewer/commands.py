"""Actions of keys and buttons, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from xscale.errors import XscaleError, printable
from xscale_viewer import advice, navigation, settings, share, tour
from xscale_viewer.cut import new_cut
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import Motion
from xscale_viewer.paths import PathCommands, actions
from xscale_viewer.screenshot import Screenshot
from xscale_viewer.session import Session
from xscale_viewer.views import nearest_photo

UPS = ("as found", "this view's", "towards me", "+x", "-x", "+y", "-y", "+z", "-z")
"""Directions that can be taken as upward."""


class Commands:
    """Everything that the user can do to a session, by the names of ``keys.KEYS``.

    Args:
        session: The session.
        motion: Its motion.
        inspector: Its inspector.
        clipboard: Sets the clipboard's text.
        pasted: Returns the clipboard's text.
    """

    def __init__(
        self,
        session: Session,
        motion: Motion,
        inspector: Inspector,
        clipboard: Callable[[str], None] = lambda text: None,
        pasted: Callable[[], str] = lambda: "",
    ) -> None:
        self.show_help = False
        self.show_open = False
        self.shot: Screenshot | None = None
        self.shot_size: tuple[int, int] | None = None
        self.paths = PathCommands(session)
        self._session = session
        self._motion = motion
        self._inspector = inspector
        self._clipboard = clipboard
        self._pasted = pasted
        self._always: dict[str, Callable[[], None]] = {
            "help": self._help, "theme": self._theme, "panel": self._panel, "open": self._open,
            "escape": self._escape,
        }  # fmt: skip
        view = {
            "home": lambda: session.go(session.home),
            "frame_all": lambda: self._framed(navigation.framed),
            "level": lambda: session.go(navigation.level(session.view, session.source.up)),
            "leave": self._leave,
            "undo": lambda: self._back(session.history.undo(), "There is no view before"),
            "redo": lambda: self._back(session.history.redo(), "There is no view after"),
            "parallel": self._parallel,
            "wider": lambda: session.go(navigation.zoomed(session.view, 5)),
            "narrower": lambda: session.go(navigation.zoomed(session.view, -5)),
            "collision": lambda: self._toggle("collision", "collision"),
        }
        for name in navigation.AXES:
            view[f"axis_{name}"] = lambda name=name: self._axis(name)
        self._table: dict[str, Callable[[], None]] = {
            **view,
            "photo_next": lambda: self._photo(1),
            "photo_previous": lambda: self._photo(-1),
            "photo_nearest": self._nearest,
            "wipe": self._wipe,
            "frustums": lambda: self._toggle("frustums", "cameras"),
            "mode_next": lambda: self._mode(1),
            "mode_previous": lambda: self._mode(-1),
            "wireframe": lambda: self._flag("wireframe", "the mesh's lines"),
            "points": lambda: self._flag("points", "sparse points"),
            "clip": self._clip,
            "measure": self._measure,
            "finish": self._finish,
            "tour_next": lambda: self._tour(1),
            "tour_previous": lambda: self._tour(-1),
            "screenshot": lambda: self.screenshot(self.shot_size),
            "copy_json": lambda: self._copy(command=False),
            "copy_command": lambda: self._copy(command=True),
            "paste": self._paste,
            "advice": lambda: self._advice(in_view=False),
            "advice_in_view": lambda: self._advice(in_view=True),
            **actions(self.paths),
        }

    def run(self, action: str) -> None:
        """Do an action; where nothing is open most do nothing."""
        if action in self._always:
            self._always[action]()
        elif self._session.source is not None:
            self._table[action]()

    def _help(self) -> None:
        self.show_help = not self.show_help

    def _open(self) -> None:
        self.show_open = not self.show_open

    def _theme(self) -> None:
        s = self._session.settings
        s.theme = "light" if s.theme == "dark" else "dark"

    def _panel(self) -> None:
        self._session.settings.panel = not self._session.settings.panel

    def _escape(self) -> None:
        s = self._session
        if self.show_help or self.show_open:
            self.show_help = self.show_open = False
        elif s.measuring:
            if s.measurements.current is not None:
                s.measurements.remove(s.measurements.current)
            s.measuring = False
            s.say("Measuring is off")
        elif s.source is not None and (s.photo is not None or s.held is not None):
            s.wipe = False
            s.go(s.view)
        else:
            self._inspector.clicked = None

    def _toggle(self, name: str, text: str) -> None:
        value = not getattr(self._session.settings, name)
        setattr(self._session.settings, name, value)
        self._session.say(f"{text} {'on' if value else 'off'}")

    def _flag(self, name: str, text: str) -> None:
        s = self._session
        if name == "points" and s.source.points is None:
            s.say("There are no sparse points: open a scene that has some")
            return
        setattr(s, name, not getattr(s, name))
        s.say(f"{text} {'on' if getattr(s, name) else 'off'}")

    # Views

    def _back(self, view: navigation.View | None, line: str) -> None:
        if view is None:
            self._session.say(line)
        else:
            self._session.go(view)

    def _framed(self, frame: Callable) -> None:
        s = self._session
        s.go(frame(s.view, s.source.low, s.source.high))

    def _axis(self, name: str) -> None:
        s = self._session
        s.go(navigation.axis_view(s.view, name, s.source.low, s.source.high, s.source.up))
        s.say(f"from {'above' if name == 'top' else 'below' if name == 'bottom' else name}")

    def set_up(self, name: str) -> None:
        """Take another direction as upward: one of ``UPS``."""
        s = self._session
        if name == UPS[0]:
            s.source.up = s.source.found_up
        elif name == UPS[1]:
            s.source.up = -s.view.R[1]
        elif name == UPS[2]:
            s.source.up = -s.view.forward
        else:
            s.source.up = np.eye(3)["xyz".index(name[1])] * (1.0 if name[0] == "+" else -1.0)
        s.say(f"up: {name}; L levels the horizon to it")

    def _parallel(self) -> None:
        s = self._session
        middle = self._motion.pivot_at((s.size[0] / 2, s.size[1] / 2))
        s.go(navigation.toggled_parallel(s.view, middle))
        s.say("orthographic" if s.view.parallel is not None else "perspective")

    def _leave(self) -> None:
        s = self._session
        if s.outside is not None and s.outside is not s.view:
            s.go(s.outside)
            s.say("Back at the last place outside the mesh")
        else:
            s.go(s.home)
            s.say("Back at the first view")

    # Photos

    def _names(self) -> list[str]:
        return sorted(self._session.source.cameras, key=lambda name: name.encode())

    def _photo(self, by: int) -> None:
        s, names = self._session, self._names()
        if not names:
            s.say("There are no photos")
            return
        at = s.photo or s.last_photo
        place = (names.index(at) + by) % len(names) if at in names else (0 if by > 0 else -1)
        s.go_to_photo(names[place])

    def _nearest(self) -> None:
        s = self._session
        if not s.source.cameras:
            s.say("There are no photos")
            return
        s.go_to_photo(nearest_photo(s.source.cameras, s.view, s.source.extent))

    def _wipe(self) -> None:
        s = self._session
        s.wipe = not s.wipe
        if s.wipe and s.photo is None:
            self._nearest()
        if s.wipe:
            s.mode = "colour"
        s.say("photo | render: drag the line" if s.wipe else "render")

    def _mode(self, by: int) -> None:
        s = self._session
        modes = s.source.modes
        s.wipe = False
        s.mode = modes[(modes.index(s.mode) + by) % len(modes)]
        s.say(f"mode: {s.mode}")

    def _clip(self) -> None:
        s = self._session
        if s.cut is not None:
            s.cut = None
            s.say("clipping plane off")
            return
        self.cut_along("view")
        s.say("clipping plane: drag its handle; the View panel turns it and swaps its sides")

    def cut_along(self, direction: str) -> None:
        """Set the clipping plane anew in one of ``cut.DIRECTIONS``."""
        s = self._session
        s.cut = new_cut(direction, s.view, self._motion.distance(), s.source.low, s.source.high)

    # Measuring and the tour

    def _measure(self) -> None:
        s = self._session
        s.measuring = not s.measuring
        s.measurements.finish()
        s.say("Measuring: click points on the surface" if s.measuring else "Measuring is off")

    def _finish(self) -> None:
        s = self._session
        if s.measuring:
            s.measurements.finish()
            s.keep_measurements()

    def save_csv(self, path: Path) -> None:
        """Write all measurements as CSV."""
        from xscale.io.storage import write_text

        s = self._session
        try:
            write_text(path, s.measurements.csv(s.unit), overwrite=True)
        except XscaleError as error:
            s.say(str(error))
        else:
            s.say(f"Written: {printable(path)}")

    def _tour(self, by: int) -> None:
        s = self._session
        if s.tour.places:
            self._stop(s.tour.step(by))
            return
        if s.source.kind == "scene":
            s.say("A tour needs a trained run: xscale train makes one")
            return
        s.say("Looking for the places where photos and model disagree most ...")
        spacing, origin = s.source.extent / 20, s.source.origin

        def search(run: object) -> list[tour.Place]:
            surface = run.surface
            points = surface.vertices.cpu().numpy().astype(np.float64) + origin
            return tour.places(
                points, surface.normals.cpu().numpy(), run.residuals.cpu().numpy(), spacing
            )

        def done(places: object) -> None:
            s.tour.places, s.tour.at = list(places), -1
            if s.tour.places:
                self._stop(s.tour.step(by))
            else:
                s.say("There is no place to show")

        s.ask(search, done)

    def _stop(self, place: tour.Place) -> None:
        s = self._session
        s.wipe = False
        s.go(tour.view_of_place(place, s.source.cameras, s.source.up, s.source.extent))
        s.say(f"place {s.tour.at + 1} of {len(s.tour.places)}: colours are off by "
              f"{place.value * 255:.1f} of 255 in the mean")  # fmt: skip

    def _advice(self, *, in_view: bool) -> None:
        """Look for the photos that are missing: in the whole scene, or for this view."""
        s = self._session
        picture = s.picture if in_view else None
        if in_view and picture is None:
            s.say("Wait for a picture")
            return
        s.say("Looking for places where photos are missing ...")
        source = s.source
        shown = None if picture is None else advice.InView(picture.request.camera, picture.depth)

        def search(run: object) -> list[advice.Wanted]:
            return advice.search(run, source.cameras, source.up, source.extent, shown)

        def done(found: object) -> None:
            s.wanted = list(found)
            where = "in this view" if in_view else "in the scene"
            s.say(f"photos are missing at {len(s.wanted)} places {where}")

        s.ask(search, done)

    def save_advice(self, path: Path) -> None:
        """Write the photos that would supply what is missing as a camera path."""
        from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path

        s = self._session
        named = tuple(
            NamedCamera(f"wanted_{number:03d}", wanted.camera)
            for number, wanted in enumerate(s.wanted, 1)
        )
        try:
            write_camera_path(path, CameraPath(named), overwrite=True)
        except XscaleError as error:
            s.say(str(error))
        else:
            s.say(f"Written: {printable(path)}")

    # Taking a view along

    def screenshot(self, size: tuple[int, int] | None = None, path: Path | None = None) -> None:
        """Render the view at a size (default: the window's) and write a PNG file."""
        s = self._session
        camera = s.camera()
        if camera is None:
            s.say("There is nothing to take a picture of")
            return
        if self.shot is not None and not self.shot.done:
            s.say("A screenshot is being made")
            return
        if size is not None and s.photo is None:
            camera = s.view.camera(*size, s.source.near)
        elif size is not None:
            camera = camera.scaled(*size)
        self.shot = Screenshot(s, camera, path)

    def _copy(self, command: bool) -> None:
        s = self._session
        if s.document is None:
            s.say("Wait for the picture to come to rest")
            return
        if command and s.source.kind == "scene":
            s.say("A scene is rendered after training; the camera can be copied as JSON (Ctrl+C)")
            return
        if command:
            samples = 1 if s.settings.low_power else s.settings.samples
            text = share.as_command(
                s.document, s.source.path.resolve(), samples, s.settings.background
            )
        else:
            text = share.as_json(s.document)
        self._clipboard(text)
        line = "The command is in the clipboard" if command else "The camera is in the clipboard"
        s.say(
            line
            if s.cut is None
            else f"{line}; it shows the whole mesh, without the clipping plane"
        )

    def _paste(self) -> None:
        s = self._session
        try:
            s.go(navigation.view_of(share.camera_from_text(self._pasted())))
        except XscaleError as error:
            s.say(str(error))

    def keep_settings(self) -> None:
        """Write the settings to the user's folder."""
        fault = settings.save_settings(self._session.settings)
        if fault:
            self._session.say(fault)

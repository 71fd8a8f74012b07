"""A session: what is open, what is looked at, and which pictures are asked for. No window here.

Everything but the callbacks of the render service runs on the window's thread. Other threads hand
their results over with ``post``; ``poll`` takes them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xscale.errors import XscaleError, printable
from xscale_viewer import settings as kept
from xscale_viewer.advice import Wanted
from xscale_viewer.cut import Cut
from xscale_viewer.history import History
from xscale_viewer.measure import Measurements
from xscale_viewer.navigation import View, is_usable, view_of
from xscale_viewer.photos import PhotoStore
from xscale_viewer.settings import Settings
from xscale_viewer.share import document_of, from_document
from xscale_viewer.tour import Tour
from xscale_viewer.track import Track
from xscale_viewer.views import first_view

if TYPE_CHECKING:
    from xscale.gbuffer.cut import Plane
    from xscale.geometry.camera import Camera
    from xscale.render.service import Picture, RenderService
    from xscale_viewer.source import Source

REST_AFTER = 0.12
"""Seconds without a change after which the picture at rest is asked for."""


class Session:
    """State of the viewer.

    Args:
        settings: The user's.
        wake: Called from any thread when the window has something new to show.
        opener: Opens a folder; the default is ``source.open_source``.
        make_service: Makes the render service; the default is ``RenderService``.
        threads: Threads of the render service.
        device: Where a run's pictures are computed: auto, cpu, webgpu or webgpu:N.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        wake: Callable[[], None] = lambda: None,
        opener: Callable[[Path], Source] | None = None,
        make_service: Callable[..., RenderService] | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.settings = settings or Settings()
        self.wake = wake
        self.unit: str | None = None
        self.status = ""
        self.source: Source | None = None
        self.opening: Path | None = None
        self.photos: PhotoStore | None = None
        self.view: View | None = None
        self.home: View | None = None
        self.history = History()
        self.outside: View | None = None
        self.inside = False
        self.mode = "colour"
        self.photo: str | None = None
        self.last_photo: str | None = None
        self.wipe = False
        self.size = (0, 0)
        self.cut: Cut | None = None
        self.wireframe = self.points = False
        self.measurements = Measurements()
        self.measuring = False
        self.tour = Tour()
        self.track = Track()
        self.held: Camera | None = None
        """A camera of the path that is looked through; its picture has its shape."""
        self.wanted: list[Wanted] = []
        self.picture: Picture | None = None
        self.base: Picture | None = None
        self.document: dict | None = None
        self.waiting: str | None = None
        """Name of a photo to go to when the source is open."""
        self._opener = opener
        self._make_service = make_service
        self._threads = threads
        self.device = device
        self._service: RenderService | None = None
        self._inbox: deque[Callable[[], None]] = deque()
        self._incoming: list[Picture] = []
        self._lock = threading.Lock()
        self._generation = 0
        self._wanted: tuple | None = None
        self._changed_at = 0.0
        self._at_rest = True
        self._closing: list[threading.Thread] = []

    # Opening and closing

    def open(self, path: Path) -> None:
        """Open a run or scene in the background; what was open stays until it is there."""
        self.opening = path
        self.say(f"Opening {printable(path)} ...")
        thread = threading.Thread(target=self._load, args=(path,), name="xscale-open", daemon=True)
        thread.start()
        self._closing.append(thread)

    def _load(self, path: Path) -> None:
        try:
            source = (self._opener or _open_source(self.device))(path)
        except XscaleError as error:
            line = str(error)
        except Exception as error:  # any damaged folder must end as a line in the status bar
            line = f"{printable(path)}: cannot be opened: {type(error).__name__}: {error}"
        else:
            self.post(lambda: self._opened(source, path))
            return
        self.post(lambda: self._failed(path, line))

    def _failed(self, path: Path, line: str) -> None:
        if self.opening == path:
            self.opening = None
            self.say(line)

    def _opened(self, source: Source, path: Path) -> None:
        if self.opening != path:
            return
        make = self._make_service or _render_service()
        self.shut()
        self.opening = None
        self._generation += 1
        self.source = source
        self.photos = PhotoStore(source.open_scene, self.wake)
        self._service = make(source.run, self._on_picture, self._threads, self._on_error)
        self.mode, self.photo, self.wipe, self.cut = "colour", None, False, None
        self.picture = self.base = self._wanted = self.document = None
        self.history, self.tour, self.outside, self.wanted = History(), Tour(), None, []
        self.track, self.held = Track(source.near), None
        self.measurements.load(kept.load_measurements(source.path))
        self.home = self.view = first_view(source)
        self.history.push(self.view)
        self.settings.remember(source.path)
        self.say(f"{source.kind} {printable(source.path.name)}: {len(source.cameras)} photos; "
                 "F1 shows all keys")  # fmt: skip
        if self.waiting is not None:
            name, self.waiting = self.waiting, None
            if name in source.cameras:
                self.go_to_photo(name)
            else:
                self.say(f"there is no photo {printable(name)}")

    def shut(self) -> None:
        """Close what is open; threads end in the background."""
        if self.source is not None:
            self.keep_measurements()
        if self._service is not None:
            thread = threading.Thread(target=self._service.close, daemon=True)
            thread.start()
            self._closing.append(thread)
        if self.photos is not None:
            self.photos.close()
        self.source = self._service = self.photos = None
        with self._lock:
            self._incoming.clear()

    def close(self, patience: float = 5.0) -> None:
        """Close everything and wait for the threads, at most ``patience`` seconds."""
        self.shut()
        until = time.monotonic() + patience
        for thread in self._closing:
            thread.join(max(0.0, until - time.monotonic()))

    def locate_photos(self, folder: Path) -> None:
        """Look for the photos in another folder."""
        if self.photos is None:
            return
        self.photos.locate(partial(self.source.open_scene, folder))
        self.say(f"Looking for the photos in {printable(folder)}")

    def keep_measurements(self) -> None:
        """Write the measurements to the user's folder."""
        if self.source is not None:
            fault = kept.save_measurements(self.source.path, self.measurements.to_plain())
            if fault:
                self.say(fault)

    # Between threads

    def post(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the window's thread at the next ``poll``."""
        self._inbox.append(work)
        self.wake()

    def ask(self, work: Callable, on_done: Callable[[object], None]) -> None:
        """Run ``work(run)`` on the render thread, then ``on_done(result)`` on the window's."""
        if self._service is None:
            return
        generation = self._generation

        def deliver(result: object) -> None:
            self.post(lambda: on_done(result) if generation == self._generation else None)

        self._service.ask(work, deliver)

    def _on_picture(self, picture: Picture) -> None:
        with self._lock:
            # A newer band of the same stage takes the place of an older one.
            if self._incoming and self._incoming[-1].rgba is picture.rgba:
                self._incoming[-1] = picture
            else:
                self._incoming.append(picture)
        self.wake()

    def _on_error(self, line: str) -> None:
        self.post(lambda: self.say(line))

    def poll(self) -> bool:
        """Take what other threads have brought; return whether anything came."""
        something = False
        while self._inbox:
            self._inbox.popleft()()
            something = True
        with self._lock:
            pictures, self._incoming = self._incoming, []
        for picture in pictures:
            self._take(picture)
        return something or bool(pictures)

    def _take(self, picture: Picture) -> None:
        self.picture = picture
        if picture.complete:
            self.base = picture
        if picture.complete and picture.stage == "exact":
            self._rested()

    def _rested(self) -> None:
        """At rest: keep the view for undo, and look whether the eye is inside the mesh."""
        view = self.view
        self.history.push(view)
        if self.photo is not None or view.parallel is not None:
            return
        origin, camera = self.source.origin, view.camera(8, 8)

        def probe(run: object) -> bool:
            from xscale.render.probe import is_inside

            return is_inside(run.surface, origin, camera)

        self.ask(probe, lambda inside: self._placed(view, bool(inside)))

    def _placed(self, view: View, inside: bool) -> None:
        if view is not self.view:
            return
        self.inside = inside
        if inside:
            self.say("The camera is inside the mesh; Backspace leads out")
        else:
            self.outside = view

    # What is looked at

    def say(self, line: str) -> None:
        """Show a line in the status bar."""
        self.status = printable(line, 300)

    def go(self, view: View) -> None:
        """Look from a view; one that cannot be rendered is refused with a line."""
        if not is_usable(view):
            self.say("That view makes no sense (not finite, or too far away); nothing was changed")
            return
        self.view, self.photo = view, None
        self.inside = False
        self._leave_path()

    def _leave_path(self) -> None:
        self.held, self.track.playing = None, False

    def go_along(self, seconds: float) -> None:
        """Look through the path's camera at a moment; the playhead goes there."""
        camera = self.track.go(seconds)
        if camera is None:
            return
        self.view, self.photo, self.wipe = view_of(camera), None, False
        self.inside, self.held = False, camera

    def go_to_photo(self, name: str) -> None:
        """Look from a photo's pose, through its lens."""
        self.view = view_of(self.source.cameras[name])
        self.photo = self.last_photo = name
        self.inside = False
        self._leave_path()
        kind = "test" if name in self.source.tests else ""
        self.say(f"photo {printable(name)} {kind}".strip())

    def plane(self) -> Plane | None:
        """Return the clipping plane as requests and ray casts take it."""
        if self.cut is None:
            return None
        from xscale.gbuffer.cut import Plane

        return Plane(*self.cut.plane())

    def camera(self) -> Camera | None:
        """Return the camera of the picture that is wanted; None where there is nothing to show."""
        width, height = self.size
        if self.source is None or self.view is None or min(width, height) < 2:
            return None
        whole = self.held if self.photo is None else self.source.cameras[self.photo]
        if whole is not None:
            share = min(width / whole.width, height / whole.height)
            return whole.scaled(
                max(1, round(whole.width * share)), max(1, round(whole.height * share))
            )
        return self.view.camera(width, height, self.source.near)

    def tick(self, now: float) -> bool:
        """Ask for the picture that is wanted; return whether another tick is needed soon."""
        if self._service is None:
            # While a folder is opened, frames would only take time from that: `post` wakes.
            return False
        camera = self.camera()
        if camera is None:
            if self._wanted is not None:
                self._wanted = None
                self._service.idle()
            return False
        wanted = (
            camera.packed().tobytes(), camera.width, camera.height,
            *self.mode_and_photo(), self.settings.background, self.settings.samples,
            self.settings.low_power, None if self.cut is None else self.cut.plane(),
        )  # fmt: skip
        if wanted != self._wanted:
            self._wanted, self._changed_at, self._at_rest = wanted, now, False
            self._request(camera, moving=True)
            return True
        if not self._at_rest and now - self._changed_at >= REST_AFTER:
            self._at_rest = True
            self._request(camera, moving=False)
        return not self._at_rest

    def mode_and_photo(self) -> tuple[str, str | None]:
        """Return the mode that pictures are asked for in, and whose photo's exposure they take."""
        if self.wipe and self.photo is not None and self.source.kind == "run":
            return "render", self.photo
        return self.mode, None

    def _request(self, camera: Camera, *, moving: bool) -> None:
        from xscale.render.service import ViewRequest

        low = self.settings.low_power
        if moving and low:
            camera = camera.scaled(max(1, camera.width // 2), max(1, camera.height // 2))
        elif not moving:
            # The camera as a file gives it back: a copied view renders to the same bits.
            self.document = document_of(camera)
            camera = from_document(self.document)
        mode, photo = self.mode_and_photo()
        self._service.request(
            ViewRequest(
                camera, mode, photo, self.settings.background, moving,
                1 if moving or low else self.settings.samples, self.plane(),
            )
        )  # fmt: skip

    def busy(self) -> bool:
        """Whether a better picture is on its way."""
        if self._service is None:
            return self.opening is not None
        picture = self.picture
        if picture is None or not self._at_rest:
            return True
        want = 1 if self.settings.low_power else self.settings.samples
        return not (picture.complete and picture.stage != "moving" and picture.samples >= want)


def _open_source(device: str) -> Callable[[Path], Source]:
    # PyTorch comes with it: the window is there before.
    from xscale_viewer.source import open_source

    return partial(open_source, device=device)


def _render_service() -> Callable[..., RenderService]:
    from xscale.render.service import RenderService

    return RenderService

"""Facts about the surface point under the cursor, and about a clicked one."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xscale.geometry.camera import Camera
from xscale_viewer import measure, picking
from xscale_viewer.motion import Motion
from xscale_viewer.session import Session
from xscale_viewer.units import coordinates, length

if TYPE_CHECKING:
    from xscale.gbuffer.cut import Plane
    from xscale.render.sightings import Sighting

HOVER_AFTER = 0.2
"""Seconds without a move of the cursor after which the photos of its point are looked for."""


@dataclass(frozen=True, eq=False)
class Found:
    """A surface point, found exactly on the render thread."""

    point: np.ndarray
    """Float64 [3], world."""
    normal: np.ndarray
    """Float64 [3], unit."""
    distance: float
    """From the eye, world units; in an orthographic view from the plane that the eye stands in."""
    frontal: float
    """Width of a pixel of the view at the point, across the line of sight, world units."""
    size: float
    """Width of a pixel of the view on the surface, world units, with the slant."""
    cosine: float
    """Cosine of the angle between the line of sight and the normal."""
    seen: list[Sighting]
    """Photos that see it."""


def look_up(
    run: object,
    origin: np.ndarray,
    cameras: dict[str, Camera],
    camera: Camera,
    pixel: tuple[float, float],
    cut: Plane | None = None,
    eye: np.ndarray | None = None,
) -> Found | None:
    """Return what a pixel of a picture shows; None for a miss. For the render thread.

    Args:
        run: Run or ``SceneRun``.
        origin: World position of the local frame's origin, [3].
        cameras: The photos'.
        camera: The picture's.
        pixel: (u, v), corner origin.
        cut: The clipping plane; what lies beyond it is not there, but photos do see it.
        eye: Float64 [3], the eye of an orthographic view, whose camera stands far behind it.
    """
    # With PyTorch, which the window does not wait for.
    from xscale.gbuffer.cut import cut_surface
    from xscale.render.sightings import photos_seeing

    column, row = int(pixel[0]), int(pixel[1])
    if not (0 <= column < camera.width and 0 <= row < camera.height):
        return None
    renderer = run.renderer
    if cut is not None:
        renderer = renderer.over(cut_surface(renderer.surface, cut, origin))
    frame = renderer.render(camera, ("position", "normal"), rect=(column, row, 1, 1))
    if not bool(frame.coverage[0, 0]):
        return None
    point = frame.position[0, 0].double().numpy() + origin
    normal = frame.normal[0, 0].double().numpy()
    away = point - camera.position
    distance = float(np.linalg.norm(away))
    cosine = abs(float(away @ normal)) / max(distance, 1e-12)
    frontal = distance / math.sqrt(camera.fx * camera.fy)
    size = frontal / math.sqrt(max(cosine, 0.1))
    seen = photos_seeing(run.surface, cameras, point, normal, origin)
    if eye is not None:
        distance = float((point - eye) @ camera.R[2])
    return Found(point, normal, distance, frontal, size, cosine, seen)


class Inspector:
    """Hover and click of a session.

    Args:
        session: The session.
        motion: Tells where the cursor is in the picture.
    """

    def __init__(self, session: Session, motion: Motion) -> None:
        self.clicked: Found | None = None
        self.asking = False
        self._session = session
        self._motion = motion
        self._hovered: Found | None = None
        self._hover_at: tuple[float, float] = (-1.0, -1.0)
        self._hover_key: object = None
        self._hover_since = 0.0
        self._hover_asked = False

    def hover(self, cursor: tuple[float, float] | None, now: float) -> str:
        """Return a line about the point under the cursor, in more detail when it rests there."""
        s = self._session
        if cursor is None or s.picture is None:
            return ""
        key = (cursor, s.picture.request.camera)
        if key != self._hover_key:
            self._hover_key, self._hover_since = key, now
            self._hovered, self._hover_asked = None, False
        pixel = self._motion.to_picture(cursor)
        camera = s.picture.request.camera
        point = picking.point_at(camera, s.picture.depth, pixel)
        if point is None:
            return "no surface"
        settled = s.picture.stage != "moving"
        if not self._hover_asked and now - self._hover_since > HOVER_AFTER and settled:
            self._hover_asked = True
            self._ask(camera, pixel, lambda found: self._hover_found(key, found))
        if self._hovered is not None:
            return self.describe(self._hovered)
        where = coordinates(point, s.source.extent)
        distance = float(np.linalg.norm(point - camera.position))
        size = distance / math.sqrt(camera.fx * camera.fy)
        if s.view.parallel is not None:
            distance = float((point - s.view.position) @ s.view.forward)
        return f"{where}{self._system()}   distance {length(distance, s.unit)}   " \
               f"{length(size, s.unit)} a pixel"  # fmt: skip

    def resting(self, now: float) -> bool:
        """Whether the cursor rests on a point that has not been looked up yet."""
        return not self._hover_asked and now - self._hover_since <= HOVER_AFTER + 0.1

    def _hover_found(self, key: object, found: Found | None) -> None:
        if key == self._hover_key:
            self._hovered = found

    def _system(self) -> str:
        system = self._session.source.georeference
        return f" ({system})" if system else ""

    def describe(self, found: Found) -> str:
        """Return the line about a point: place, distance, and the evidence that photos give."""
        s = self._session
        return (
            f"{coordinates(found.point, s.source.extent)}{self._system()}   "
            f"distance {length(found.distance, s.unit)}   "
            f"{evidence(found, s.unit, s.source.tests)}"
        )

    def click(self, cursor: tuple[float, float]) -> None:
        """Measure or inspect the point under the cursor."""
        s = self._session
        if s.picture is None:
            return
        pixel, camera = self._motion.to_picture(cursor), s.picture.request.camera
        self.asking = True
        measuring = s.measuring
        self._ask(camera, pixel, lambda found: self._clicked(found, measuring))

    def _clicked(self, found: Found | None, measuring: bool) -> None:
        self.asking = False
        s = self._session
        if found is None:
            s.say("There is no surface under the cursor")
            return
        if not measuring:
            self.clicked = found
            s.say(f"{len(found.seen)} photos see this point")
            return
        chain = s.measurements.add(measure.pick(found.point, found.frontal, found.cosine))
        if len(chain.picks) > 1:
            s.say(measured(chain, s.unit))
        else:
            s.say(f"{chain.name}: first point; click the next one, Enter ends, Esc gives up")

    def _ask(self, camera: Camera, pixel: tuple[float, float], on_done: object) -> None:
        source, cut, view = self._session.source, self._session.plane(), self._session.view
        eye = None if view.parallel is None else view.position

        def work(run: object) -> Found | None:
            return look_up(run, source.origin, source.cameras, camera, pixel, cut, eye)

        self._session.ask(work, on_done)


def beyond(size: float, seen: list[Sighting]) -> float | None:
    """Return how many times finer a picture is than the best photo; None without any photo.

    Args:
        size: Width of the picture's pixel on the surface, world units.
        seen: Photos that see the point, the finest first.
    """
    return seen[0].size / size if seen and size > 0 else None


def evidence(found: Found, unit: str | None, tests: Collection[str] = ()) -> str:
    """Return how fine the view is at a point, against the best photo that sees it.

    Args:
        found: The point.
        unit: As for ``units.length``.
        tests: Names of photos that nothing was learned from; they do not count.
    """
    here = f"{length(found.size, unit)} a pixel here"
    learned = [sighting for sighting in found.seen if sighting.name not in tests]
    factor = beyond(found.size, learned)
    if factor is None:
        none = "only test photos see it" if found.seen else "no photo sees it"
        return f"{here}, {none}: its colour is made up"
    best = length(learned[0].size, unit)
    if factor > 1.05:
        return f"{here}, the best photo had {best}: {factor:.1f} times beyond"
    return f"{here}, the best photo had {best}"


def measured(chain: measure.Measurement, unit: str | None) -> str:
    """Return a measurement as a line, with its error."""
    text = f"{chain.name}: {length(chain.length, unit)} ± {length(chain.error, unit)}"
    if len(chain.picks) == 2:
        text += f", height {length(chain.height, unit)}"
    return text

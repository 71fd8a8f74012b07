"""Drawings over the picture: photos' cameras, measurements, the clicked point."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from imgui_bundle import imgui

from xscale.geometry.camera import Camera
from xscale_viewer.cut import outline
from xscale_viewer.gui.textures import Textures
from xscale_viewer.inspection import Inspector
from xscale_viewer.motion import offset
from xscale_viewer.session import Session
from xscale_viewer.units import length

_MOST_FRUSTUMS = 400
_MOST_THUMBNAILS = 40
_SMALLEST = 24.0
"""Pixels along a frustum below which no thumbnail is drawn."""
_LARGEST = 0.25
"""Share of the view that a thumbnail may cover; frustums twice as large are not drawn."""
HANDLE = 8.0
"""Radius of the clipping plane's handle, pixels."""
TRAIN, TEST, CHOSEN, MARK, PLANE, WANTED = (
    (0.35, 0.75, 1.0), (1.0, 0.7, 0.2), (1.0, 0.3, 0.3), (1.0, 0.9, 0.1), (0.5, 1.0, 0.5),
    (1.0, 0.4, 0.9),
)  # fmt: skip
Corner = tuple[float, float]


def colour(rgb: tuple[float, float, float], alpha: float = 1.0) -> int:
    """Return a colour as the draw list takes it."""
    return imgui.color_convert_float4_to_u32(imgui.ImVec4(*rgb, alpha))


def label(drawing: imgui.ImDrawList, at: Corner, text: str) -> None:
    """Write text on a dark ground."""
    size = imgui.calc_text_size(text)
    low = imgui.ImVec2(at[0] - 3, at[1] - 1)
    high = imgui.ImVec2(at[0] + size.x + 3, at[1] + size.y + 1)
    drawing.add_rect_filled(low, high, colour((0, 0, 0), 0.6), 3)
    drawing.add_text(imgui.ImVec2(*at), colour((1, 1, 1)), text)


def draw(
    drawing: imgui.ImDrawList,
    corner: Corner,
    session: Session,
    inspector: Inspector,
    textures: Textures,
) -> None:
    """Draw everything over the picture that was shown last, through its camera."""
    if session.picture is None:
        return
    wanted = session.camera()
    if wanted is None:
        return
    camera = session.picture.request.camera
    if (camera.width, camera.height) != (wanted.width, wanted.height):
        camera = camera.scaled(wanted.width, wanted.height)
    left, top = offset(session.size, camera)
    origin = (corner[0] + left, corner[1] + top)
    if session.settings.frustums and session.photo is None:
        _frustums(drawing, origin, session, camera, textures)
        for wanted in session.wanted:
            size = 0.3 * float(np.linalg.norm(wanted.camera.position - wanted.place.point))
            at = on_screen(origin, camera, frustum(wanted.camera, size))
            if all(a is not None for a in at):
                pyramid(drawing, at, colour(WANTED, 0.9))
    for chain in session.measurements.all:
        _chain(drawing, origin, session, camera, chain)
    if session.cut is not None:
        _cut(drawing, origin, session, camera)
    if inspector.clicked is not None and not session.measuring:
        for at in on_screen(origin, camera, inspector.clicked.point[None]):
            if at is not None:
                drawing.add_circle(imgui.ImVec2(*at), 7, colour(MARK), 0, 2)
                drawing.add_circle_filled(imgui.ImVec2(*at), 2, colour(MARK))


def on_screen(origin: Corner, camera: Camera, points: np.ndarray) -> list[Corner | None]:
    """Return where world points [N, 3] stand on the screen; None where they are behind the eye."""
    pixel, depth = camera.project(points)
    return [
        (float(origin[0] + p[0]), float(origin[1] + p[1]))
        if d > 0 and np.isfinite(p).all() and np.abs(p).max() < 1e5
        else None
        for p, d in zip(pixel, depth, strict=True)
    ]


def _cut(drawing: imgui.ImDrawList, origin: Corner, session: Session, camera: Camera) -> None:
    """Draw the clipping plane's outline in the scene's box, and its handle."""
    corners = outline(session.cut, session.source.low, session.source.high)
    if not len(corners):
        return
    at = on_screen(origin, camera, corners)
    for a, b in zip(at, [*at[1:], at[0]], strict=True):
        if a is not None and b is not None:
            drawing.add_line(imgui.ImVec2(*a), imgui.ImVec2(*b), colour(PLANE, 0.8), 2)
    found = _handle(session, camera, origin, corners)
    if found is not None:
        handle = found[1]
        drawing.add_circle_filled(imgui.ImVec2(*handle), HANDLE, colour(PLANE, 0.9))
        drawing.add_circle(imgui.ImVec2(*handle), HANDLE, colour((0, 0, 0), 0.7), 0, 1.5)


def cut_handle(session: Session) -> tuple[np.ndarray, Corner] | None:
    """Return the clipping plane's handle: its world point, and where it stands in the view."""
    camera = session.camera()
    if session.cut is None or camera is None:
        return None
    corners = outline(session.cut, session.source.low, session.source.high)
    if not len(corners):
        return None
    return _handle(session, camera, offset(session.size, camera), corners)


def _handle(
    session: Session, camera: Camera, origin: Corner, corners: np.ndarray
) -> tuple[np.ndarray, Corner] | None:
    """Return the handle's world point and place: the outline's middle, else what is in view."""
    for point in (corners.mean(0), _met(session, camera)):
        at = None if point is None else on_screen(origin, camera, point[None])[0]
        if at is None:
            continue
        x, y = at[0] - origin[0], at[1] - origin[1]
        if HANDLE < x < camera.width - HANDLE and HANDLE < y < camera.height - HANDLE:
            return point, at
    return None


def _met(session: Session, camera: Camera) -> np.ndarray | None:
    """Return where the ray through the picture's middle meets the clipping plane."""
    ray = camera.rays(np.array([[camera.width / 2, camera.height / 2]]))[0]
    along = float(ray @ session.cut.axis)
    if not np.isfinite(along) or abs(along) < 1e-6:
        return None
    far = (session.cut.place - float(camera.position @ session.cut.axis)) / along
    return camera.position + ray * far if far > 0 else None


def _chain(
    drawing: imgui.ImDrawList, origin: Corner, session: Session, camera: Camera, chain: object
) -> None:
    at = on_screen(origin, camera, np.array([p.point for p in chain.picks]))
    for a, b in pairwise(at):
        if a is not None and b is not None:
            drawing.add_line(imgui.ImVec2(*a), imgui.ImVec2(*b), colour(MARK), 2)
    for a in at:
        if a is not None:
            drawing.add_circle_filled(imgui.ImVec2(*a), 4, colour(MARK))
    if at[-1] is not None and len(at) > 1:
        text = f"{chain.name} {length(chain.length, session.unit)} ± "
        label(drawing, (at[-1][0] + 8, at[-1][1] - 8), text + length(chain.error, session.unit))


def frustum(camera: Camera, size: float) -> np.ndarray:
    """Return a camera's eye and the four corners of its picture at a depth, [5, 3]."""
    w, h = camera.width, camera.height
    rays = camera.rays(np.array([[0.0, 0], [w, 0], [w, h], [0, h]]))
    forward = camera.R[2]
    along = rays @ forward
    good = np.isfinite(rays).all() and (along > 0.05).all()
    if not good:  # a lens wider than a pyramid
        half = 0.7
        rays = np.array(
            [forward + half * (a * camera.R[0] + b * camera.R[1])
             for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        )  # fmt: skip
        along = np.ones(4)
    corners = camera.position + rays / along[:, None] * size
    return np.concatenate([camera.position[None], corners])


def _frustums(
    drawing: imgui.ImDrawList, origin: Corner, session: Session, camera: Camera, textures: Textures
) -> None:
    source = session.source
    eye, sizes = camera.position, source.frustums
    names = list(source.cameras)
    far = np.array([np.linalg.norm(source.cameras[n].position - eye) for n in names])
    thumbnails = 0
    for index in np.argsort(far)[:_MOST_FRUSTUMS]:
        name = names[index]
        size = sizes[name]
        if far[index] < size:
            continue
        at = on_screen(origin, camera, frustum(source.cameras[name], size))
        if any(a is None for a in at):
            continue
        wide = max(abs(at[1][0] - at[3][0]), abs(at[1][1] - at[3][1]))
        if wide > 2 * _LARGEST * camera.width:
            continue
        shown = _SMALLEST < wide < _LARGEST * camera.width
        if shown and thumbnails < _MOST_THUMBNAILS and session.photos is not None:
            thumbnails += 1
            picture = session.photos.thumbnail(name)
            if picture is not None:
                texture = textures.of(("thumbnail", name), picture)
                if texture is not None:
                    drawing.add_image_quad(texture, *(imgui.ImVec2(*a) for a in at[1:]))
        rgb = TEST if name in source.tests else TRAIN
        if name == session.last_photo:
            rgb = CHOSEN
        pyramid(drawing, at, colour(rgb, 0.9))


def pyramid(drawing: imgui.ImDrawList, at: list[Corner], tint: int) -> None:
    """Draw a frustum whose eye and corners stand at five places of the screen."""
    for k in range(1, 5):
        a, b = at[k], at[k % 4 + 1]
        drawing.add_line(imgui.ImVec2(*at[0]), imgui.ImVec2(*a), tint, 1)
        drawing.add_line(imgui.ImVec2(*a), imgui.ImVec2(*b), tint, 1)


def photo_under(session: Session, cursor: Corner) -> str | None:
    """Return the photo whose frustum's picture is under the cursor, the nearest to the eye."""
    camera = session.camera()
    if camera is None or not session.settings.frustums or session.photo is not None:
        return None
    origin = offset(session.size, camera)
    best, nearest, sizes = None, np.inf, session.source.frustums
    for name, other in session.source.cameras.items():
        far = float(np.linalg.norm(other.position - camera.position))
        if far >= nearest or far < sizes[name]:
            continue
        at = on_screen(origin, camera, frustum(other, sizes[name]))
        if any(a is None for a in at):
            continue
        wide = max(abs(at[1][0] - at[3][0]), abs(at[1][1] - at[3][1]))
        if wide < _LARGEST * camera.width and _inside(cursor, at[1:]):
            best, nearest = name, far
    return best


def _inside(cursor: Corner, quad: list[Corner]) -> bool:
    turns = [
        (b[0] - a[0]) * (cursor[1] - a[1]) - (b[1] - a[1]) * (cursor[0] - a[0])
        for a, b in zip(quad, [*quad[1:], quad[0]], strict=True)
    ]
    return all(t > 0 for t in turns) or all(t < 0 for t in turns)

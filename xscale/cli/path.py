"""``xscale path``: a camera path, checked against the mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from xscale.cli._console import parse, result, say, warn
from xscale.render.options import parse_size

if TYPE_CHECKING:
    import numpy as np

    from xscale.geometry.camera import Camera
    from xscale.render.run import Run


_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class Options:
    """Make a camera path for xscale render; check it against the mesh and draw it."""

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    kind: tyro.conf.Positional[Literal["orbit", "spiral", "interpolate", "flythrough", "zoom"]]
    """orbit: a circle around what the photos show; spiral: small turns around a view; interpolate:
    smoothly through the cameras of photos; flythrough: through the cameras of a file; zoom: from a
    view straight towards a surface point, each frame closer by the same factor."""
    out: Path
    """Camera path to write (.json in nerfstudio's format, in world units of the scene)."""
    frames: int = 120
    """Number of cameras."""
    fps: float = 24.0
    """Frames per second, for films."""
    size: str | None = None
    """Size of the pictures; default: the first photo's training size."""
    views: list[str] = field(default_factory=list)
    """Photos to interpolate between, or the photo where an orbit, spiral or zoom begins."""
    keys: Path | None = None
    """flythrough: camera path or COLMAP model that holds the key poses."""
    closed: bool = False
    """interpolate, flythrough: return to the first pose."""
    degrees: float = 360.0
    """orbit: angle of the whole path, in degrees."""
    radius: float | None = None
    """orbit, spiral: radius in world units; default: from the views."""
    height: float | None = None
    """orbit: height above the point looked at, in world units."""
    turns: float = 2.0
    """spiral: number of turns."""
    target: tuple[float, float, float] | None = None
    """orbit, spiral, zoom: world point to look at; default: a surface point in view."""
    pixel: tuple[float, float] | None = None
    """zoom: go towards the point that this pixel shows, in the view at its training size."""
    closest: float = 0.05
    """zoom: last distance to the point, as a share of the first."""
    plot: Path | None = None
    """Draw the path over a top view of the mesh into this PNG."""
    strict: bool = False
    """End with exit code 12 if the path goes through the mesh."""
    overwrite: bool = False
    """Replace existing files."""


def run(argv: list[str]) -> int:
    """Parse the options, make the path, check it, write it."""
    options = parse(Options, argv, "path")
    from xscale.errors import QualityError, UsageError
    from xscale.geometry.trajectory import resized, up_of
    from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
    from xscale.render.probe import check_path
    from xscale.render.run import Run

    if options.frames > _MOST_FRAMES:
        raise UsageError(f"--frames is {options.frames:,}, at most {_MOST_FRAMES:,}")
    opened = Run.open(options.run)
    photos = [opened.camera(name) for name in opened.names("all")]
    up = up_of(photos)
    cameras = _make(options, opened, photos, up)
    if options.size:
        cameras = [resized(camera, *parse_size(options.size)) for camera in cameras]
    met = check_path(opened.surface, opened.manifest.origin, cameras)
    crossing = [m.frame for m in met if m.crosses]
    if crossing:
        warn(f"W-PATH-MESH: the path goes through the mesh after frames {_some(crossing)}")
    inside = [m.frame for m in met if m.inside]
    if inside:
        warn(f"W-PATH-INSIDE: frames {_some(inside)} see only backs of faces: inside the mesh?")
    nearest = min(met, key=lambda m: m.clearance)
    say(f"{len(cameras)} cameras; nearest to the mesh is frame {nearest.frame}, "
        f"{nearest.clearance:.4g} units away")  # fmt: skip
    digits = max(5, len(str(len(cameras) - 1)))
    named = tuple(NamedCamera(f"{k:0{digits}d}", camera) for k, camera in enumerate(cameras))
    write_camera_path(options.out, CameraPath(named, options.fps), overwrite=options.overwrite)
    if options.plot:
        _plot(options, opened, cameras, photos, up, sorted({*crossing, *inside}))
    result(options.out)
    if crossing and options.strict:
        raise QualityError(
            f"the path goes through the mesh {len(crossing)} times", where=options.out,
            advice="look at it with --plot; the file is written",
        )  # fmt: skip
    say(f"next: xscale render {options.run} --cameras {options.out} --out FOLDER")
    return 0


def _make(options: Options, opened: Run, photos: list[Camera], up: np.ndarray) -> list[Camera]:
    """Return the path's cameras."""
    import numpy as np

    from xscale.errors import UsageError
    from xscale.geometry import trajectory
    from xscale.render.camera_files import read_cameras
    from xscale.render.known import known_to

    if options.kind == "flythrough":
        if options.keys is None:
            raise UsageError("flythrough needs key poses", advice="give --keys FILE")
        size = parse_size(options.size) if options.size else None
        found = read_cameras(options.keys, size, known_to(opened))
        for line in found.warnings:
            warn(line)
        read = found.cameras
        for key in read:
            if key.camera is None:
                raise UsageError(f"key pose {key.name} is bad: {key.fault}")
        keys = [key.camera for key in read]
        return trajectory.interpolate(keys, options.frames, options.closed)
    for name in options.views:
        if name not in opened.manifest.cameras:
            raise UsageError(f"the run has no photo {name}", where=options.run)
    views = [opened.camera(name) for name in options.views]
    if options.kind == "interpolate":
        return trajectory.interpolate(views or photos, options.frames, options.closed)
    view = views[0] if views else photos[len(photos) // 2]
    target = _target(options, opened, view, views or photos)
    if options.kind == "orbit":
        radius, height = options.radius, options.height
        if not views:
            # Around what all photos look at, from where it is seen as a whole.
            usual = trajectory.outer_arm(photos, target, up)
            radius = usual[0] if radius is None else radius
            height = usual[1] if height is None else height
        return trajectory.orbit(view, target, up, options.frames, options.degrees, radius, height)
    distance = float(np.linalg.norm(view.position - target))
    if options.kind == "zoom":
        closest = options.closest * distance
        return trajectory.zoom(view, target, up, options.frames, closest)
    radius = distance / 10 if options.radius is None else options.radius
    size3 = (radius, radius * 0.6, radius)
    return trajectory.spiral(view, target, up, options.frames, size3, options.turns)


def _target(options: Options, opened: Run, view: Camera, views: list[Camera]) -> np.ndarray:
    """Return the point to look at: given, shown by a pixel, or what the views look at."""
    import numpy as np

    from xscale.errors import UsageError
    from xscale.render.probe import focus_of, surface_point

    origin = opened.manifest.origin
    if options.target is not None:
        return np.array(options.target)
    if options.kind == "zoom":
        u, v = options.pixel or (view.width / 2, view.height / 2)
        target = surface_point(opened.surface, origin, view, u, v)
    else:
        target = focus_of(opened.surface, origin, views)
    if target is None:
        raise UsageError(
            "the view sees no surface there", advice="choose --pixel, --target or another view"
        )
    return target


def _plot(
    options: Options,
    opened: Run,
    cameras: list[Camera],
    photos: list[Camera],
    up: np.ndarray,
    bad: list[int],
) -> None:
    import numpy as np

    from xscale.io.photo.images import write_png
    from xscale.render.path_plot import plot_path

    origin = np.array(opened.manifest.origin)
    picture = plot_path(opened.surface, origin, cameras, photos, up, bad)
    write_png(options.plot, picture, overwrite=options.overwrite)
    result(options.plot)


def _some(frames: list[int]) -> str:
    shown = ", ".join(map(str, frames[:5]))
    return shown if len(frames) <= 5 else f"{shown} and {len(frames) - 5} more"

"""The giga demo: thousands of photos of tens of millions of triangles, made on demand.

Distances reach over 1000 : 1, from the whole ground down to grains of its paint. Nothing but a
small file, the recipe, lies on the disk: photos are rectangles of pixels computed from the ground
itself, always the same ones. The recipe's folder can be opened again like any other scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from xscale.config import from_dict
from xscale.demo.photos import DemoSize, Ring, Studio, cameras
from xscale.demo.surface import ground, height
from xscale.errors import SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.photo.images import write_png
from xscale.io.storage import write_json
from xscale.io.strict_json import read_json
from xscale.render.run import Run
from xscale.scene.layouts.kinds import RECIPE
from xscale.scene.photo import Photo
from xscale.scene.scene import Scene
from xscale.training.api import train
from xscale.training.loop import Progress
from xscale.training.memory import training_bytes
from xscale.training.settings import Settings
from xscale.training.steps import trains_fused

VERSION = 1
_LARGEST = {"width": 1 << 14, "height": 1 << 14, "supersampling": 16, "cells": 1 << 13}
_MOST_PHOTOS = 100_000
FINEST = 2e-6
"""Shortest wavelength of the ground's paint: about a pixel of the nearest photos."""
_NEAR = 1e-5
_CLEAR = 0.2
_VIEW = (3840, 2160)

GIGA = DemoSize(
    width=3000,
    height=2000,
    supersampling=1,
    cells=3200,
    rings=(
        Ring("1_far", 2.4, 420, 0.30),
        Ring("2_middle", 0.42, 420, 0.25),
        Ring("3_near", 0.075, 420, 0.12),
        Ring("4_close", 0.0135, 420, 0.10),
        Ring("5_grain", 0.0024, 420, 0.08),
    ),
)


@dataclass(frozen=True)
class GigaRun:
    """Result of the giga demo, and what it cost."""

    run: Run
    view: Path
    """A picture of 3840 x 2160 pixels from the farthest ring."""
    peak_bytes: int
    """Most memory that the process held, mapped files included."""
    table_bytes: int
    """Part of it that the hash grid takes, with gradient and moments."""


def giga_scene(folder: str | Path, size: DemoSize = GIGA) -> Scene:
    """Make the scene: the mesh in memory, the photos on demand.

    Args:
        folder: Gets a small file that says what the scene is made of.
        size: How large.

    Raises:
        StorageError: The folder cannot be written.
    """
    folder = Path(folder)
    content = {"version": VERSION, "size": asdict(size)}
    write_json(folder / RECIPE, content, overwrite=True)
    return _scene(folder, size)


def open_giga(folder: str | Path) -> Scene:
    """Open a scene whose recipe lies in a folder: the same as when it was made.

    Raises:
        SceneError: The recipe is damaged or of another version.
    """
    folder = Path(folder)
    recipe = folder / RECIPE
    content = read_json(recipe)
    if content.get("version") != VERSION:
        raise SceneError(
            f"is of version {content.get('version')}, known is {VERSION}",
            where=recipe,
            advice="make it again: xscale demo --scale giga",
        )
    try:
        size = _size(content.get("size"))
    except (TypeError, ValueError) as error:
        raise SceneError(
            f"is not a recipe of a scene: {error}",
            where=recipe,
            advice="make it again: xscale demo --scale giga",
        ) from error
    return _scene(folder, size)


def _size(content: object) -> DemoSize:
    """Return a size from a recipe's values, each within its bounds."""
    if not isinstance(content, dict) or not isinstance(content.get("rings"), list):
        raise TypeError("it has no size with rings")
    numbers = {key: content[key] for key in _LARGEST if key in content}
    for key, value in numbers.items():
        if type(value) is not int or not 0 < value <= _LARGEST[key]:
            raise ValueError(f"{key} is {value!r}")
    rings = tuple(Ring(**ring) for ring in content["rings"])
    for ring in rings:
        if type(ring.photos) is not int or not isinstance(ring.name, str):
            raise TypeError(f"a ring has {ring.photos!r} photos")
        if not (0 < ring.photos <= _MOST_PHOTOS and 0 < ring.distance < 1e3 and ring.spread >= 0):
            raise ValueError(f"ring {ring.name} has {ring.photos} photos at {ring.distance}")
    if not rings or len(numbers) < len(_LARGEST) or set(content) - {*_LARGEST, "rings"}:
        raise ValueError("it has other values than width, height, supersampling, cells and rings")
    return DemoSize(**numbers, rings=rings)


def _scene(folder: Path, size: DemoSize) -> Scene:
    recipe = folder / RECIPE
    mesh = Mesh.from_world(*ground(size.cells))
    studio = Studio(size, mesh, FINEST)
    photos = []
    for index, (name, ring, camera) in enumerate(_lifted(size)):
        make = partial(_photograph, studio, camera, ring.distance, index)
        photos.append(Photo(name=name, camera=camera, path=recipe, make=make))
    return Scene(
        root=folder,
        layout="giga",
        reason=f"{RECIPE}: photos and mesh are made on demand",
        photos=tuple(sorted(photos, key=lambda photo: photo.name)),
        mesh=mesh,
        mesh_files=(recipe,),
        points=None,
        warnings=(),
    )


def run_giga(
    out: str | Path,
    run_path: str | Path,
    steps: int,
    *,
    size: DemoSize = GIGA,
    settings: list[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> GigaRun:
    """Make the scene, train some steps, render one view of 4K from the run.

    Args:
        out: Folder of the scene.
        run_path: The run folder to make.
        steps: How many steps to train.
        size: How large.
        settings: Assignments for the training.
        on_progress: As for ``train``.
        on_stage: As for ``train``.
    """
    say = on_stage or (lambda line: None)
    say(f"making the ground: {2 * size.cells**2:,} triangles")
    scene = giga_scene(out, size)
    pixels = len(scene.photos) * size.width * size.height
    say(f"{len(scene.photos)} photos of {size.width} x {size.height}, {pixels / 1e9:.1f} Gpixels")
    made = train(
        scene,
        out=run_path,
        steps=steps,
        settings=settings or [],
        on_progress=on_progress,
        on_stage=on_stage,
    )
    # Opened anew: the mesh is mapped from the run, nothing of the scene is needed.
    run = Run.open(made.path)
    say(f"rendering {_VIEW[0]} x {_VIEW[1]}")
    far = run.camera(run.names("all")[0])
    frame = run.render(_wide(far)).on_cpu()
    view = run.folder.pictures("view_4k.png")
    write_png(view, frame.colour.numpy(), overwrite=True)
    chosen = from_dict(Settings, run.manifest.settings)
    fused = trains_fused(chosen.optim, run.device)
    tables = training_bytes(chosen.model.grid, fused)
    return GigaRun(run, view, peak_bytes(), tables)


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _lifted(size: DemoSize) -> Iterator[tuple[str, Ring, Camera]]:
    """Give the demo's cameras, lifted so that they look at the ground and stand above it."""
    for name, ring, camera in cameras(size):
        position = camera.position
        target = position + camera.R[2] * ring.distance
        below, under = _heights(np.stack([target, position]))
        lift = max(below, under + _CLEAR * ring.distance - position[2])
        position = position + np.array([0.0, 0.0, lift])
        yield name, ring, replace(camera, t=-camera.R @ position, near=_NEAR)


def _heights(points: np.ndarray) -> tuple[float, ...]:
    return tuple(height(torch.from_numpy(points[:, :2]).float()).tolist())


def _wide(camera: Camera) -> Camera:
    """Return a camera at the same place with the view's size and about the same field."""
    width, tall = _VIEW
    focal = camera.fx * width / camera.width
    K = np.array([[focal, 0, width / 2], [0, focal, tall / 2], [0, 0, 1.0]])
    return replace(camera, width=width, height=tall, K=K)


def _photograph(
    studio: Studio,
    camera: Camera,
    distance: float,
    index: int,
    left: int,
    top: int,
    width: int,
    height: int,
) -> np.ndarray:
    """Make a rectangle of photo ``index``; its exposure depends on the index alone."""
    random = np.random.default_rng([VERSION, index])
    return studio.photograph(camera, distance, (left, top, width, height), random)

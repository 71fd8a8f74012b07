"""Make the demo's scene folder: photos, a COLMAP text model, a mesh that is a little wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from xscale.demo.photos import SMALL, DemoSize, Studio, cameras
from xscale.demo.surface import ground
from xscale.geometry.camera import Camera
from xscale.geometry.frames import quaternion_from_rotation
from xscale.io.file_sets import atomic_folder
from xscale.io.mesh.ply import encode_ply
from xscale.io.photo.images import encode_png
from xscale.io.storage import write_bytes, write_json, write_text

VERSION = 1
_WRONG = 0.06


def make_demo(
    path: str | Path,
    size: DemoSize = SMALL,
    on_photo: Callable[[int, int], None] | None = None,
) -> bool:
    """Make the scene, or keep the one that is there and the same.

    Args:
        path: The scene folder; it appears when it is complete.
        size: How large.
        on_photo: Called after each photo with the number done and of all.

    Returns:
        Whether it was made; False if it was there.

    Raises:
        StorageError: It cannot be written.
    """
    path = Path(path)
    wanted = json.loads(json.dumps({"version": VERSION, "size": asdict(size)}))
    if _stamp(path) == wanted:
        return False
    listed = list(cameras(size))
    studio = Studio(size)
    with atomic_folder(path, overwrite=True) as folder:
        for done, (name, ring, camera) in enumerate(listed, 1):
            picture = studio.photograph(camera, ring.distance)
            write_bytes(folder / "images" / name, encode_png(picture))
            if on_photo is not None:
                on_photo(done, len(listed))
        _write_model(folder / "sparse" / "0", [(name, camera) for name, _, camera in listed])
        vertices, faces = ground(size.cells // 4, wrong=_WRONG)
        write_bytes(folder / "mesh.ply", encode_ply(vertices.astype(np.float32), faces))
        write_json(folder / "demo.json", wanted)
    return True


def ring_of(name: str) -> str:
    """Return the ring that a demo photo belongs to: far, middle or near."""
    return name.split("_")[1]


def _stamp(path: Path) -> object:
    try:
        return json.loads((path / "demo.json").read_text())
    except (OSError, ValueError):
        return None


def _write_model(folder: Path, named: list[tuple[str, Camera]]) -> None:
    """Write COLMAP's three text files."""
    first = named[0][1]
    numbers = " ".join(repr(float(v)) for v in (first.fx, first.fy, first.cx, first.cy))
    write_text(folder / "cameras.txt", f"1 PINHOLE {first.width} {first.height} {numbers}\n")
    lines = []
    for index, (name, camera) in enumerate(named, 1):
        pose = [*quaternion_from_rotation(camera.R), *camera.t]
        lines += [f"{index} {' '.join(repr(float(v)) for v in pose)} 1 {name}", ""]
    write_text(folder / "images.txt", os.linesep.join(lines) + os.linesep)
    write_text(folder / "points3D.txt", "# no sparse points: the cameras are exact\n")

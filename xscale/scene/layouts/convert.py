"""A scene written as a folder of another layout: cameras, sparse points, masks, photos, mesh."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.camera import Camera
from xscale.io.file_sets import atomic_folder
from xscale.io.mesh.ply import encode_ply
from xscale.io.names import png_name
from xscale.io.photo.images import encode_png
from xscale.io.storage import place_file, write_bytes, write_json, write_text
from xscale.scene.layouts.writers import ColmapTables, mvsnet_camera, nerfstudio_transforms
from xscale.scene.scene import CHANGES, Scene

Target = Literal["colmap", "mvsnet", "nerfstudio"]
How = Literal["copy", "link"]
_POINTS = "sparse_points.ply"
_ALONE = (".ply", ".stl", ".off", ".obj", ".glb")


def convert(
    scene: Scene,
    out: str | Path,
    target: Target,
    *,
    text: bool = False,
    photos: How = "copy",
    overwrite: bool = False,
    on_photo: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a scene as a folder of another layout; it appears when it is complete.

    Poses, intrinsics and names are kept to the last bit where the layout holds the same numbers.

    Args:
        scene: What to write; cameras refer to the photos as stored.
        out: The folder to make.
        target: The layout.
        text: COLMAP's text form instead of the binary one.
        photos: Copy photos, masks and mesh, or link them (symbolic links to absolute paths).
        overwrite: Replace a folder that is there.
        on_photo: Called after each photo with the number done and of all.

    Returns:
        The folder.

    Raises:
        CameraError: The layout cannot hold a camera; the advice names one that can.
        SceneError: The layout cannot hold the photos' names.
        StorageError: It cannot be written.
    """
    out = Path(out)
    plan = _PLANS[target](scene, text)
    with atomic_folder(out, overwrite=overwrite) as folder:
        for name, content in plan.files.items():
            if isinstance(content, dict):
                write_json(folder / name, content)
            elif isinstance(content, str):
                write_text(folder / name, content)
            else:
                write_bytes(folder / name, content)
        for done, photo in enumerate(scene.photos, start=1):
            if photo.make is None:
                place_file(photo.path, folder / plan.photos / photo.name, link=photos == "link")
            else:
                write_bytes(folder / plan.photos / photo.name, encode_png(photo.read()))
            if photo.name in plan.masks and photo.mask_path is not None:
                place_file(photo.mask_path, folder / plan.masks[photo.name], link=photos == "link")
            if on_photo is not None:
                on_photo(done, len(scene.photos))
        write_mesh(scene, folder, photos)
    return out


class _Plan:
    """Contents of a layout's folder besides photos and mesh."""

    def __init__(self, photos: str) -> None:
        self.photos = photos
        self.files: dict[str, bytes | str | dict] = {}
        self.masks: dict[str, str] = {}


def _cameras(scene: Scene) -> dict[str, Camera]:
    return {photo.name: photo.camera for photo in scene.photos}


def _masked(scene: Scene, name_of: Callable[[str], str]) -> dict[str, str]:
    return {p.name: name_of(p.name) for p in scene.photos if p.mask_path is not None}


def _colmap(scene: Scene, text: bool) -> _Plan:
    plan = _Plan("images")
    points = np.zeros((0, 3)) if scene.points is None else scene.points
    tables = _named(scene, lambda: ColmapTables(_cameras(scene), points, _seen(scene)))
    for name, content in (tables.text() if text else tables.binary()).items():
        plan.files[f"sparse/0/{name}"] = content
    # COLMAP's own rule for masks: the photo's whole name, then .png.
    plan.masks = _masked(scene, lambda name: f"masks/{name}.png")
    return plan


def _seen(scene: Scene) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return scene.sparse_observations() if scene.points is not None else {}


def _mvsnet(scene: Scene, text: bool) -> _Plan:
    del text
    plan = _Plan("images_1")
    for photo in scene.photos:
        if "/" in photo.name:
            raise SceneError(
                f"the authors' layout has one folder of photos, {photo.name} is in a folder of it",
                where=scene.root,
                advice="--to colmap and --to nerfstudio can hold it",
            )
        name = f"cams_1/{PurePosixPath(photo.name).stem}_cam.txt"
        plan.files[name] = _named(scene, partial(mvsnet_camera, photo.camera), photo.name)
    plan.masks = _masked(scene, lambda name: f"masks/{png_name(name)}")
    return plan


def _nerfstudio(scene: Scene, text: bool) -> _Plan:
    del text
    plan = _Plan("images")
    plan.masks = _masked(scene, lambda name: f"masks/{png_name(name)}")
    points = None
    if scene.points is not None and len(scene.points):
        points = _POINTS
        plan.files[_POINTS] = encode_ply(scene.points, np.zeros((0, 3), np.int32))
    plan.files["transforms.json"] = _named(
        scene, lambda: nerfstudio_transforms(_cameras(scene), plan.masks, points)
    )
    return plan


_PLANS: dict[str, Callable[[Scene, bool], _Plan]] = {
    "colmap": _colmap,
    "mvsnet": _mvsnet,
    "nerfstudio": _nerfstudio,
}


def _named(scene: Scene, make: Callable, name: str | None = None) -> object:
    """Add the scene, and the photo where one is to blame, to what a writer refuses."""
    try:
        return make()
    except (CameraError, SceneError) as error:
        where = scene.root if name is None else f"{scene.root}: {name}"
        raise type(error)(error.what, where=where, advice=error.advice) from error


def write_mesh(scene: Scene, folder: Path, how: How) -> None:
    """Put the mesh beside the cameras: its file, or a PLY of what it has become in the scene.

    Only a single file that stands in the cameras' frame as it is can be handed on; formats that
    spread over files, merged, moved and repaired meshes are written anew.

    Args:
        scene: The scene.
        folder: Where to put it.
        how: Copy its file, or link it.
    """
    suffix = scene.mesh_path.suffix.lower()
    as_it_was = len(scene.mesh_files) == 1 and not set(CHANGES) & set(scene.provenance)
    if suffix in _ALONE and as_it_was:
        place_file(scene.mesh_path, folder / f"mesh{suffix}", link=how == "link")
        return
    vertices = scene.mesh.vertices.astype(np.float64) + scene.origin
    write_bytes(folder / "mesh.ply", encode_ply(vertices, scene.mesh.faces))

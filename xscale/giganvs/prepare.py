"""A scene of any layout, written as a scene of the benchmark."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

import xscale
from xscale.errors import InputError, OutputExistsError, SceneError, UsageError
from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.lens import Projection
from xscale.giganvs.coverage import Coverage
from xscale.giganvs.layout import CARD, FORMAT, PreparedScene
from xscale.giganvs.splits import SplitFile, make_splits
from xscale.io.file_sets import atomic_folder
from xscale.io.hashing import fingerprint_of, sha256_file
from xscale.io.photo.images import encode_png
from xscale.io.photo.resample import area_downscale
from xscale.io.storage import place_file, write_bytes, write_json, write_text
from xscale.scene.layouts.convert import write_mesh
from xscale.scene.layouts.writers import mvsnet_camera
from xscale.scene.photo import png_name
from xscale.scene.scene import Photo, Scene

Sizes = Literal["xscale", "official"]
Unit = Literal["m", "cm", "mm"]
_ROWS = 256
_MOST_DOWNSCALE = 1000


def prepare(
    scene: Scene,
    out: str | Path,
    *,
    downscale: float = 1,
    sizes: Sizes = "xscale",
    seed: int = 0,
    unit: Unit | None = None,
    overwrite: bool = False,
    on_photo: Callable[[int, int], None] | None = None,
    on_mask: Callable[[int, int], None] | None = None,
) -> PreparedScene:
    """Write a scene in the benchmark's layout, with splits and coverage masks; all or nothing.

    A photo that needs no change is copied byte for byte; others are PNG. A lens that
    ``_cam.txt`` cannot hold is taken out by resampling; pixels that it never saw become a mask.

    Args:
        scene: The scene; its own photos are never changed.
        out: The folder to make.
        downscale: Factor k by which photos are reduced (exact area average).
        sizes: ``official`` reproduces the authors' sizes: W and H divided by k and rounded down,
            K divided by exactly k. ``xscale`` rounds, and K follows the sizes.
        seed: Of the cluster protocol.
        unit: Length of a scene unit, where it is known: sizes of pixels are then given in mm.
        overwrite: Whether another folder of that name is replaced.
        on_photo: Called after each photo with the number done and of all.
        on_mask: The same after each coverage mask.

    Returns:
        The prepared scene; an existing one of the same recipe is kept as it is.

    Raises:
        UsageError: ``downscale`` is not within 1 and 1000.
        SceneError: Two photos would have one name.
        OutputExistsError: ``out`` holds something else; only prepared scenes are ever replaced.
    """
    if not 1 <= downscale <= _MOST_DOWNSCALE:
        raise UsageError(f"--downscale must be 1 to {_MOST_DOWNSCALE}, got {downscale}")
    out = Path(out)
    _check_target(out, scene)
    recipe = fingerprint_of({
        "scene": scene.fingerprint(), "downscale": downscale, "sizes": sizes, "seed": seed,
        "format": FORMAT,
        **({} if unit is None else {"unit": unit}),
    })  # fmt: skip
    if (out / CARD).exists() and not overwrite:
        return _kept(out, recipe)
    names = _names(scene)
    cameras: dict[str, Camera] = {}
    hashes: dict[str, str] = {}
    folder_name = f"images_{downscale:g}"
    with atomic_folder(out, overwrite=overwrite) as folder:
        for done, photo in enumerate(scene.photos, start=1):
            name = names[photo.name]
            camera = plain_camera(photo.camera, downscale, sizes)
            name = _write_photo(photo, camera, folder, folder_name, name)
            cameras[name] = camera
            stem = PurePosixPath(name).stem
            write_text(folder / f"cams_{downscale:g}/{stem}_cam.txt", mvsnet_camera(camera))
            hashes[name] = sha256_file(folder / folder_name / name)
            if on_photo is not None:
                on_photo(done, len(scene.photos))
        write_mesh(scene, folder, "copy")
        splits = make_splits(cameras, seed)
        for split in splits:
            write_json(folder / "splits" / f"{split.name}.json", split.to_json())
        covered = _write_coverage(folder, splits, on_mask)
        others = sorted(p for p in folder.rglob("*") if p.is_file())
        card = {
            "format": FORMAT,
            "recipe": recipe,
            "xscale": xscale.__version__,
            "layout": scene.layout,
            "downscale": downscale,
            "sizes": sizes,
            "unit": unit,
            "photos": hashes,
            "coverage": covered,
            "files": {
                p.relative_to(folder).as_posix(): sha256_file(p)
                for p in others
                if p.relative_to(folder).parts[0] not in (folder_name, "coverage")
            },
        }
        write_json(folder / CARD, card)
    return PreparedScene.open(out)


def _write_coverage(
    folder: Path, splits: Sequence[SplitFile], on_mask: Callable[[int, int], None] | None
) -> dict[str, dict[str, str]]:
    """Write the masks of all splits; return their SHA-256 by split and photo.

    The scene is read as it was written, so that a training on it finds the same sides.
    """
    scene = Scene.open(folder)
    surface = build_surface(scene.mesh)
    hashes: dict[str, dict[str, str]] = {split.name: {} for split in splits}
    total = sum(len(split.test) for split in splits)
    for split in splits:
        covered = Coverage(scene, split, surface)
        for name in split.test:
            data = encode_png(covered.mask(name))
            write_bytes(folder / "coverage" / split.name / png_name(name), data)
            hashes[split.name][name] = hashlib.sha256(data).hexdigest()
            if on_mask is not None:
                on_mask(sum(map(len, hashes.values())), total)
    return hashes


def _check_target(out: Path, scene: Scene) -> None:
    """Refuse to put a prepared scene in the place of anything but another one.

    Raises:
        OutputExistsError: ``out`` holds something else, or the scene itself.
    """
    sources = [scene.root, *scene.mesh_files, *(photo.path for photo in scene.photos)]
    target = out.resolve()
    if any(target in (path.resolve(), *path.resolve().parents) for path in sources):
        raise OutputExistsError(
            "holds the scene itself", where=out, advice="choose another folder for --out"
        )
    if out.exists() and not (out / CARD).exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            "is not a prepared scene", where=out, advice="choose another folder for --out"
        )


def _kept(out: Path, recipe: str) -> PreparedScene:
    prepared = PreparedScene.open(out)
    damage = next(prepared.damage(), None)
    if prepared.card.get("recipe") == recipe and damage is None:
        return prepared
    raise OutputExistsError(
        damage or "holds a scene that was prepared with other options",
        where=out,
        advice="choose another folder or give --overwrite",
    )


def _names(scene: Scene) -> dict[str, str]:
    """Return a name without folders for each photo."""
    names = {photo.name: photo.name.replace("/", "_") for photo in scene.photos}
    stems = Counter(PurePosixPath(name).stem for name in names.values())
    stem, count = stems.most_common(1)[0]
    if count > 1:
        raise SceneError(
            f"{count} photos would be called {stem}", where=scene.root,
            advice="the benchmark's layout has one folder of photos: rename them",
        )  # fmt: skip
    return names


def plain_camera(camera: Camera, downscale: float, sizes: Sizes) -> Camera:
    """Return the pinhole camera of the benchmark's photo, in the scene's frame."""
    plain = replace(camera, model="PINHOLE", distortion=np.zeros(0))
    if camera.lens.projection is Projection.EQUIRECTANGULAR:
        raise InputError(
            f"the camera model {camera.model} sees more than a pinhole can",
            advice="the benchmark's layout holds pinholes only",
        )
    if sizes == "xscale":
        return plain.downscaled(downscale)
    K = np.array(plain.K)
    K[:2] /= downscale
    width, height = int(camera.width // downscale), int(camera.height // downscale)
    return replace(plain, K=K, width=max(width, 1), height=max(height, 1))


def _write_photo(photo: Photo, camera: Camera, folder: Path, images: str, name: str) -> str:
    """Write a photo and its mask; return the name it has, .png where pixels changed."""
    own = photo.camera
    bends = own.lens.projection is not Projection.PINHOLE
    whole = (camera.width, camera.height) == (own.width, own.height)
    if whole and not bends and photo.make is None and not photo.has_alpha:
        place_file(photo.path, folder / images / name)
        if photo.mask_path is not None:
            place_file(photo.mask_path, folder / "masks" / png_name(name))
        return name
    pixels, mask = photo.load(1.0)
    if bends:
        pixels, seen = undistorted(pixels, own)
        if not seen.all():
            mask = seen if mask is None else mask & seen
    small = area_downscale(pixels, camera.width, camera.height)
    name = png_name(name)
    write_bytes(folder / images / name, encode_png(small))
    if mask is not None and not mask.all():
        kept = area_downscale(mask[:, :, None].astype(np.uint8) * 255, camera.width, camera.height)
        whole_pixels = np.where(kept[:, :, 0] == 255, 255, 0).astype(np.uint8)
        write_bytes(folder / "masks" / name, encode_png(whole_pixels))
    return name


def undistorted(pixels: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture that a pinhole with the same K would have taken.

    Args:
        pixels: uint8 [H, W, 3], as the lens gave it.
        camera: Its camera.

    Returns:
        uint8 [H, W, 3], bilinear; and bool [H, W], false where the lens saw nothing.
    """
    height, width = pixels.shape[:2]
    out = np.zeros_like(pixels)
    seen = np.zeros((height, width), bool)
    plain = replace(camera, model="PINHOLE", distortion=np.zeros(0))
    columns = np.arange(width) + 0.5
    for top in range(0, height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, height)) + 0.5
        grid = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
        # A point of each ray, ahead of the camera.
        points = camera.position + plain.rays(grid)
        place, _ = camera.project(points)
        inside = np.isfinite(place).all(1)
        inside &= (place >= 0.5).all(1) & (place <= np.array([width, height]) - 0.5).all(1)
        at = np.where(inside[:, None], place, 0.5) - 0.5
        low = np.minimum(at.astype(int), [max(width - 2, 0), max(height - 2, 0)])
        share = (at - low)[:, :, None]
        x, y = low.T
        right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
        upper = pixels[y, x] * (1 - share[:, 0]) + pixels[y, right] * share[:, 0]
        lower = pixels[below, x] * (1 - share[:, 0]) + pixels[below, right] * share[:, 0]
        value = upper * (1 - share[:, 1]) + lower * share[:, 1]
        block = slice(top, top + len(rows))
        out[block] = (value + 0.5).astype(np.uint8).reshape(len(rows), width, 3)
        seen[block] = inside.reshape(len(rows), width)
    out[~seen] = 0
    return out, seen

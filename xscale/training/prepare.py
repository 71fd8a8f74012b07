"""From a scene to what a training needs: split, cameras, surface, box, finest level, manifest."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import xscale
from xscale import ops, threads
from xscale.config import to_dict
from xscale.errors import SceneError
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.gbuffer.statistics import scene_statistics
from xscale.geometry.camera import Camera
from xscale.model.box import Box
from xscale.model.field import finest_resolution, log2_table_size
from xscale.run.manifest import Manifest, TrainedScene, new_run_id
from xscale.scene.scene import Photo, Scene, Split
from xscale.training.jitter import Jitter, make_jitter
from xscale.training.memory import check_memory
from xscale.training.settings import Settings
from xscale.training.sides import sides_by_photos
from xscale.training.steps import trains_fused
from xscale.training.tiles import TrainPhoto

_MARGIN = 4
"""Median edges, times the reach, that the box of a mesh that may move is larger on each side."""
_WHOLE = 0.998
"""Coverage from which on photos show nothing but the mesh."""


@dataclass(frozen=True)
class Prepared:
    """Everything that is fixed before the first step."""

    scene: Scene
    surface: Surface
    cameras: Tensor
    """Float64 [P, 32], packed cameras of the training photos, local frame, training size."""
    photos: list[TrainPhoto]
    covered_pixels: float
    """Covered pixels of the training photos, estimated from samples."""
    local_cameras: list[Camera]
    """Cameras of the training photos, in the mesh's frame, at training size."""
    manifest: Manifest
    jitter: Jitter | None
    """Moves the rays of steps; None where the settings leave them where they are."""


def prepare(
    scene: Scene,
    split: Split,
    settings: Settings,
    downscale: float,
    seed: int,
    preset: str,
    device: torch.device,
    surface: Surface | None = None,
    run: str | None = None,
) -> Prepared:
    """Look at the scene and decide everything that the photos decide.

    Args:
        scene: The scene.
        split: Which photos train.
        settings: The preset with what was set.
        downscale: Factor by which photos are reduced.
        seed: Of weights and rays.
        preset: The preset's name, for the manifest.
        device: Where to compute.
        surface: The mesh's, where the run to resume holds it already.
        run: Id of the run to resume; None: a new one.

    Raises:
        SceneError: No training photo sees the mesh.
    """
    photos = [scene.photo(name) for name in split.train]
    local = [photo.camera_at(downscale).recentred(scene.origin) for photo in photos]
    cameras = torch.from_numpy(np.stack([camera.packed() for camera in local])).to(device)
    sizes = [(camera.width, camera.height) for camera in local]
    if surface is None:
        surface = build_surface(scene.mesh, device)
        if settings.model.sides == "evidence":
            found = sides_by_photos(surface, photos, scene.origin, downscale)
            surface = dataclasses.replace(surface, sides=found.sides.to(device))
    statistics = scene_statistics(surface, cameras, sizes)
    if len(statistics.footprints) == 0:
        raise SceneError(
            "no training photo sees the mesh", where=scene.root, advice="run xscale inspect"
        )
    grid = settings.model.grid
    low, high = (torch.from_numpy(np.asarray(b)) for b in scene.mesh.bounds)
    if settings.refine.surface == "learned":
        # Vertices of the mesh's border may move out of its box.
        away = _MARGIN * settings.refine.reach * scene.mesh.median_edge
        low, high = low - away, high + away
    box = Box.around(low, high, grid.per_axis_box)
    covered_pixels = statistics.covered_pixels(sizes)
    grid = dataclasses.replace(
        grid,
        finest_resolution=finest_resolution(grid, box, statistics.footprints),
        log2_table_size=log2_table_size(grid, covered_pixels),
    )
    background = settings.model.background
    if background == "auto":
        background = _background(photos, float(statistics.coverage.mean()))
    settings = dataclasses.replace(
        settings, model=dataclasses.replace(settings.model, grid=grid, background=background)
    )
    fused = trains_fused(settings.optim, device, settings.model)
    fused = fused and not settings.patch.share
    check_memory(grid, fused, device)
    manifest = Manifest(
        run=run or new_run_id(),
        scene=TrainedScene(
            fingerprint=scene.fingerprint(),
            layout=scene.layout,
            root=str(scene.root),
            absolute=str(Path(scene.root).absolute()),
            options=scene.options,
            provenance=scene.provenance,
            photos=len(scene.photos),
            downscale=downscale,
            warnings=scene.warnings,
        ),
        origin=tuple(float(x) for x in scene.origin),
        box=box,
        preset=preset,
        settings=to_dict(settings),
        split=split,
        cameras={photo.name: photo.camera for photo in scene.photos},
        versions={
            "xscale": xscale.__version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
            "kernels": ops.isa(),
        },
        seed=seed,
        threads=threads.count(),
    )
    return Prepared(
        scene=scene,
        surface=surface,
        cameras=cameras,
        photos=[
            _train_photo(photo, camera, packed, downscale)
            for photo, camera, packed in zip(photos, local, cameras, strict=True)
        ],
        covered_pixels=covered_pixels,
        local_cameras=local,
        manifest=manifest,
        jitter=make_jitter(settings.optim, statistics, local, covered_pixels, seed, device),
    )


def _background(photos: Sequence[Photo], coverage: float) -> str:
    """Return what is learned of what the mesh does not cover, where the user leaves it to us."""
    masked = sum(photo.mask_path is not None or photo.has_alpha for photo in photos)
    return "learned" if coverage < _WHOLE and 2 * masked <= len(photos) else "white"


def _train_photo(photo: Photo, camera: Camera, packed: Tensor, downscale: float) -> TrainPhoto:
    return TrainPhoto(
        camera.width, camera.height, packed, lambda: photo.pixels(downscale), photo.name
    )

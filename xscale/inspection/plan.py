"""Forecast of a training with the default preset: its settings, memory and time."""

from __future__ import annotations

import time

import torch

from xscale import ops
from xscale.errors import SceneError
from xscale.model.field import grid_layout_of
from xscale.render.new_run import new_model
from xscale.scene.scene import Scene
from xscale.training.memory import available_bytes, training_bytes
from xscale.training.pool import TilePool
from xscale.training.prepare import Prepared, prepare
from xscale.training.settings import preset
from xscale.training.steps import trains_fused
from xscale.training.trainer import Trainer

PASSES = 8
"""Rays for each covered training pixel: the real scenes of benchmarks/RESULTS.md had 4 to 28."""
_MEASURED_TILES = 16
_MEASURED_SECONDS = 1.5
_LEAST_STEPS = 2
_MOST_MEMORY = 0.5


def plan_of(scene: Scene, downscale: float = 1, measure: bool = True) -> dict[str, object]:
    """Return table size, memory, rays and time of a training, as plain values.

    Args:
        scene: The scene.
        downscale: Factor by which the photos would be reduced.
        measure: Whether to train for a moment, to know this machine's speed.
    """
    settings = preset("default")
    device = ops.pick_device("auto")
    try:
        prepared = prepare(scene, scene.split(), settings, downscale, 0, "default", device)
    except SceneError as error:
        return {"possible": False, "because": error.what}
    grid = prepared.manifest.model.grid
    rows, width = grid_layout_of(grid).rows, grid.features_per_level
    pool = settings.pool
    tiles = sum(-(-p.width // pool.tile) * -(-p.height // pool.tile) for p in prepared.photos)
    tile_bytes = pool.tile**2 * 11
    table = 4 * rows * width
    training = training_bytes(grid, trains_fused(settings.optim, device))
    in_pool = min(tiles * tile_bytes, pool.budget_mb * 2**20)
    pixels = prepared.covered_pixels
    free = available_bytes()
    rate = None
    if measure and (free is None or training < _MOST_MEMORY * free):
        rate = _rays_per_second(prepared, device)
    rays = PASSES * pixels
    return {
        "possible": True,
        "preset": "default",
        "device": device.type,
        "log2_table_size": grid.log2_table_size,
        "finest_resolution": grid.finest_resolution,
        "table_rows": rows,
        "table_bytes": table,
        "training_bytes": training + in_pool,
        "pool": {
            "tiles": tiles,
            "bytes": in_pool,
            "holds_everything": tiles * tile_bytes <= pool.budget_mb * 2**20,
        },
        "free_bytes": free,
        "training_photos": len(prepared.photos),
        "covered_training_pixels": round(pixels),
        "rays": round(rays),
        "rays_per_second": rate and round(rate),
        "seconds": rate and round(rays / rate),
    }


def _rays_per_second(prepared: Prepared, device: torch.device) -> float | None:
    """Train for a moment on a few tiles; time that the first steps wait for tiles is left out."""
    settings = preset("default")
    pool = TilePool(
        prepared.surface,
        prepared.photos,
        settings.pool,
        0,
        settings.optim.batch,
        capacity=_MEASURED_TILES,
        on_damage=lambda name, error: None,  # told by those who look at the photos
    )
    try:
        if not pool.covered_pixels:
            return None
        model = new_model(prepared.manifest, device)
        trainer = Trainer(model, pool, prepared.cameras, settings.optim)
        trainer.train_step(0.5)
        trainer.finish()
        start, steps, waited = time.perf_counter(), 0, pool.seconds_waited
        while steps < _LEAST_STEPS or time.perf_counter() - start < _MEASURED_SECONDS:
            trainer.train_step(0.5)
            steps += 1
        trainer.finish()
        seconds = time.perf_counter() - start - (pool.seconds_waited - waited)
    finally:
        pool.close()
    return steps * settings.optim.batch / max(seconds, 1e-9)

"""Residuals: what a training leaves unexplained of its photos, gathered at the mesh's vertices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.build import surface_samples
from xscale.render.uncertainty import corner_weights
from xscale.training.trainer import Trainer

_MOST_RAYS = 1 << 21
_SHARE = 0.05
"""Share of the training's steps that this may take."""
_PRIOR = 4.0
"""Pixels that the scene's mean counts for at a vertex."""


def vertex_residuals(trainer: Trainer) -> Tensor:
    """Return the mean absolute difference between photos and model at vertices, float32 [V].

    Of the channels' mean in sRGB, each photo under its own exposure; where few pixels or none are
    near, the scene's mean. Rays are drawn as the next steps would draw them.

    Args:
        trainer: At the end of its training.
    """
    pool, model = trainer.pool, trainer.model
    whole = -(-pool.covered_pixels // trainer.batch)
    most = max(1, min(_MOST_RAYS // trainer.batch, int(trainer.step * _SHARE)))
    count = len(pool.surface.vertices)
    total, weights = np.zeros(count), np.zeros(count)
    for step in range(trainer.step, trainer.step + min(whole, most)):
        rays = pool.draw(step, trainer.batch).to(model.device)
        samples = surface_samples(
            pool.surface, trainer.cameras, rays.photo, rays.pixel, rays.face_id
        )
        features = model.field.features(samples)
        target = rays.target.float() / model.settings.photo_range
        colour, *_ = model.shader.train(
            features, samples.direction, rays.photo, target, trainer.settings.loss
        )
        error = (colour - target).abs().mean(1, keepdim=True)
        vertex, weight = corner_weights(pool.surface, rays.face_id, samples.position)
        vertex = vertex.reshape(-1).cpu().numpy()
        total += np.bincount(vertex, (weight * error).double().reshape(-1).cpu(), count)
        weights += np.bincount(vertex, weight.double().reshape(-1).cpu(), count)
    mean = total.sum() / max(weights.sum(), 1e-12)
    residual = (total + _PRIOR * mean) / (weights + _PRIOR)
    return torch.from_numpy(residual.astype(np.float32))

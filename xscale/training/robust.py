"""Rays whose photo disagrees count less: what only one photo shows is not learned by all."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.model.film_shader import FilmShader
from xscale.model.shader import ReluShader
from xscale.ops.shade import shade_loss
from xscale.training.settings import OptimSettings


def shade_robustly(
    shader: ReluShader | FilmShader,
    features: Tensor,
    direction: Tensor,
    photo: Tensor,
    target: Tensor,
    settings: OptimSettings,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """As the shader's ``train``, with less weight for rays whose photo disagrees."""
    kept = []

    def gradient(colour: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = colour.detach().requires_grad_()
            ray_loss = shade_loss(leaf, target, settings.loss)
            away = (colour - target).abs().mean(1) / settings.robust
            weighted = (ray_loss / (1 + away**2)).mean()
            kept.extend((colour, ray_loss.detach()))
            return torch.autograd.grad(weighted, leaf)[0]

    grad_features, grads = shader.follow(features, direction, photo, gradient)
    return kept[0], kept[1], grad_features, grads

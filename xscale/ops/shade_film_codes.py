"""The published shader's networks on light and exposure codes, which give the rows it takes.

The networks do not depend on the ray, so they run once a step on a row a photo, in plain PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from xscale.ops.shade_layouts import FILM_LEAKY_SLOPE, WeightLayout, kaiming, uniform


@dataclass(frozen=True)
class FilmCodeLayout(WeightLayout):
    """Where each matrix of the two code networks lies in their flat weight vector.

    In this order: ``light_W1`` [hidden, light], ``light_b1``, ``light_W2`` [4 hidden, hidden],
    ``light_b2``, ``exposure_W1`` [hidden, exposure], ``exposure_b1``,
    ``exposure_W2`` [2 hidden, hidden], ``exposure_b2``.
    """

    light: int = 8
    """Numbers of a light code."""
    exposure: int = 4
    """Numbers of an exposure code."""
    hidden: int = 64
    """Width of every layer, and of the shader that the results are for."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part, in the order of the flat vector."""
        hidden = self.hidden
        return {
            "light_W1": (hidden, self.light),
            "light_b1": (hidden,),
            "light_W2": (4 * hidden, hidden),
            "light_b2": (4 * hidden,),
            "exposure_W1": (hidden, self.exposure),
            "exposure_b1": (hidden,),
            "exposure_W2": (2 * hidden, hidden),
            "exposure_b2": (2 * hidden,),
        }


def film_mapping(code: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Mapping network: frequencies and phases of FiLM layers from a code.

    Args:
        code: [..., inputs].
        w1: [hidden, inputs].
        b1: [hidden].
        w2: [2 layers hidden, hidden].
        b2: [2 layers hidden].

    Returns:
        [..., 2 layers hidden]: all layers' frequencies (times 15, plus 30), then their phases.
    """
    hidden = functional.leaky_relu(code @ w1.T + b1, FILM_LEAKY_SLOPE)
    frequency, phase = (hidden @ w2.T + b2).chunk(2, dim=-1)
    return torch.cat([15 * frequency + 30, phase], dim=-1)


def film_light(code: Tensor, weights: Tensor, layout: FilmCodeLayout) -> Tensor:
    """Light rows [4, hidden] that ``shade`` takes, from one light code [layout.light]."""
    w = layout.unpack(weights)
    film = film_mapping(code, w["light_W1"], w["light_b1"], w["light_W2"], w["light_b2"])
    return film.view(4, layout.hidden)


def film_exposure(codes: Tensor, weights: Tensor, layout: FilmCodeLayout) -> Tensor:
    """Exposure rows [photos, 2 hidden] that ``shade`` takes, from codes [photos, exposure]."""
    w = layout.unpack(weights)
    hidden = torch.relu(codes @ w["exposure_W1"].T + w["exposure_b1"])
    return hidden @ w["exposure_W2"].T + w["exposure_b2"]


def film_code_init(layout: FilmCodeLayout, generator: torch.Generator) -> Tensor:
    """Return fresh weights of the code networks, float32 [layout.size].

    The light's mapping as in ``film_shader_init``; the exposure's by PyTorch's default, everything
    uniform in +-1 / sqrt(inputs).
    """
    flat = torch.empty(layout.size)
    parts = layout.unpack(flat)
    kaiming(parts["light_W1"], 1.0, generator)
    kaiming(parts["light_W2"], 0.25, generator)
    for layer in ("light_{}1", "light_{}2", "exposure_{}1", "exposure_{}2"):
        matrix, bias = parts[layer.format("W")], parts[layer.format("b")]
        bound = 1 / math.sqrt(matrix.shape[1])
        uniform(bias, bound, generator)
        if layer.startswith("exposure"):
            uniform(matrix, bound, generator)
    return flat


def film_codes_init(rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Return fresh codes, float32 [rows, width]: normal with deviation 0.1, norm at most 1."""
    return limit_code_norm(0.1 * torch.randn(rows, width, generator=generator))


def limit_code_norm(codes: Tensor) -> Tensor:
    """Return codes [rows, width] with rows longer than 1 scaled to length 1."""
    return codes / codes.norm(dim=1, keepdim=True).clamp(min=1)

"""The published shader's layout, initialisation, and networks from light and exposure codes.

The networks do not depend on the ray, so they run once a step on a row a photo, in plain PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from xscale.errors import ShapeError
from xscale.ops.shade import ShaderLayout

FILM_LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class FilmShaderLayout(ShaderLayout):
    """Where each matrix of the FiLM shader lies in its flat weight vector.

    In this order, each row major: the feature layers ``W1`` [hidden, features], ``b1``,
    ``W2`` [hidden, hidden], ``b2``; the mapping ``M1`` [hidden, hidden], ``c1``,
    ``M2`` [4 hidden, hidden], ``c2``; the direction layers ``D1`` [hidden, 3], ``e1``,
    ``D2`` [hidden, hidden], ``e2``; the colour ``W3`` [3, hidden], ``b3``.
    """

    features: int = 128
    """Numbers a surface point has; a multiple of 4 up to 256."""
    hidden: int = 64
    """Width of every layer; a multiple of 16 up to 128."""

    def __post_init__(self) -> None:
        if self.features % 4 or not 4 <= self.features <= 256:
            raise ShapeError(
                f"shade_film: features must be a multiple of 4 up to 256, got {self.features}"
            )
        if self.hidden % 16 or not 16 <= self.hidden <= 128:
            raise ShapeError(
                f"shade_film: hidden must be a multiple of 16 up to 128, got {self.hidden}"
            )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part, in the order of the flat vector."""
        h = self.hidden
        matrices = {"W1 b1": (h, self.features), "W2 b2": (h, h), "M1 c1": (h, h),
                    "M2 c2": (4 * h, h), "D1 e1": (h, 3), "D2 e2": (h, h),
                    "W3 b3": (3, h)}  # fmt: skip
        parts: dict[str, tuple[int, ...]] = {}
        for names, shape in matrices.items():
            matrix, bias = names.split()
            parts[matrix] = shape
            parts[bias] = shape[:1]
        return parts


@dataclass(frozen=True)
class FilmCodeLayout(ShaderLayout):
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
    """Light rows [4, hidden] that ``shade_film`` takes, from one light code [layout.light]."""
    w = layout.unpack(weights)
    film = film_mapping(code, w["light_W1"], w["light_b1"], w["light_W2"], w["light_b2"])
    return film.view(4, layout.hidden)


def film_exposure(codes: Tensor, weights: Tensor, layout: FilmCodeLayout) -> Tensor:
    """Exposure rows [photos, 2 hidden] that ``shade_film`` takes, from codes [photos, exposure]."""
    w = layout.unpack(weights)
    hidden = torch.relu(codes @ w["exposure_W1"].T + w["exposure_b1"])
    return hidden @ w["exposure_W2"].T + w["exposure_b2"]


def film_shader_init(layout: FilmShaderLayout, generator: torch.Generator) -> Tensor:
    """Return fresh shader weights, float32 [layout.size], by the published rules.

    FiLM and output matrices are uniform in +-sqrt(6 / inputs) / 25, the first FiLM layer of the
    features in +-1 / inputs; mapping matrices are Kaiming-normal, the last times 0.25; biases are
    PyTorch's default, uniform in +-1 / sqrt(inputs).
    """
    flat = torch.empty(layout.size)
    parts = layout.unpack(flat)
    for name in ("W1", "W2", "D1", "D2", "W3"):
        inputs = parts[name].shape[1]
        _uniform(parts[name], 1 / inputs if name == "W1" else math.sqrt(6 / inputs) / 25, generator)
    _kaiming(parts["M1"], 1.0, generator)
    _kaiming(parts["M2"], 0.25, generator)
    for bias, matrix in zip(("b1", "b2", "c1", "c2", "e1", "e2", "b3"),
                            ("W1", "W2", "M1", "M2", "D1", "D2", "W3"), strict=True):  # fmt: skip
        _uniform(parts[bias], 1 / math.sqrt(parts[matrix].shape[1]), generator)
    return flat


def film_code_init(layout: FilmCodeLayout, generator: torch.Generator) -> Tensor:
    """Return fresh weights of the code networks, float32 [layout.size].

    The light's mapping as in ``film_shader_init``; the exposure's by PyTorch's default, everything
    uniform in +-1 / sqrt(inputs).
    """
    flat = torch.empty(layout.size)
    parts = layout.unpack(flat)
    _kaiming(parts["light_W1"], 1.0, generator)
    _kaiming(parts["light_W2"], 0.25, generator)
    for layer in ("light_{}1", "light_{}2", "exposure_{}1", "exposure_{}2"):
        matrix, bias = parts[layer.format("W")], parts[layer.format("b")]
        bound = 1 / math.sqrt(matrix.shape[1])
        _uniform(bias, bound, generator)
        if layer.startswith("exposure"):
            _uniform(matrix, bound, generator)
    return flat


def film_codes_init(rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Return fresh codes, float32 [rows, width]: normal with deviation 0.1, norm at most 1."""
    return limit_code_norm(0.1 * torch.randn(rows, width, generator=generator))


def limit_code_norm(codes: Tensor) -> Tensor:
    """Return codes [rows, width] with rows longer than 1 scaled to length 1."""
    return codes / codes.norm(dim=1, keepdim=True).clamp(min=1)


def _uniform(part: Tensor, bound: float, generator: torch.Generator) -> None:
    part.uniform_(-bound, bound, generator=generator)


def _kaiming(part: Tensor, factor: float, generator: torch.Generator) -> None:
    gain = math.sqrt(2 / (1 + FILM_LEAKY_SLOPE**2))
    part.normal_(0, gain / math.sqrt(part.shape[1]), generator=generator).mul_(factor)

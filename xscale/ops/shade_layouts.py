"""Layouts of the two shaders' weights, and the values that training starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from xscale.errors import ShapeError

FILM_LEAKY_SLOPE = 0.2


class WeightLayout:
    """Where each matrix of a network lies in its flat weight vector; subclasses give ``shapes``."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part, in the order of the flat vector."""
        return {}

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """Return each part as a view of ``flat`` [size], by name."""
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


@dataclass(frozen=True)
class ShaderLayout(WeightLayout):
    """Sizes that both shaders have; which of the two a layout belongs to decides ``shade``."""

    features: int
    """Numbers a surface point has; a multiple of 4 up to 256."""
    hidden: int = 64
    """Width of every hidden layer; a multiple of 16 up to 128."""
    op: ClassVar[str]
    """Row of the op table."""
    kind: ClassVar[int]
    """Number of the shader in the fused ops."""
    sh_degree: ClassVar[int]
    """Bands of spherical harmonics of the view direction that the shader takes; 0: none."""

    def __post_init__(self) -> None:
        if self.features % 4 or not 4 <= self.features <= 256:
            raise ShapeError(
                f"{self.op}: features must be a multiple of 4 up to 256, got {self.features}"
            )
        if self.hidden % 16 or not 16 <= self.hidden <= 128:
            raise ShapeError(
                f"{self.op}: hidden must be a multiple of 16 up to 128, got {self.hidden}"
            )

    @property
    def exposure_size(self) -> int:
        """Numbers of a photo's row of the exposure table; subclasses give it."""
        return 0


@dataclass(frozen=True)
class ReluShaderLayout(ShaderLayout):
    """Where each matrix of the ReLU shader lies in its flat weight vector.

    In this order, each row major: ``W1`` [hidden, features], ``b1`` [hidden],
    ``W2`` [hidden, hidden + sh_degree^2], ``b2`` [hidden], ``W3`` [3, hidden], ``b3`` [3].
    """

    op: ClassVar[str] = "shade_relu"
    kind: ClassVar[int] = 0

    sh_degree: int = 4
    """Bands of spherical harmonics of the view direction, 1 to 4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.sh_degree <= 4:
            raise ShapeError(f"{self.op}: sh_degree must be 1 to 4, got {self.sh_degree}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part, in the order of the flat vector."""
        return {
            "W1": (self.hidden, self.features),
            "b1": (self.hidden,),
            "W2": (self.hidden, self.hidden + self.sh_degree**2),
            "b2": (self.hidden,),
            "W3": (3, self.hidden),
            "b3": (3,),
        }

    @property
    def exposure_size(self) -> int:
        """Numbers of a photo's exposure: an affine transform [3, 4] of linear light."""
        return 12


@dataclass(frozen=True)
class FilmShaderLayout(ShaderLayout):
    """Where each matrix of the FiLM shader lies in its flat weight vector.

    In this order, each row major: the feature layers ``W1`` [hidden, features], ``b1``,
    ``W2`` [hidden, hidden], ``b2``; the mapping ``M1`` [hidden, hidden], ``c1``,
    ``M2`` [4 hidden, hidden], ``c2``; the direction layers ``D1`` [hidden, 3], ``e1``,
    ``D2`` [hidden, hidden], ``e2``; the colour ``W3`` [3, hidden], ``b3``.
    """

    op: ClassVar[str] = "shade_film"
    kind: ClassVar[int] = 1
    sh_degree: ClassVar[int] = 0

    features: int = 128

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

    @property
    def exposure_size(self) -> int:
        """Numbers of a photo's exposure: a shift and a log scale of the feature layers' output."""
        return 2 * self.hidden


def relu_shader_init(layout: ReluShaderLayout, generator: torch.Generator | None = None) -> Tensor:
    """Return fresh weights, float32 [layout.size]: He-uniform matrices, zero biases."""
    flat = torch.zeros(layout.size)
    for part in layout.unpack(flat).values():
        if part.dim() == 2:
            uniform(part, math.sqrt(6 / part.shape[1]), generator)
    return flat


def identity_exposure(photos: int) -> Tensor:
    """Return the ReLU shader's exposures that change nothing, float32 [photos, 12]."""
    return torch.eye(3, 4).reshape(1, 12).repeat(photos, 1)


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
        uniform(parts[name], 1 / inputs if name == "W1" else math.sqrt(6 / inputs) / 25, generator)
    kaiming(parts["M1"], 1.0, generator)
    kaiming(parts["M2"], 0.25, generator)
    for bias, matrix in zip(("b1", "b2", "c1", "c2", "e1", "e2", "b3"),
                            ("W1", "W2", "M1", "M2", "D1", "D2", "W3"), strict=True):  # fmt: skip
        uniform(parts[bias], 1 / math.sqrt(parts[matrix].shape[1]), generator)
    return flat


def uniform(part: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill ``part`` with uniform values in +-bound."""
    part.uniform_(-bound, bound, generator=generator)


def kaiming(part: Tensor, factor: float, generator: torch.Generator) -> None:
    """Fill ``part`` [outputs, inputs] by Kaiming's rule for leaky ReLU, times ``factor``."""
    """Fill ``part`` [outputs, inputs] by Kaiming's rule for leaky ReLU, times ``factor``."""
    gain = math.sqrt(2 / (1 + FILM_LEAKY_SLOPE**2))
    part.normal_(0, gain / math.sqrt(part.shape[1]), generator=generator).mul_(factor)

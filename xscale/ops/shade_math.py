"""Mathematics that both shaders share: harmonics, sRGB curve, losses, gradients.

These are the references of csrc/shade/math.h: plain, differentiable, any float dtype.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xscale.errors import UsageError

LOSSES = ("given", "l1", "charbonnier", "l2")
"""Kinds of loss in the order of csrc/shade/math.h; "given" is a gradient from outside."""

CHARBONNIER_EPSILON = 1e-3


def spherical_harmonics(direction: Tensor, degree: int = 4) -> Tensor:
    """Real spherical harmonics of unit directions, signs and order as in tiny-cuda-nn.

    Args:
        direction: [N, 3], unit.
        degree: 1 to 4; bands 0 to degree - 1.

    Returns:
        [N, degree * degree].
    """
    x, y, z = direction.unbind(-1)
    x2, y2, z2 = x * x, y * y, z * z
    values = [
        torch.full_like(x, 0.28209479177387814),
        -0.48860251190291987 * y,
        0.48860251190291987 * z,
        -0.48860251190291987 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.94617469575755997 * z2 - 0.31539156525251999,
        -1.0925484305920792 * x * z,
        0.54627421529603959 * (x2 - y2),
        0.59004358992664352 * y * (y2 - 3 * x2),
        2.8906114426405538 * x * y * z,
        0.45704579946446572 * y * (1 - 5 * z2),
        0.3731763325901154 * z * (5 * z2 - 3),
        0.45704579946446572 * x * (1 - 5 * z2),
        1.4453057213202769 * z * (x2 - y2),
        0.59004358992664352 * x * (3 * y2 - x2),
    ]
    return torch.stack(values[: degree * degree], dim=-1)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """SRGB of linear light; below 0 the linear piece goes on, above 1 the tangent at 1.

    Colours are clamped when pixels are written, not here, so that gradients never die.
    """
    inside = linear.clamp(0.0031308, 1.0)
    curve = 1.055 * inside ** (1 / 2.4) - 0.055
    tangent = 1 + (1.055 / 2.4) * (linear - 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, torch.where(linear > 1, tangent, curve))


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Linear light of sRGB from 0 to 1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def shade_loss(rgb: Tensor, target: Tensor, kind: str) -> Tensor:
    """Loss of each ray, the mean over its channels.

    Args:
        rgb: [N, 3].
        target: [N, 3] of the same unit as ``rgb``, or uint8 where 255 is 1.
        kind: "l1", "l2" (the square) or "charbonnier" (sqrt(d^2 + 1e-6) - 1e-3).

    Returns:
        [N].
    """
    if target.dtype == torch.uint8:
        target = target.to(rgb.dtype) / 255
    difference = rgb - target
    if kind == "l1":
        loss = difference.abs()
    elif kind == "charbonnier":
        loss = (difference**2 + CHARBONNIER_EPSILON**2).sqrt() - CHARBONNIER_EPSILON
    else:
        loss = difference**2
    return loss.mean(dim=-1)


def check_loss(op: str, loss: str) -> int:
    """Return the number of a loss in the compiled bodies.

    Raises:
        UsageError: There is no such loss.
    """
    if loss not in LOSSES[1:]:
        raise UsageError(f"{op}: loss {loss!r} is not one of {', '.join(LOSSES[1:])}")
    return LOSSES.index(loss)


def leaves_of(*tensors: Tensor | None) -> list[Tensor | None]:
    """Return copies without history that require gradients; None stays."""
    return [None if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]


def gradients_of(
    output: Tensor, leaves: Sequence[Tensor | None], grad: Tensor | None
) -> list[Tensor | None]:
    """Return the gradient of ``output`` in each leaf by autograd; None stays."""
    wanted = [leaf for leaf in leaves if leaf is not None]
    grads = iter(torch.autograd.grad(output, wanted, grad, materialize_grads=True))
    return [None if leaf is None else next(grads) for leaf in leaves]


def add_gradients(grads: Sequence[Tensor | None], sums: Sequence[Tensor | None]) -> None:
    """Add each gradient to its sum, where there is one."""
    for grad, total in zip(grads, sums, strict=True):
        if grad is not None and total is not None:
            total += grad

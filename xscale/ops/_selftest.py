"""One small, fixed problem an op: how far its body is from the float64 reference.

``xscale doctor`` runs these on every backend of this machine. A row takes a device, computes the
op there (by whichever body is in force, see ``use_backend``) and again by the float64 reference
on the CPU, and returns the largest error relative to the largest magnitude of the result. It is
compared with the op's ``float32_tolerance``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale.ops.adam import adam, adam_reference

SelfTest = Callable[[torch.device], float]


def relative_error(ours: Tensor, exact: Tensor) -> float:
    """Return the largest difference, relative to the largest magnitude of ``exact``."""
    scale = exact.double().abs().max().clamp(min=1e-30)
    error = (ours.detach().cpu().double() - exact.detach().double()).abs().max() / scale
    return float(error)


def _adam(device: torch.device) -> float:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(4, 4099, 2, generator=generator)
    draw[1, ::3] = 0  # rows that must stay as they are
    draw[3].abs_()
    steps = torch.arange(4099, dtype=torch.int32).to(torch.uint16)
    settings = {"learning_rate": 0.01, "betas": (0.9, 0.99), "epsilon": 1e-15, "clear_grad": True}
    ours = [part.clone().to(device) for part in draw]
    adam(*ours, steps=steps.clone().to(device), **settings)
    exact = [part.double() for part in draw]
    adam_reference(*exact, steps=steps.clone(), touched=None, step=1, **settings)
    return max(relative_error(a, b) for a, b in zip(ours, exact, strict=True))


SELF_TESTS: dict[str, SelfTest] = {
    "adam": _adam,
}

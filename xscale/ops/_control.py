"""Numbers that steps on a device read and write without their host (csrc/adam/control.h)."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops._check import check_tensor

FIELDS = (
    "rate", "step", "moves", "scale", "used", "good", "steps", "loss", "error", "bad", "overflows",
)  # fmt: skip
"""Names of the places of a control, in the order of the kernels' enum."""
FIRST_SCALE = 65536.0


def step_control(device: torch.device | str = "cpu") -> Tensor:
    """Return a control, float64 [11]: full rate, the first step, no step counted.

    ``rate`` and ``step`` are for the caller to write before a step; ``moves`` says afterwards
    whether anything moved. ``steps``, ``loss`` and ``error`` add up over the steps that did;
    ``bad`` and ``overflows`` count the others; ``overflows`` also counts, one step later, steps in
    which single rows did not move because their gradient left the half floats. ``scale`` is the
    factor of gradients on their way through half floats: halved by an overflow, doubled after 2000
    steps without one.
    """
    control = torch.zeros(len(FIELDS), dtype=torch.float64)
    control[:5] = torch.tensor([1.0, 1.0, 1.0, FIRST_SCALE, FIRST_SCALE], dtype=torch.float64)
    return control.to(device)


def decide(control: Tensor, loss: Tensor, error: Tensor) -> None:
    """Say whether a step with these means moves and count it, as ``fused_step`` does by itself.

    Nothing waits for the device.

    Args:
        control: See ``step_control``.
        loss: 0-dimensional, the step's mean loss.
        error: 0-dimensional, its mean squared error.
    """
    means = torch.stack([loss.double(), error.double()]).to(control.device, non_blocking=True)
    one = torch.isfinite(means).all().to(control.dtype)
    moved = torch.cat([one[None], means.nan_to_num(0.0, 0.0, 0.0) * one])
    control[2] = one
    control[6:9] += moved
    control[9] += 1 - one


def check_control(op: str, control: Tensor | None, device: torch.device) -> None:
    """Raise ShapeError where ``control`` is neither None nor what ``step_control`` makes."""
    if control is not None:
        check_tensor(op, "control", control, (len(FIELDS),), (torch.float64,), device)

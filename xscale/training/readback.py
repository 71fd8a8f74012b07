"""Asynchronous loss read-back: step losses of a device, available 16 to 32 steps late.

The host prepares the next steps while the device runs the earlier ones, and never waits for a loss.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xscale import ops

READ_EVERY = 16
"""Steps between two snapshots of a device's losses."""


class StepLosses(NamedTuple):
    """Losses of some steps together."""

    steps: int
    """Steps that moved something."""
    loss: float
    """Their mean loss; nan where there were none."""
    squared_error: float
    """Their mean squared error; likewise."""
    bad: int = 0
    """Steps since the start whose loss was no finite number: nothing moved."""
    overflows: int = 0
    """Steps since the start whose gradients left the half floats: nothing moved."""


class LossReadback:
    """Reads the losses of a device's steps from its control block, late and without a wait.

    The host never runs further ahead of the device than twice ``READ_EVERY`` steps.

    Args:
        device: Where the steps run.
    """

    def __init__(self, device: torch.device) -> None:
        self.control = ops.step_control(device)
        """See ``ops.step_control``."""
        self._on_gpu = device.type == "cuda"
        self._taken = 0
        self._pending: tuple[Tensor, torch.cuda.Event | None] | None = None
        self._seen = dict.fromkeys(ops.CONTROL_FIELDS, 0.0)

    def begin(self, rate: float, step: int) -> None:
        """Give the next step its share of the learning rates and its number, from 1."""
        numbers = torch.tensor([rate, step], dtype=torch.float64)
        self.control[:2].copy_(numbers.pin_memory() if self._on_gpu else numbers, non_blocking=True)

    def after(self) -> StepLosses | None:
        """Return what has become known by a step's end, if anything has.

        The first step is waited for: people wait for its loss, and kernels that do not run say so.
        """
        self._taken += 1
        if self._taken == 1:
            return self.read()
        if self._taken % READ_EVERY:
            return None
        before, self._pending = self._pending, self._snapshot()
        return None if before is None else self._look(*before)

    def read(self) -> StepLosses:
        """Wait for the device, and return what is known then."""
        self._pending = None
        return self._look(*self._snapshot())

    def _snapshot(self) -> tuple[Tensor, torch.cuda.Event | None]:
        copy = torch.empty(len(self.control), dtype=torch.float64, pin_memory=self._on_gpu)
        copy.copy_(self.control, non_blocking=True)
        event = None
        if self._on_gpu:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self.control.device))
        return copy, event

    def _look(self, copy: Tensor, event: torch.cuda.Event | None) -> StepLosses:
        if event is not None:
            event.synchronize()
        now = dict(zip(ops.CONTROL_FIELDS, copy.tolist(), strict=True))
        new = {name: now[name] - self._seen[name] for name in ("steps", "loss", "error")}
        self._seen = now
        steps = round(new["steps"])
        loss, error = (new[name] / steps if steps else float("nan") for name in ("loss", "error"))
        return StepLosses(steps, loss, error, round(now["bad"]), round(now["overflows"]))

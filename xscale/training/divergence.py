"""Divergence: steps without a finite loss are skipped; too many of them end a stretch of training.

The ladder is that of large trainings: skip the step; after more than ``MOST_OF_RECENT`` skips
within ``RECENT`` steps go back to the newest checkpoint, with half the learning rates and other
rays (``training.session``); at the third time stop.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from xscale.errors import IntegrityError, NumericsError
from xscale.io.checkpoints import Checkpoint
from xscale.training.readback import StepLosses

RECENT = 1000
MOST_OF_RECENT = 10
MOST_RETURNS = 2
"""Returns to a checkpoint before a training stops."""
RATE_FACTOR = 0.5
"""Factor of the learning rates at each return."""

_FALL = 6.0
_FALL_STEPS = 500
_STALL_STEPS = 500
_STALL_GAIN = 0.5
_ADVICE = "lower --set optim.table_rate; metrics.jsonl and diverged.json say where it began"


class DivergedError(NumericsError):
    """A stretch of training that cannot go on; an earlier checkpoint may."""


class StepWatch:
    """Counts the steps that moved nothing, and watches how well the pictures fit.

    Args:
        say: Called with a coded line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._bad = 0
        self._recent: deque[tuple[int, int]] = deque()
        self._best = -np.inf
        self._fallen_since: int | None = None
        self._start: tuple[int, float] | None = None
        self._told: set[str] = set()

    @property
    def skipped(self) -> int:
        """Steps whose loss was not finite."""
        return self._bad

    def add(self, found: StepLosses | None, step: int) -> None:
        """Take in what has become known by a step.

        Args:
            found: As of ``Trainer.train_step``.
            step: Steps taken by now.

        Raises:
            DivergedError: Too many steps had no finite loss.
        """
        if found is None:
            return
        new, self._bad = found.bad - self._bad, found.bad
        if not new:
            return
        self._once(
            "bad", f"W-NUMERICS: the loss is not finite at step {step}: such steps are skipped"
        )
        self._recent.append((step, new))
        while self._recent[0][0] <= step - RECENT:
            self._recent.popleft()
        if sum(count for _, count in self._recent) > MOST_OF_RECENT:
            raise DivergedError(
                f"the loss is not finite at more than {MOST_OF_RECENT} of {RECENT} steps, up to "
                f"step {step}"
            )

    def look(self, step: int, psnr: float) -> None:
        """Warn of a fit that falls for long, or that never begins to rise.

        Args:
            step: Steps taken by now.
            psnr: Mean over the last steps, in dB.
        """
        if not np.isfinite(psnr):
            return
        first, before = self._start = self._start or (step, psnr)
        if step - first >= _STALL_STEPS:
            if self._best < before + _STALL_GAIN and psnr < before + _STALL_GAIN:
                self._once(
                    "stall",
                    f"W-STALL: after {step - first} steps the pictures fit no better than at the "
                    "start: camera poses, masks or the mesh may be of another scene",
                )
            self._told.add("stall")
        self._best = max(self._best, psnr)
        if psnr > self._best - _FALL:
            self._fallen_since = None
            return
        since = self._fallen_since = self._fallen_since or step
        if step - since >= _FALL_STEPS:
            self._once(
                "fall",
                f"W-DIVERGE: the fit is {_FALL:g} dB below its best for {step - since} steps: "
                "lower --set optim.table_rate",
            )

    def _once(self, kind: str, line: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._say(line)


def returns_of(checkpoint: Checkpoint) -> int:
    """Return how often a training had gone back to a checkpoint before it wrote this one.

    Raises:
        IntegrityError: The checkpoint's number makes no sense.
    """
    returns = checkpoint.state.get("returns", 0)
    if type(returns) is not int or not 0 <= returns <= MOST_RETURNS:
        raise IntegrityError(f"its state has returns {returns!r}", where="checkpoint")
    return returns


def stopped_for_good(error: NumericsError, returns: int) -> NumericsError:
    """Return the error that ends a training after its last return."""
    return NumericsError(f"{error.what}, also after {returns} returns", advice=_ADVICE)


def report_of(
    error: NumericsError, step: int, tensors: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """Return what helps to find the reason, as JSON values: each tensor's range.

    Args:
        error: Why the training cannot go on.
        step: Steps taken.
        tensors: State of the training, by name.
    """
    ranges = {}
    for name, array in tensors.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        finite = np.isfinite(array)
        good = array[finite]
        ranges[name] = {
            "least": float(good.min()) if good.size else None,
            "greatest": float(good.max()) if good.size else None,
            "not_finite": int(array.size - finite.sum()),
        }
    return json.loads(json.dumps({"step": step, "what": error.what, "tensors": ranges}))

"""The state of a training, and one step after the other.

What a step does is in ``training.steps``. On a GPU nobody waits for a step: rates, losses and
whether anything moves are in its memory, and read some steps later (``training.readback``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xscale.errors import ResourceError
from xscale.model.model import Model
from xscale.training.jitter import Jitter
from xscale.training.optimizer import Optimizer, saved_tensors
from xscale.training.pool import TilePool
from xscale.training.rays import Rays
from xscale.training.readback import LossReadback, StepLosses
from xscale.training.settings import OptimSettings, PatchSettings
from xscale.training.steps import Parts, choose_kinds, choose_steps, is_finite


class Trainer:
    """Model, optimizer state and pool; everything that a checkpoint must hold passes through here.

    Args:
        model: What is trained.
        pool: Where rays come from.
        cameras: Float64 [P, 32], packed cameras of the training photos.
        settings: Optimizer settings.
        patch: Settings of the last stage; None: there is none.
        jitter: Moves the rays of the usual steps; None leaves them at their pixels' centres.
        deterministic: Whether a GPU's steps must repeat to the last bit; the CPU's always do.
        on_notice: Called with one line when the batch had to be halved, or when a GPU's steps
            cannot be what the settings ask for.
        queued: Whether steps are not waited for; by default where they run on a GPU.

    Raises:
        SetupError: The last stage needs a network whose weights are missing.
    """

    def __init__(
        self,
        model: Model,
        pool: TilePool,
        cameras: Tensor,
        settings: OptimSettings,
        patch: PatchSettings | None = None,
        *,
        jitter: Jitter | None = None,
        deterministic: bool = False,
        on_notice: Callable[[str], None] | None = None,
        queued: bool | None = None,
    ) -> None:
        self.batch = settings.batch
        """Rays a step; half of the setting's from when the device ran out of memory."""
        self.step = 0
        self.rate_factor = 1.0
        """Factor of all learning rates; below 1 after a return to a checkpoint."""
        self._bad = 0
        self.kept_beside: Callable[[], dict[str, Tensor]] = dict
        """Gives tensors of others that checkpoints keep too."""
        self._on_notice = on_notice or (lambda line: None)
        self._patch = patch or PatchSettings()
        self._jitter = jitter
        device = model.field.table.device
        kinds = choose_kinds(
            settings,
            self._patch,
            device,
            model.settings,
            deterministic=deterministic,
            queued=queued,
        )
        if settings.precision == "mixed" and not kinds.mixed:
            self._on_notice("W-PRECISION: optim.precision=mixed is a GPU's: this is in float32")
        self._readback = LossReadback(device) if kinds.queued else None
        self._parts = Parts(
            model=model,
            pool=pool,
            cameras=cameras,
            settings=settings,
            optimizer=Optimizer(model, settings, kinds.gradient),
            kinds=kinds,
            control=None if self._readback is None else self._readback.control,
        )
        self._usual, self._last = choose_steps(self._parts, self._patch, self._on_notice)

    @property
    def model(self) -> Model:
        """The model that is trained."""
        return self._parts.model

    @property
    def pool(self) -> TilePool:
        """Where rays come from."""
        return self._parts.pool

    @property
    def cameras(self) -> Tensor:
        """Float64 [P, 32], packed cameras of the training photos."""
        return self._parts.cameras

    @property
    def settings(self) -> OptimSettings:
        """The optimizer's settings."""
        return self._parts.settings

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time went, by part of a step."""
        return self._parts.seconds

    def train_step(self, progress: float) -> StepLosses | None:
        """Take one step, or launch it where it is a device's.

        Args:
            progress: Share of the training done, 0 to 1, for the learning rates.

        Returns:
            Mean loss and mean squared error of the batch; on a GPU those of earlier steps, or None
            where none have become known since the last call. A step whose loss is not finite moves
            nothing and is counted.

        A device that runs out of memory gets half the rays from then on, once.

        Raises:
            ResourceError: Half the rays do not fit either.
        """
        while True:
            try:
                found = self._take_step(progress)
                break
            except torch.OutOfMemoryError as error:
                # Nothing has changed: memory runs out where a step's arrays are made, before sums.
                self._halve_batch(error)
        if self._readback is not None:
            found = self._readback.after()
        return found

    def finish(self) -> StepLosses | None:
        """Wait for all steps; return what was not known before, as ``train_step`` does."""
        return None if self._readback is None else self._readback.read()

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        where = self.model.device
        if self.batch < self.settings.batch:
            raise ResourceError(
                f"{self.batch} rays a step, half of optim.batch, do not fit into the memory of "
                f"{where}",
                advice="a smaller --set model.grid.log2_table_size makes room",
            ) from error
        self._usual.forget()
        if where.type == "cuda":
            torch.cuda.empty_cache()
        self.batch = max(self.batch // 2, 1)
        self._on_notice(
            f"W-MEMORY: {where} ran out of memory: {self.batch} rays a step from now on instead "
            "of optim.batch"
        )

    def _take_step(self, progress: float) -> StepLosses | None:
        last = self._last is not None and progress >= 1 - self._patch.share
        kind = self._last if last else self._usual
        with self._parts.timed("draw"):
            drawn = kind.draw(self.step, self.batch).to(self.model.device)
            if self._jitter is not None and isinstance(drawn, Rays):
                drawn = self._jitter(drawn, self.step)
        rate = self.rate_factor * self.settings.rate(progress)
        rate *= self._patch.rate if last else 1.0
        if self._readback is not None:
            self._readback.begin(rate, self.step + 1)
            rate = 1.0  # the device multiplies by its own
        means = kind.take(drawn, self.step, rate)
        self.step += 1
        if self._readback is not None:
            return None
        if not is_finite(means[0]):
            self._bad += 1
            return StepLosses(0, math.nan, math.nan, bad=self._bad)
        return StepLosses(1, *means, bad=self._bad)

    def state(self, *, copy: bool = True) -> dict[str, np.ndarray]:
        """Return every tensor that the next step depends on.

        Args:
            copy: Whether steps are still to come: they change what is not a copy.
        """
        self.finish()
        tensors = {**self.model.tensors(), **self._parts.optimizer.tensors(), **self.kept_beside()}
        arrays = {name: t.cpu().numpy() for name, t in tensors.items()}
        return {name: a.copy() for name, a in arrays.items()} if copy else arrays

    def state_bytes(self) -> int:
        """Return the size of ``state``."""
        tensors = {**self.model.tensors(), **self._parts.optimizer.tensors(), **self.kept_beside()}
        return sum(t.numel() * t.element_size() for t in tensors.values())

    def load(self, step: int, tensors: dict[str, np.ndarray]) -> None:
        """Take up where ``state`` was saved.

        Raises:
            IntegrityError: A tensor is missing or does not fit.
        """
        saved = saved_tensors(tensors)
        self.model.load(saved)
        self._parts.optimizer.load(saved)
        self.step = step

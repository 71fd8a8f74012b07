"""One training step and the state it changes: draw, encode, shade, loss, backward, Adam."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.errors import IntegrityError, NumericsError
from xscale.gbuffer.build import surface_samples
from xscale.model.model import Model
from xscale.train.memory import row_numbers
from xscale.train.pool import TilePool
from xscale.train.settings import OptimSettings


class Trainer:
    """Model, optimizer state and pool; everything that a checkpoint must hold passes through here.

    Args:
        model: What is trained.
        pool: Where rays come from.
        cameras: Float64 [P, 32], packed cameras of the training photos.
        settings: Optimizer settings.
    """

    def __init__(
        self, model: Model, pool: TilePool, cameras: Tensor, settings: OptimSettings
    ) -> None:
        self.model = model
        self.pool = pool
        self.cameras = cameras
        self.settings = settings
        self.step = 0
        table = model.field.table
        self._touched = torch.zeros((len(table) + 7) // 8, dtype=torch.uint8, device=table.device)
        self._moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p))
            for name, p in model.tensors().items()
            if p is not table
        }
        self._grad_table, first, second, self._row_steps = _row_state(table, settings.dense_table)
        self._moments["field.table"] = first, second
        self.seconds: dict[str, float] = defaultdict(float)

    def train_step(self, progress: float) -> tuple[float, float]:
        """Take one step.

        Args:
            progress: Share of the training done, 0 to 1, for the learning rates.

        Returns:
            Mean loss and mean squared error of the batch.

        Raises:
            NumericsError: The loss is not finite.
        """
        settings, field, shader = self.settings, self.model.field, self.model.shader
        with self._timed("draw"):
            rays = self.pool.draw(self.step, settings.batch)
            target = rays.target.float() / self.model.settings.photo_range
        with self._timed("interpolate"):
            samples = surface_samples(
                self.pool.surface, self.cameras, rays.photo, rays.pixel, rays.face_id
            )
        with self._timed("encode"):
            features = field.encode(samples.position, samples.footprint)
        with self._timed("shade"):
            colour, ray_loss, grad_features, grads = shader.train(
                features, samples.direction, rays.photo, target, settings.loss
            )
            shader.regularise(grads, settings.exposure_prior)
        loss = float(ray_loss.mean())
        if not math.isfinite(loss):
            raise NumericsError(
                f"the loss is {loss} at step {self.step}",
                advice="lower --set optim.table_rate, and resume from the last checkpoint",
            )
        with self._timed("encode backward"):
            field.backward(
                grad_features, samples.position, samples.footprint, self._grad_table, self._touched
            )
        with self._timed("adam"):
            self.step += 1
            self._update(grads, self._rate(progress))
        return loss, float((colour - target).square_().mean())

    def _rate(self, progress: float) -> float:
        """Share of the peak rates: linear warm-up, then a cosine."""
        s = self.settings
        if progress < s.warmup:
            return max(progress / s.warmup, 0.01)
        along = (min(progress, 1.0) - s.warmup) / (1 - s.warmup)
        return s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * along))

    def _update(self, grads: dict[str, Tensor], rate: float) -> None:
        s = self.settings
        betas = (s.beta1, s.beta2)
        first, second = self._moments["field.table"]
        ops.adam(
            self.model.field.table,
            self._grad_table,
            first,
            second,
            steps=None if s.dense_table else self._row_steps,
            touched=None if s.dense_table else self._touched,
            step=self.step,
            learning_rate=s.table_rate * rate,
            betas=betas,
            epsilon=s.table_epsilon,
        )
        self._touched.zero_()
        parameters = self.model.shader.parameters()
        for name, grad in grads.items():
            first, second = self._moments[name]
            ops.adam(
                _rows(parameters[name]),
                _rows(grad),
                _rows(first),
                _rows(second),
                step=self.step,
                learning_rate=rate
                * (s.exposure_rate if name == "shader.exposure" else s.shader_rate),
                betas=betas,
                epsilon=1e-8,
            )
        self.model.shader.settle()

    def state(self) -> dict[str, np.ndarray]:
        """Return every tensor that the next step depends on, copied."""
        tensors = {name: t.cpu().numpy().copy() for name, t in self.model.tensors().items()}
        for name, (first, second) in self._moments.items():
            tensors[f"adam.first.{name}"] = first.cpu().numpy().copy()
            tensors[f"adam.second.{name}"] = second.cpu().numpy().copy()
        tensors["adam.row_steps"] = self._row_steps.cpu().numpy().copy()
        return tensors

    def load(self, step: int, tensors: dict[str, np.ndarray]) -> None:
        """Take up where ``state`` was saved.

        Raises:
            IntegrityError: A tensor is missing or does not fit.
        """
        saved = {name: torch.from_numpy(array) for name, array in tensors.items()}
        self.model.load(saved)
        try:
            for name, (first, second) in self._moments.items():
                first.copy_(saved[f"adam.first.{name}"])
                second.copy_(saved[f"adam.second.{name}"])
            self._row_steps.copy_(saved["adam.row_steps"])
        except (KeyError, RuntimeError) as error:
            raise IntegrityError(f"the optimizer's state does not fit: {error}") from error
        self.step = step

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


def _row_state(table: Tensor, dense: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make gradient, moments and step counts of a table's rows.

    Under the lazy rule they are columns of one array, so that what belongs to a row lies in one
    cache line: rows are visited at random. The dense rule streams, and counts steps only once.
    """
    rows, width = table.shape
    if dense:
        steps = torch.zeros(0, dtype=torch.uint16, device=table.device)
        return *(torch.zeros_like(table) for _ in range(3)), steps
    state = torch.zeros(rows, row_numbers(width, dense), device=table.device)
    grad, first, second = (state[:, i * width : (i + 1) * width] for i in range(3))
    return grad, first, second, state.view(torch.uint16)[:, 6 * width]


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.dim() == 2 else tensor[:, None]

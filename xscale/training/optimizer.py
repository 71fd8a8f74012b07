"""Adam for the table and the shader: moments, counts of steps, and one update of each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.errors import IntegrityError
from xscale.model.model import Model
from xscale.training.settings import OptimSettings

_OF_PHOTOS = ("shader.exposure", "shader.latent")


class Optimizer:
    """The state of Adam beside a model's parameters, and the updates by it.

    Args:
        model: What is trained.
        settings: Rates and decays.
        gradient: Type of the sums of the table's gradients; None where the step needs no such
            table.
    """

    def __init__(self, model: Model, settings: OptimSettings, gradient: torch.dtype | None) -> None:
        self._model = model
        self._settings = settings
        self._moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p))
            for name, p in model.shader.parameters().items()
        }
        table = model.field.table
        rows, width = table.shape  # both moments of a row in one cache line: visits are random
        state = ops.table_zeros((rows, 2 * width), device=table.device)
        self.table_moments = state[:, :width], state[:, width:]
        """First and second moments of the table's rows."""
        self._moments["field.table"] = self.table_moments
        counted = 0 if settings.dense_table else rows
        self.row_steps = ops.table_zeros((counted,), torch.uint16, table.device)
        """Steps that each row of the table has taken; empty where all move at every step."""
        self.gradient = self.touched = None
        if gradient is not None:
            self.gradient = ops.table_zeros(table.shape, gradient, table.device)
            self.touched = ops.touched_bits(rows, table.device)

    def update_table(self, step: int, rate: float, control: Tensor | None) -> None:
        """Move the table by its gradients, which are then zero again.

        Args:
            step: Number of the step, from 1.
            rate: Share of the peak learning rates.
            control: See ``ops.step_control``; None on the CPU.
        """
        s = self._settings
        first, second = self.table_moments
        ops.adam(
            self._model.field.table,
            self.gradient,
            first,
            second,
            steps=None if s.dense_table else self.row_steps,
            touched=None if s.dense_table else self.touched,
            step=step,
            learning_rate=s.table_rate * rate,
            betas=(s.beta1, s.beta2),
            epsilon=s.table_epsilon,
            control=control,
        )
        self.touched.zero_()

    def update_shader(
        self,
        grads: dict[str, Tensor],
        step: int,
        rate: float,
        squared_error: float | Tensor,
        control: Tensor | None,
    ) -> None:
        """Move the shader by its gradients; the other arguments are those of ``update_table``."""
        s = self._settings
        parameters = self._model.shader.parameters()
        for name, grad in grads.items():
            first, second = self._moments[name]
            ops.adam(
                _rows(parameters[name]),
                _rows(grad),
                _rows(first),
                _rows(second),
                step=step,
                learning_rate=rate * (s.exposure_rate if name in _OF_PHOTOS else s.shader_rate),
                betas=(s.beta1, s.beta2),
                epsilon=1e-8,
                control=control,
            )
        self._model.shader.after_step(direction_decay(s, squared_error, control))

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, by the names that checkpoints give it."""
        tensors = {}
        for name, (first, second) in self._moments.items():
            tensors[f"adam.first.{name}"] = first
            tensors[f"adam.second.{name}"] = second
        tensors["adam.row_steps"] = self.row_steps
        return tensors

    def load(self, saved: dict[str, Tensor]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            IntegrityError: A tensor is missing or does not fit.
        """
        try:
            for name, tensor in self.tensors().items():
                tensor.copy_(saved[name])
        except (KeyError, RuntimeError) as error:
            raise IntegrityError(f"the optimizer's state does not fit: {error}") from error


def direction_decay(
    settings: OptimSettings, squared_error: float | Tensor, control: Tensor | None
) -> float | Tensor:
    """Return the share that the weights of the view direction lose at a step.

    Args:
        settings: Names the largest share, and the error from which on it is taken.
        squared_error: The step's mean.
        control: That of a device's steps (``ops.step_control``): the result is then a number there,
            0 where nothing moves.
    """
    if settings.direction_decay == 0:
        return 0.0
    if control is None:
        return settings.direction_decay * min(squared_error / settings.direction_error, 1.0) ** 3
    error = torch.as_tensor(squared_error).to(control.device, non_blocking=True)
    share = (error / settings.direction_error).clamp(max=1.0) ** 3
    return share.nan_to_num(0.0) * (settings.direction_decay * control[2])


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.dim() == 2 else tensor[:, None]


def saved_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return a checkpoint's arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}

"""One training step and the state it changes.

Under the lazy rule ``fused_step`` takes it; the chain of single ops (interpolate, encode, shade,
encode backward, adam) is for everything else and the last stage's squares, and tests compare.

On a GPU nobody waits for a step: rates, losses and whether anything moves are in its memory, looked
at some steps later (``training.losses``). Fused steps are recorded and replayed
(``training.graph``).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.errors import IntegrityError, NumericsError, ResourceError
from xscale.gbuffer.build import surface_samples
from xscale.gbuffer.gbuffer import GBuffer
from xscale.model.model import Model
from xscale.model.settings import ModelSettings
from xscale.training.graph import StepGraph
from xscale.training.losses import LossReader, StepLosses
from xscale.training.patches import PatchLoss
from xscale.training.pool import TilePool
from xscale.training.rays import Rays, Squares
from xscale.training.robust import shade_robustly
from xscale.training.settings import OptimSettings, PatchSettings

_OF_PHOTOS = ("shader.exposure", "shader.latent")


class Trainer:
    """Model, optimizer state and pool; everything that a checkpoint must hold passes through here.

    Args:
        model: What is trained.
        pool: Where rays come from.
        cameras: Float64 [P, 32], packed cameras of the training photos.
        settings: Optimizer settings.
        patch: Settings of the last stage; None: there is none.
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
        deterministic: bool = False,
        on_notice: Callable[[str], None] | None = None,
        queued: bool | None = None,
    ) -> None:
        self.model = model
        self.pool = pool
        self.cameras = cameras
        self.settings = settings
        self.patch = patch = patch or PatchSettings()
        self._patch_loss = PatchLoss(patch, settings.loss, model.device) if patch.share else None
        self.batch = settings.batch
        """Rays a step; half of the setting's from when the device ran out of memory."""
        self.step = 0
        self.kept_beside: Callable[[], dict[str, Tensor]] = dict  # of others, in checkpoints
        self._deterministic = deterministic
        self._on_notice = on_notice or (lambda line: None)
        table = model.field.table
        self._fused = trains_fused(settings, table.device, model.settings)
        queued = table.device.type != "cpu" if queued is None else queued
        self._losses = LossReader(table.device) if queued else None
        self._control = None if self._losses is None else self._losses.control
        self._graph = None
        if queued and self._fused and settings.graph:
            # All that a recording holds; the device has its own rate.
            self._graph = StepGraph(lambda rays: self._fused_step(rays, 1.0), self._on_notice)
        self._mixed = settings.precision == "mixed" and self._fused and queued
        if settings.precision == "mixed" and not self._mixed:
            self._on_notice("W-PRECISION: optim.precision=mixed is a GPU's: this is in float32")
        self._moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p))
            for name, p in model.shader.parameters().items()
        }
        rows, width = table.shape  # both moments of a row in one cache line: visits are random
        state = ops.table_zeros((rows, 2 * width), device=table.device)
        self._moments["field.table"] = state[:, :width], state[:, width:]
        counted = 0 if settings.dense_table else rows
        self._row_steps = ops.table_zeros((counted,), torch.uint16, table.device)
        self._grad_table = self._touched = None
        if not self._fused or queued or patch.share:
            exact = self._fused and deterministic and queued
            # Half floats for the rows' gradients; squares take steps by single ops, in float32.
            half = self._mixed and not patch.share
            kind = torch.int64 if exact else torch.float16 if half else torch.float32
            self._grad_table = ops.table_zeros(table.shape, kind, table.device)
            self._touched = ops.table_zeros(((rows + 7) // 8,), torch.uint8, table.device)
        self.seconds: dict[str, float] = defaultdict(float)

    def train_step(self, progress: float) -> StepLosses | None:
        """Take one step, or launch it where it is a device's.

        Args:
            progress: Share of the training done, 0 to 1, for the learning rates.

        Returns:
            Mean loss and mean squared error of the batch; on a GPU those of earlier steps, or None
            where none have become known since the last call.

        A device that runs out of memory gets half the rays from then on, once.

        Raises:
            NumericsError: The loss is not finite; of a GPU some steps late, and nothing has moved
                since.
            ResourceError: Half the rays do not fit either.
        """
        while True:
            try:
                found = self._take_step(progress)
                break
            except torch.OutOfMemoryError as error:
                # Nothing has changed: memory runs out where a step's arrays are made, before sums.
                self._halve_batch(error)
        if self._losses is not None:
            found = self._checked(self._losses.after())
        return found

    def finish(self) -> StepLosses | None:
        """Wait for all steps; return what was not known before, as ``train_step`` does.

        Raises:
            NumericsError: The loss of a step was not finite.
        """
        return None if self._losses is None else self._checked(self._losses.read())

    def _checked(self, found: StepLosses | None) -> StepLosses | None:
        """Refuse steps that were no numbers, as soon as the device has said so."""
        if found is not None and found.bad:
            self._check_loss(math.nan)
        return found

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        where = self.model.device
        if self.batch < self.settings.batch:
            raise ResourceError(
                f"{self.batch} rays a step, half of optim.batch, do not fit into the memory of "
                f"{where}",
                advice="a smaller --set model.grid.log2_table_size makes room",
            ) from error
        if self._graph is not None:
            self._graph.forget()
        if where.type == "cuda":
            torch.cuda.empty_cache()
        self.batch = max(self.batch // 2, 1)
        self._on_notice(
            f"W-MEMORY: {where} ran out of memory: {self.batch} rays a step from now on instead "
            "of optim.batch"
        )

    def _take_step(self, progress: float) -> StepLosses | None:
        squares = self._patch_loss is not None and progress >= 1 - self.patch.share
        with self._timed("draw"):
            if squares:
                drawn = self.pool.draw_squares(self.step, self.batch, self.patch.size)
            else:
                drawn = self.pool.draw(self.step, self.batch)
            drawn = drawn.to(self.model.device)
        rate = self.settings.rate(progress) * (self.patch.rate if squares else 1.0)
        if self._losses is not None:
            self._losses.begin(rate, self.step + 1)
            rate = 1.0  # the device multiplies by its own
        if squares:
            found = self._patch_step(drawn, rate)
        elif self._graph is not None:
            found = self._graph.take(drawn)
        else:
            found = (self._fused_step if self._fused else self._chain_step)(drawn, rate)
        self.step += 1
        return None if self._losses is not None else StepLosses(1, *found)

    def _fused_step(self, rays: Rays, rate: float) -> tuple[float | Tensor, float | Tensor]:
        settings, field = self.settings, self.model.field
        queued = self._losses is not None
        shader, name = self.model.shader.step_shader()
        found = ops.fused_step(
            ops.StepRays(
                vertices=self.pool.surface.vertices,
                faces=self.pool.surface.faces,
                cameras=self.cameras,
                camera_index=rays.photo,
                pixel=rays.pixel,
                face_id=rays.face_id,
                target=rays.target,
                target_range=self.model.settings.photo_range,
            ),
            replace(
                field.step_grid(*self._moments["field.table"], self._row_steps),
                gradient=self._grad_table if queued else None,
                touched=self._touched if queued else None,
            ),
            shader,
            loss=settings.loss,
            learning_rate=settings.table_rate * rate,
            betas=(settings.beta1, settings.beta2),
            epsilon=settings.table_epsilon,
            deterministic=self._deterministic and queued,
            mixed=self._mixed,
            control=self._control,
        )
        if not queued:
            self._check_loss(found.loss)
        for part, seconds in found.seconds.items():
            self.seconds[part] += seconds
        with self._timed("shader's update"):
            grads = name(found)
            self.model.shader.regularise(grads, settings.exposure_prior)
            self._update_shader(grads, rate, found.squared_error)
        return found.loss, found.squared_error

    def _chain_step(self, rays: Rays, rate: float) -> tuple[float | Tensor, float | Tensor]:
        target = rays.target.float() / self.model.settings.photo_range
        samples, features = self._look_up(rays)
        with self._timed("shade"):
            given = (features, samples.direction, rays.photo, target)
            if self.settings.robust:
                shaded = shade_robustly(self.model.shader, *given, self.settings)
            else:
                shaded = self.model.shader.train(*given, self.settings.loss)
        colour, ray_loss, grad_features, grads = shaded
        error = (colour - target).double().square_().mean()
        return self._move(ray_loss.mean(), error, samples, grad_features, grads, rate)

    def _patch_step(self, squares: Squares, rate: float) -> tuple[float | Tensor, float | Tensor]:
        samples, features = self._look_up(squares.rays)
        graded = []

        def gradient(colour: Tensor) -> Tensor:
            found = self._patch_loss.grade(
                colour, squares, self.model.settings.photo_range, self.step
            )
            graded.append(found)
            return found.gradient

        with self._timed("shade squares"):
            grad_features, grads = self.model.shader.follow(
                features, samples.direction, squares.rays.photo, gradient
            )
        means = torch.tensor([graded[0].loss, graded[0].squared_error], dtype=torch.float64)
        return self._move(*means, samples, grad_features, grads, rate)

    def _look_up(self, rays: Rays) -> tuple[GBuffer, Tensor]:
        """Return the surface points of rays and their features."""
        with self._timed("interpolate"):
            samples = surface_samples(
                self.pool.surface, self.cameras, rays.photo, rays.pixel, rays.face_id
            )
        with self._timed("encode"):
            return samples, self.model.field.features(samples)

    def _move(
        self,
        loss: Tensor,
        squared_error: Tensor,
        samples: GBuffer,
        grad_features: Tensor,
        grads: dict[str, Tensor],
        rate: float,
    ) -> tuple[float | Tensor, float | Tensor]:
        """Move table and shader by their gradients; ``grads`` are the shader's.

        Returns the step's means: numbers where they are waited for.
        """
        if self._losses is None:
            loss, squared_error = float(loss), float(squared_error)
            self._check_loss(loss)
        else:
            ops.decide(self._control, loss, squared_error)
        self.model.shader.regularise(grads, self.settings.exposure_prior)
        with self._timed("encode backward"):
            self.model.field.backward(grad_features, samples, self._grad_table, self._touched)
        with self._timed("adam"):
            self._update_table(rate)
        with self._timed("shader's update"):
            self._update_shader(grads, rate, squared_error)
        return loss, squared_error

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise NumericsError(
                f"the loss is {loss} at step {self.step}",
                advice="lower --set optim.table_rate, and resume from the last checkpoint",
            )

    def _update_table(self, rate: float) -> None:
        s = self.settings
        first, second = self._moments["field.table"]
        ops.adam(
            self.model.field.table,
            self._grad_table,
            first,
            second,
            steps=None if s.dense_table else self._row_steps,
            touched=None if s.dense_table else self._touched,
            step=self.step + 1,
            learning_rate=s.table_rate * rate,
            betas=(s.beta1, s.beta2),
            epsilon=s.table_epsilon,
            control=self._control,
        )
        self._touched.zero_()

    def _update_shader(
        self, grads: dict[str, Tensor], rate: float, squared_error: float | Tensor
    ) -> None:
        s = self.settings
        parameters = self.model.shader.parameters()
        for name, grad in grads.items():
            first, second = self._moments[name]
            ops.adam(
                _rows(parameters[name]),
                _rows(grad),
                _rows(first),
                _rows(second),
                step=self.step + 1,
                learning_rate=rate * (s.exposure_rate if name in _OF_PHOTOS else s.shader_rate),
                betas=(s.beta1, s.beta2),
                epsilon=1e-8,
                control=self._control,
            )
        self.model.shader.settle(_direction_decay(s, squared_error, self._control))

    def state(self, *, copy: bool = True) -> dict[str, np.ndarray]:
        """Return every tensor that the next step depends on.

        Args:
            copy: Whether steps are still to come: they change what is not a copy.

        Raises:
            NumericsError: As of ``finish``.
        """
        self.finish()
        tensors = dict(self.model.tensors())
        for name, (first, second) in self._moments.items():
            tensors[f"adam.first.{name}"] = first
            tensors[f"adam.second.{name}"] = second
        tensors["adam.row_steps"] = self._row_steps
        tensors |= self.kept_beside()
        arrays = {name: t.cpu().numpy() for name, t in tensors.items()}
        return {name: a.copy() for name, a in arrays.items()} if copy else arrays

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


def trains_fused(
    settings: OptimSettings, device: torch.device, model: ModelSettings | None = None
) -> bool:
    """Whether ``fused_step`` can take these settings' steps there; ``model``: if not the usual."""
    has_body = device.type == "cpu" or ops.has_body("fused_step", device.type)
    usual = model is None or (model.encoding == "hash" and not model.shader.latent)
    plain = usual and not settings.robust and ops.encoding() == "xscale"
    return plain and has_body and not settings.dense_table


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.dim() == 2 else tensor[:, None]


def _direction_decay(
    settings: OptimSettings, squared_error: float | Tensor, control: Tensor | None
) -> float | Tensor:
    """Return the share that the view direction's weights lose at a step; 0 where nothing moves."""
    if settings.direction_decay == 0:
        return 0.0
    if control is None:
        return settings.direction_decay * min(squared_error / settings.direction_error, 1.0) ** 3
    error = torch.as_tensor(squared_error).to(control.device, non_blocking=True)
    share = (error / settings.direction_error).clamp(max=1.0) ** 3
    return share.nan_to_num(0.0) * (settings.direction_decay * control[2])

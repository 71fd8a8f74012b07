"""One training step and the state it changes.

Under the lazy rule ``fused_step`` takes it; the chain of single ops (interpolate, encode, shade,
encode backward, adam) is for everything else, and what tests compare with. The last stage's losses
look at squares of the photo, so its steps are taken by single ops everywhere.
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
from xscale.ops.shade import shade_loss
from xscale.train.patches import PatchLoss
from xscale.train.pool import TilePool
from xscale.train.rays import Rays, Squares
from xscale.train.settings import OptimSettings, PatchSettings

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
        on_notice: Called with one line when the batch had to be halved.

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
        self._deterministic = deterministic
        self._on_notice = on_notice or (lambda line: None)
        table = model.field.table
        self._fused = trains_fused(settings, table.device, model.settings)
        self._moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p))
            for name, p in model.shader.parameters().items()
        }
        # Both moments of a row lie in one cache line: rows are visited at random.
        rows, width = table.shape
        state = ops.table_zeros((rows, 2 * width), device=table.device)
        self._moments["field.table"] = state[:, :width], state[:, width:]
        counted = 0 if settings.dense_table else rows
        self._row_steps = ops.table_zeros((counted,), torch.uint16, table.device)
        self._grad_table = self._touched = None
        on_cpu = table.device.type == "cpu"
        if not self._fused or not on_cpu or patch.share:
            exact = self._fused and deterministic and not on_cpu
            kind = torch.int64 if exact else torch.float32
            self._grad_table = ops.table_zeros(table.shape, kind, table.device)
            self._touched = ops.table_zeros(((rows + 7) // 8,), torch.uint8, table.device)
        self.seconds: dict[str, float] = defaultdict(float)

    def train_step(self, progress: float) -> tuple[float, float]:
        """Take one step.

        Args:
            progress: Share of the training done, 0 to 1, for the learning rates.

        Returns:
            Mean loss and mean squared error of the batch.

        A device that runs out of memory gets half the rays from then on, once.

        Raises:
            NumericsError: The loss is not finite.
            ResourceError: Half the rays do not fit either.
        """
        while True:
            try:
                return self._take_step(progress)
            except torch.OutOfMemoryError as error:
                # Nothing has changed: memory runs out where a step's arrays are made, before sums.
                self._halve_batch(error)

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        where = self.model.device
        if self.batch < self.settings.batch:
            raise ResourceError(
                f"{self.batch} rays a step, half of optim.batch, do not fit into the memory of "
                f"{where}",
                advice="a smaller --set model.grid.log2_table_size makes room",
            ) from error
        if where.type == "cuda":
            torch.cuda.empty_cache()
        self.batch = max(self.batch // 2, 1)
        self._on_notice(
            f"W-MEMORY: {where} ran out of memory: {self.batch} rays a step from now on instead "
            "of optim.batch"
        )

    def _take_step(self, progress: float) -> tuple[float, float]:
        if self._patch_loss is not None and progress >= 1 - self.patch.share:
            with self._timed("draw"):
                squares = self.pool.draw_squares(self.step, self.batch, self.patch.size)
            rate = self.patch.rate * self._rate(progress)
            return self._patch_step(squares.to(self.model.device), rate)
        with self._timed("draw"):
            rays = self.pool.draw(self.step, self.batch).to(self.model.device)
        taken = self._fused_step if self._fused else self._chain_step
        return taken(rays, self._rate(progress))

    def _fused_step(self, rays: Rays, rate: float) -> tuple[float, float]:
        settings, field = self.settings, self.model.field
        on_cpu = field.table.device.type == "cpu"
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
                gradient=None if on_cpu else self._grad_table,
                touched=None if on_cpu else self._touched,
            ),
            shader,
            loss=settings.loss,
            learning_rate=settings.table_rate * rate,
            betas=(settings.beta1, settings.beta2),
            epsilon=settings.table_epsilon,
            deterministic=self._deterministic and not on_cpu,
        )
        self._check_loss(found.loss)
        for part, seconds in found.seconds.items():
            self.seconds[part] += seconds
        with self._timed("shader's update"):
            grads = name(found)
            self.model.shader.regularise(grads, settings.exposure_prior)
            self.step += 1
            self._update_shader(grads, rate, found.squared_error)
        return found.loss, found.squared_error

    def _chain_step(self, rays: Rays, rate: float) -> tuple[float, float]:
        target = rays.target.float() / self.model.settings.photo_range
        samples, features = self._look_up(rays)
        with self._timed("shade"):
            if self.settings.robust:
                shaded = self._shade_robustly(features, samples.direction, rays.photo, target)
            else:
                shaded = self.model.shader.train(
                    features, samples.direction, rays.photo, target, self.settings.loss
                )
        colour, ray_loss, grad_features, grads = shaded
        loss = float(ray_loss.mean())
        error = float((colour - target).double().square_().mean())
        self._move(loss, error, samples, grad_features, grads, rate)
        return loss, error

    def _shade_robustly(
        self, features: Tensor, direction: Tensor, photo: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """As the shader's ``train``, with less weight for rays whose photo disagrees."""
        kept = []

        def gradient(colour: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = colour.detach().requires_grad_()
                ray_loss = shade_loss(leaf, target, self.settings.loss)
                away = (colour - target).abs().mean(1) / self.settings.robust
                weighted = (ray_loss / (1 + away**2)).mean()
                kept.extend((colour, ray_loss.detach()))
                return torch.autograd.grad(weighted, leaf)[0]

        grad_features, grads = self.model.shader.follow(features, direction, photo, gradient)
        return kept[0], kept[1], grad_features, grads

    def _patch_step(self, squares: Squares, rate: float) -> tuple[float, float]:
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
        loss, error = graded[0].loss, graded[0].squared_error
        self._move(loss, error, samples, grad_features, grads, rate)
        return loss, error

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
        loss: float,
        squared_error: float,
        samples: GBuffer,
        grad_features: Tensor,
        grads: dict[str, Tensor],
        rate: float,
    ) -> None:
        """Move table and shader by their gradients; ``grads`` are the shader's."""
        self._check_loss(loss)
        self.model.shader.regularise(grads, self.settings.exposure_prior)
        with self._timed("encode backward"):
            self.model.field.backward(grad_features, samples, self._grad_table, self._touched)
        with self._timed("adam"):
            self.step += 1
            self._update_table(rate)
        with self._timed("shader's update"):
            self._update_shader(grads, rate, squared_error)

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise NumericsError(
                f"the loss is {loss} at step {self.step}",
                advice="lower --set optim.table_rate, and resume from the last checkpoint",
            )

    def _rate(self, progress: float) -> float:
        """Share of the peak rates: linear warm-up, then a cosine."""
        s = self.settings
        if progress < s.warmup:
            return max(progress / s.warmup, 0.01)
        along = (min(progress, 1.0) - s.warmup) / (1 - s.warmup)
        return s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * along))

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
            step=self.step,
            learning_rate=s.table_rate * rate,
            betas=(s.beta1, s.beta2),
            epsilon=s.table_epsilon,
        )
        self._touched.zero_()

    def _update_shader(self, grads: dict[str, Tensor], rate: float, squared_error: float) -> None:
        s = self.settings
        parameters = self.model.shader.parameters()
        for name, grad in grads.items():
            first, second = self._moments[name]
            ops.adam(
                _rows(parameters[name]),
                _rows(grad),
                _rows(first),
                _rows(second),
                step=self.step,
                learning_rate=rate * (s.exposure_rate if name in _OF_PHOTOS else s.shader_rate),
                betas=(s.beta1, s.beta2),
                epsilon=1e-8,
            )
        part = min(squared_error / s.direction_error, 1.0) ** 3
        self.model.shader.settle(s.direction_decay * part)

    def state(self, *, copy: bool = True) -> dict[str, np.ndarray]:
        """Return every tensor that the next step depends on.

        Args:
            copy: Whether steps are still to come: they change what is not a copy.
        """
        tensors = dict(self.model.tensors())
        for name, (first, second) in self._moments.items():
            tensors[f"adam.first.{name}"] = first
            tensors[f"adam.second.{name}"] = second
        tensors["adam.row_steps"] = self._row_steps
        return {
            name: (t.cpu().numpy().copy() if copy else t.cpu().numpy())
            for name, t in tensors.items()
        }

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

"""The kinds of training steps. A training chooses its kinds once, in ``choose_steps``.

- ``FusedStep``: one op takes the whole step (``ops.fused_step``); the usual kind.
- ``ChainStep``: single ops (interpolate, encode, shade, encode backward, adam), for settings that
  the fused op does not know. Tests hold both against each other.
- ``SquareStep``: single ops on squares of photos, for the last stage.

A new kind is a class with ``draw`` and ``take`` here, and a line in ``choose_steps``.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import UsageError
from xscale.gbuffer.build import surface_samples
from xscale.gbuffer.gbuffer import GBuffer
from xscale.model.model import Model
from xscale.model.settings import ModelSettings
from xscale.training.graph import StepGraph
from xscale.training.losses import PatchLoss, shade_robustly
from xscale.training.optimizer import Optimizer
from xscale.training.pool import TilePool
from xscale.training.rays import Rays, Squares
from xscale.training.settings import OptimSettings, PatchSettings, Settings

Means = tuple[float | Tensor, float | Tensor]
"""A step's mean loss and mean squared error; tensors on a device that nobody waits for."""


@dataclass(frozen=True)
class StepKinds:
    """Which kinds of steps a training takes."""

    fused: bool
    """Whether one op takes the usual steps; single ops do otherwise."""
    queued: bool
    """Whether steps are launched and not waited for, as on a GPU."""
    exact: bool
    """Whether a device's sums repeat to the last bit; the CPU's always do."""
    mixed: bool
    """Whether a device's fused steps use half floats."""
    recorded: bool
    """Whether fused steps are recorded as a CUDA graph and replayed."""
    squares: bool
    """Whether the last stage draws squares."""

    @property
    def gradient(self) -> torch.dtype | None:
        """Type of the table's gradient sums; None: the fused step on the CPU needs none."""
        if self.fused and not self.queued and not self.squares:
            return None
        if self.exact and self.fused:
            return torch.int64
        # Half floats for the rows' gradients; squares take steps by single ops, in float32.
        return torch.float16 if self.mixed and not self.squares else torch.float32


def choose_kinds(
    settings: OptimSettings,
    patch: PatchSettings,
    device: torch.device,
    model: ModelSettings,
    *,
    deterministic: bool = False,
    queued: bool | None = None,
) -> StepKinds:
    """Decide which kinds of steps a training takes; nothing else decides it.

    Args:
        settings: The optimizer's.
        patch: Those of the last stage.
        device: Where the model lies.
        model: The model's settings.
        deterministic: Whether a device's sums must repeat to the last bit.
        queued: Whether steps are not waited for; by default where they run on a GPU.
    """
    fused = trains_fused(settings, device, model)
    queued = device.type != "cpu" if queued is None else queued
    return StepKinds(
        fused=fused,
        queued=queued,
        exact=deterministic and queued,
        mixed=settings.precision == "mixed" and fused and queued,
        recorded=settings.graph and fused and queued,
        squares=bool(patch.share),
    )


def trains_fused(
    settings: OptimSettings, device: torch.device, model: ModelSettings | None = None
) -> bool:
    """Whether ``fused_step`` can take these settings' steps there; ``model``: if not the usual."""
    has_body = device.type == "cpu" or ops.has_body("fused_step", device.type)
    usual = model is None or (model.encoding == "hash" and not model.shader.latent)
    plain = usual and not settings.robust and ops.encoding() == "xscale"
    return plain and has_body and not settings.dense_table


def check_deterministic(settings: Settings, device: torch.device) -> None:
    """Refuse settings that have no deterministic steps on a GPU.

    Raises:
        UsageError: These have none; the line names the setting.
    """
    if not trains_fused(settings.optim, device, settings.model):
        raise UsageError(
            "--deterministic on a GPU needs steps that fused_step takes",
            advice="leave optim.dense_table, optim.robust, model.encoding and model.shader.latent "
            "as they are, or use --device cpu",
        )
    if settings.optim.precision == "mixed":
        raise UsageError(
            "--deterministic on a GPU does not go with optim.precision=mixed",
            advice="leave one of them out",
        )
    if settings.patch.share:
        raise UsageError(
            "--deterministic on a GPU does not go with patch.share",
            advice="leave one of them out, or use --device cpu",
        )


@dataclass
class Parts:
    """State that all kinds of steps work on."""

    model: Model
    pool: TilePool
    cameras: Tensor
    """Float64 [P, 32], packed cameras of the training photos."""
    settings: OptimSettings
    optimizer: Optimizer
    kinds: StepKinds
    control: Tensor | None
    """See ``ops.step_control``; None where steps are waited for."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Where the time went, by part of a step."""

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the body's time for a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


class Step(Protocol):
    """A kind of step."""

    def draw(self, step: int, batch: int) -> Rays | Squares:
        """Return what a step looks at, where the pool keeps it."""

    def take(self, drawn: Rays | Squares, step: int, rate: float) -> Means:
        """Take a step.

        Args:
            drawn: As of ``draw``, on the model's device.
            step: Number of the step, from 0.
            rate: Share of the peak learning rates; 1 where the device has its own.
        """

    def forget(self) -> None:
        """Let go of memory that belongs to a batch of the last size."""


class FusedStep:
    """One op takes the step; on a device it is recorded once and replayed."""

    def __init__(self, parts: Parts, on_notice: Callable[[str], None]) -> None:
        self._parts = parts
        self._graph = None
        if parts.kinds.recorded:
            # All that a recording holds; the device has its own rate and number of the step.
            self._graph = StepGraph(lambda rays: self._launch(rays, 0, 1.0), on_notice)

    def draw(self, step: int, batch: int) -> Rays:
        """Return rays, see ``Step.draw``."""
        return self._parts.pool.draw(step, batch)

    def take(self, drawn: Rays, step: int, rate: float) -> Means:
        """Take a step, see ``Step.take``."""
        if self._graph is not None:
            self._graph.take(drawn)
            return math.nan, math.nan
        return self._launch(drawn, step, rate)

    def forget(self) -> None:
        """Let go of a recording, see ``Step.forget``."""
        if self._graph is not None:
            self._graph.forget()

    def _launch(self, rays: Rays, step: int, rate: float) -> Means:
        parts, settings, optimizer = self._parts, self._parts.settings, self._parts.optimizer
        queued, surface = parts.kinds.queued, parts.pool.surface
        shader, name = parts.model.shader.step_shader()
        found = ops.fused_step(
            ops.StepRays(
                vertices=surface.vertices,
                faces=surface.faces,
                cameras=parts.cameras,
                camera_index=rays.photo,
                pixel=rays.pixel,
                face_id=rays.face_id,
                target=rays.target,
                target_range=parts.model.settings.photo_range,
                turn=rays.turn,
            ),
            replace(
                parts.model.field.step_grid(*optimizer.table_moments, optimizer.row_steps),
                gradient=optimizer.gradient if queued else None,
                touched=optimizer.touched if queued else None,
            ),
            shader,
            loss=settings.loss,
            learning_rate=settings.table_rate * rate,
            betas=(settings.beta1, settings.beta2),
            epsilon=settings.table_epsilon,
            deterministic=parts.kinds.exact,
            mixed=parts.kinds.mixed,
            control=parts.control,
        )
        if not queued and not is_finite(found.loss):
            return found.loss, found.squared_error
        for part, seconds in found.seconds.items():
            parts.seconds[part] += seconds
        with parts.timed("shader's update"):
            grads = name(found)
            parts.model.shader.regularise(grads, settings.exposure_prior)
            optimizer.update_shader(grads, step + 1, rate, found.squared_error, parts.control)
        return found.loss, found.squared_error


class ChainStep:
    """Single ops take the step, one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._shade = self._shade_robustly if parts.settings.robust else self._shade_plainly

    def draw(self, step: int, batch: int) -> Rays:
        """Return rays, see ``Step.draw``."""
        return self._parts.pool.draw(step, batch)

    def take(self, drawn: Rays, step: int, rate: float) -> Means:
        """Take a step, see ``Step.take``."""
        parts = self._parts
        target = drawn.target.float() / parts.model.settings.photo_range
        samples, features = look_up(parts, drawn)
        with parts.timed("shade"):
            shaded = self._shade(features, samples.direction, drawn.photo, target)
        colour, ray_loss, grad_features, grads = shaded
        error = (colour - target).double().square_().mean()
        return move(parts, (ray_loss.mean(), error), samples, grad_features, grads, step, rate)

    def forget(self) -> None:
        """Nothing is kept, see ``Step.forget``."""

    def _shade_plainly(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        return self._parts.model.shader.train(*given, self._parts.settings.loss)

    def _shade_robustly(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        return shade_robustly(self._parts.model.shader, *given, self._parts.settings)


class SquareStep:
    """Single ops take a step on squares of photos, whose structure counts too."""

    def __init__(self, parts: Parts, patch: PatchSettings) -> None:
        self._parts = parts
        self._patch = patch
        self._loss = PatchLoss(patch, parts.settings.loss, parts.model.device)

    def draw(self, step: int, batch: int) -> Squares:
        """Return squares, see ``Step.draw``."""
        return self._parts.pool.draw_squares(step, batch, self._patch.size)

    def take(self, drawn: Squares, step: int, rate: float) -> Means:
        """Take a step, see ``Step.take``."""
        parts, rays = self._parts, drawn.rays
        samples, features = look_up(parts, rays)
        graded = []

        def gradient(colour: Tensor) -> Tensor:
            found = self._loss.grade(colour, drawn, parts.model.settings.photo_range, step)
            graded.append(found)
            return found.gradient

        with parts.timed("shade squares"):
            grad_features, grads = parts.model.shader.follow(
                features, samples.direction, rays.photo, gradient
            )
        means = torch.tensor([graded[0].loss, graded[0].squared_error], dtype=torch.float64)
        return move(parts, tuple(means), samples, grad_features, grads, step, rate)

    def forget(self) -> None:
        """Nothing is kept, see ``Step.forget``."""


def choose_steps(
    parts: Parts, patch: PatchSettings, on_notice: Callable[[str], None]
) -> tuple[Step, Step | None]:
    """Return the step of a training and the step of its last stage, where it has one.

    Raises:
        SetupError: The last stage needs a network whose weights are missing.
    """
    usual = FusedStep(parts, on_notice) if parts.kinds.fused else ChainStep(parts)
    return usual, SquareStep(parts, patch) if parts.kinds.squares else None


def look_up(parts: Parts, rays: Rays) -> tuple[GBuffer, Tensor]:
    """Return the surface points of rays and their features."""
    with parts.timed("interpolate"):
        samples = surface_samples(
            parts.pool.surface, parts.cameras, rays.photo, rays.pixel, rays.face_id
        )
        if rays.turn is not None:
            samples = replace(samples, direction=ops.turned(samples.direction, rays.turn))
    with parts.timed("encode"):
        return samples, parts.model.field.features(samples)


def move(
    parts: Parts,
    means: tuple[Tensor, Tensor],
    samples: GBuffer,
    grad_features: Tensor,
    grads: dict[str, Tensor],
    step: int,
    rate: float,
) -> Means:
    """Move table and shader by their gradients; ``grads`` are the shader's.

    Returns the step's means: numbers where they are waited for.
    """
    loss, squared_error = means
    if parts.control is None:
        loss, squared_error = float(loss), float(squared_error)
        if not is_finite(loss):
            return loss, squared_error
    else:
        ops.decide(parts.control, loss, squared_error)
    optimizer = parts.optimizer
    parts.model.shader.regularise(grads, parts.settings.exposure_prior)
    with parts.timed("encode backward"):
        parts.model.field.backward(grad_features, samples, optimizer.gradient, optimizer.touched)
    with parts.timed("adam"):
        optimizer.update_table(step + 1, rate, parts.control)
    with parts.timed("shader's update"):
        optimizer.update_shader(grads, step + 1, rate, squared_error, parts.control)
    return loss, squared_error


def is_finite(loss: float | Tensor) -> bool:
    """Whether a step that was waited for moves anything: its mean loss is a finite number."""
    return math.isfinite(loss)

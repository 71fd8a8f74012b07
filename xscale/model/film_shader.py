"""The published shader: FiLM-SIREN, steered by a light code and a code of each photo's exposure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import UsageError
from xscale.model.settings import ShaderSettings

LIGHT_CODE = 8
EXPOSURE_CODE = 4


class FilmShader:
    """The shader of XScale-NVS (CVPR 2024); the same interface as ``ReluShader``.

    The light is constant: one light code, shared by all photos.

    Args:
        settings: The shader's settings.
        channels: Features a point has.
        photos: Training photos, each with its own exposure code.
        device: Where the weights live.
        generator: Source of the initial values.
    """

    def __init__(
        self,
        settings: ShaderSettings,
        channels: int,
        photos: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.settings = settings
        self.layout = ops.FilmShaderLayout(channels, hidden=settings.hidden)
        self.code_layout = ops.FilmCodeLayout(LIGHT_CODE, EXPOSURE_CODE, settings.hidden)
        self.weights = ops.film_shader_init(self.layout, generator).to(device)
        self.code_weights = ops.film_code_init(self.code_layout, generator).to(device)
        self.light = ops.film_codes_init(1, LIGHT_CODE, generator).to(device)
        self.exposure = ops.film_codes_init(max(photos, 1), EXPOSURE_CODE, generator).to(device)

    def parameters(self) -> dict[str, Tensor]:
        """Name the tensors that training changes."""
        return {
            "shader.weights": self.weights,
            "shader.code_weights": self.code_weights,
            "shader.light": self.light,
            "shader.exposure": self.exposure,
        }

    def shade(self, features: Tensor, direction: Tensor, exposure: Tensor | None = None) -> Tensor:
        """Return sRGB [N, 3], not clamped, under one exposure code [4] (None: the training mean).

        Raises:
            UsageError: The exposure is not a code.
        """
        fixed = self.frame_shader(exposure)
        rows = photo = None
        if fixed.exposure is not None:
            rows = fixed.exposure[None]
            photo = torch.zeros(len(features), dtype=torch.int32, device=features.device)
        return ops.shade(features, direction, self.weights, self.layout, rows, photo, fixed.light)

    def frame_shader(self, exposure: Tensor | None = None) -> ops.FrameShader:
        """Return the shader as ``ops.fused_frame`` takes it; argument and error of ``shade``."""
        if exposure is not None and exposure.numel() != EXPOSURE_CODE:
            raise UsageError(
                f"this run's exposures are codes of {EXPOSURE_CODE} numbers, got {exposure.numel()}"
            )
        light = ops.film_light(self.light[0], self.code_weights, self.code_layout).contiguous()
        row = None
        if self.settings.exposure != "none":
            code = self.exposure.mean(dim=0) if exposure is None else exposure
            row = ops.film_exposure(code[None], self.code_weights, self.code_layout)[0].contiguous()
        return ops.FrameShader(self.weights, self.layout, row, light)

    def train(
        self, features: Tensor, direction: Tensor, photo: Tensor, target: Tensor, loss: str
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Shade, compare with ``target`` and go back; as ``ReluShader.train``."""
        shader, name = self.step_shader()
        found = ops.shade_train(
            features,
            direction,
            self.weights,
            self.layout,
            target,
            shader.exposure,
            None if shader.exposure is None else photo,
            shader.light,
            loss=loss,
            scale=1 / len(features),
        )
        return found.rgb, found.ray_loss, found.grad_features, name(found)

    def follow(
        self,
        features: Tensor,
        direction: Tensor,
        photo: Tensor,
        gradient: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Shade, and go back from a gradient in the colours; as ``ReluShader.follow``."""
        shader, name = self.step_shader()
        rows = None if shader.exposure is None else photo
        inputs = (
            features, direction, self.weights, self.layout, shader.exposure, rows, shader.light
        )  # fmt: skip
        grads = [
            None if tensor is None else torch.zeros_like(tensor)
            for tensor in (self.weights, shader.exposure, shader.light)
        ]
        colour = ops.shade(*inputs)
        grad_rgb = gradient(colour)
        grad_features = ops.shade_backward(
            grad_rgb, *inputs, grad_weights=grads[0], grad_exposure=grads[1], grad_light=grads[2]
        )
        return grad_features, name(ops.StepResult(0.0, 0.0, *grads, {}))

    def step_shader(
        self,
    ) -> tuple[ops.StepShader, Callable[[ops.StepResult | ops.ShadeGradients], dict[str, Tensor]]]:
        """Return the shader as ``ops.fused_step`` takes it; as ``ReluShader.step_shader``."""
        exposed = self.settings.exposure == "code"
        # The code networks see a row a photo, not a row a ray: plain autograd does for them.
        with torch.enable_grad():
            leaves = [
                t.detach().requires_grad_() for t in (self.code_weights, self.light, self.exposure)
            ]
            weights, light_code, exposure_codes = leaves
            light = ops.film_light(light_code[0], weights, self.code_layout)
            rows = ops.film_exposure(exposure_codes, weights, self.code_layout)

        def name(found: ops.StepResult | ops.ShadeGradients) -> dict[str, Tensor]:
            outputs, grads = [light], [found.grad_light]
            if exposed:
                outputs.append(rows)
                grads.append(found.grad_exposure)
            code_grads = torch.autograd.grad(outputs, leaves, grads, allow_unused=True)
            named = {"shader.weights": found.grad_weights}
            names = ("shader.code_weights", "shader.light", "shader.exposure")
            return named | {n: g for n, g in zip(names, code_grads, strict=True) if g is not None}

        shader = ops.StepShader(
            self.layout,
            self.weights,
            light.detach().contiguous(),
            rows.detach().contiguous() if exposed else None,
        )
        return shader, name

    def regularise(self, grads: dict[str, Tensor], strength: float) -> None:
        """Do nothing: codes are held by their norm (``after_step``), as published."""

    def after_step(self, direction_decay: float | Tensor) -> None:
        """Bring codes that the optimizer made longer than 1 back to length 1."""
        self.light.copy_(ops.limit_code_norm(self.light))
        self.exposure.copy_(ops.limit_code_norm(self.exposure))

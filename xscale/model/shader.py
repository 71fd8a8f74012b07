"""The deferred shader: surface feature and view direction to colour, exposed as each photo was."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import UsageError
from xscale.model.settings import ShaderSettings

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class ReluShader:
    """Two ReLU layers with spherical harmonics of the direction, affine exposure in linear light.

    Args:
        settings: The shader's settings.
        channels: Features a point has.
        photos: Training photos, each with its own exposure.
        device: Where the weights live.
        generator: Source of the initial values.
    """

    def __init__(
        self,
        settings: ShaderSettings,
        channels: int,
        photos: int,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> None:
        self.settings = settings
        self._channels = channels
        self.layout = ops.ReluShaderLayout(channels + settings.latent, hidden=settings.hidden)
        self.weights = ops.relu_shader_init(self.layout, generator).to(device)
        self._identity = torch.tensor(_IDENTITY, device=device)
        self.exposure = self._identity.repeat(max(photos, 1), 1)
        self.latent = torch.zeros(max(photos, 1), settings.latent, device=device)

    def parameters(self) -> dict[str, Tensor]:
        """Name the tensors that training changes."""
        named = {"shader.weights": self.weights, "shader.exposure": self.exposure}
        return named | ({"shader.latent": self.latent} if self.settings.latent else {})

    def shade(self, features: Tensor, direction: Tensor, exposure: Tensor | None = None) -> Tensor:
        """Return sRGB [N, 3], not clamped, under one exposure [12] (None: the training mean).

        Raises:
            UsageError: The exposure is not an affine transform.
        """
        row = self._exposure_row(exposure)[None].contiguous()
        photo = torch.zeros(len(features), dtype=torch.int32, device=features.device)
        layout, weights = self._at_mean()
        return ops.shade(features, direction, weights, layout, row, photo)

    def frame_shader(self, exposure: Tensor | None = None) -> ops.FrameShader:
        """Return the shader as ``ops.fused_frame`` takes it; argument and error of ``shade``."""
        row = self._exposure_row(exposure).contiguous()
        layout, weights = self._at_mean()
        return ops.FrameShader(weights, layout, row)

    def _at_mean(self) -> tuple[ops.ReluShaderLayout, Tensor]:
        """Return the network under the photos' mean latents, which then are part of its bias."""
        if not self.settings.latent:
            return self.layout, self.weights
        layout = ops.ReluShaderLayout(self._channels, hidden=self.settings.hidden)
        weights = torch.zeros(layout.size, device=self.weights.device)
        plain, ours = layout.unpack(weights), self.layout.unpack(self.weights)
        for name, part in plain.items():
            part.copy_(ours[name][:, : self._channels] if name == "W1" else ours[name])
        plain["b1"] += ours["W1"][:, self._channels :] @ self.latent.mean(dim=0)
        return layout, weights

    def _with_latent(self, features: Tensor, photo: Tensor) -> Tensor:
        if not self.settings.latent:
            return features
        return torch.cat([features, self.latent[photo.long()]], 1)

    def _without_latent(self, grad: Tensor, photo: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Part the gradient of the network's inputs: the features', and the latents' by name."""
        if not self.settings.latent:
            return grad, {}
        latent = torch.zeros_like(self.latent)
        latent.index_add_(0, photo.long(), grad[:, self._channels :])
        return grad[:, : self._channels].contiguous(), {"shader.latent": latent}

    def _exposure_row(self, exposure: Tensor | None) -> Tensor:
        if exposure is not None and exposure.numel() != len(_IDENTITY):
            raise UsageError(
                f"this run's exposures are 3 x 4 colour transforms, got {exposure.numel()} numbers"
            )
        return self.exposure.mean(dim=0) if exposure is None else exposure

    def train(
        self, features: Tensor, direction: Tensor, photo: Tensor, target: Tensor, loss: str
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Shade, compare with ``target`` and go back, in one pass.

        Args:
            features: Float32 [N, channels].
            direction: Float32 [N, 3], camera to point.
            photo: Int32 [N], training photo of each ray.
            target: Float32 [N, 3], the photo's sRGB values.
            loss: "l1", "charbonnier" or "l2".

        Returns:
            Colour [N, 3], loss a ray [N], gradient of the mean loss to the features, and to each
            parameter by name.
        """
        exposed = self.settings.exposure == "affine"
        found = ops.shade_train(
            self._with_latent(features, photo),
            direction,
            self.weights,
            self.layout,
            target,
            self.exposure if exposed else None,
            photo if exposed else None,
            loss=loss,
            scale=1 / len(features),
        )
        grad_features, grads = self._without_latent(found.grad_features, photo)
        grads |= _named(found.grad_weights, found.grad_exposure)
        return found.rgb, found.ray_loss, grad_features, grads

    def follow(
        self,
        features: Tensor,
        direction: Tensor,
        photo: Tensor,
        gradient: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Shade, and go back from the gradient that a loss of one's own has in the colours.

        Args:
            features: Float32 [N, channels].
            direction: Float32 [N, 3], camera to point.
            photo: Int32 [N], training photo of each ray.
            gradient: Takes the colours [N, 3], returns the loss's gradient in them.

        Returns:
            Gradient of the features, and of each parameter by name.
        """
        exposed = self.settings.exposure == "affine"
        exposure, row = (self.exposure, photo) if exposed else (None, None)
        joined = self._with_latent(features, photo)
        inputs = (joined, direction, self.weights, self.layout, exposure, row)
        grad_weights = torch.zeros_like(self.weights)
        grad_exposure = None if exposure is None else torch.zeros_like(exposure)
        grad_inputs = ops.shade_backward(
            gradient(ops.shade(*inputs)),
            *inputs,
            grad_weights=grad_weights,
            grad_exposure=grad_exposure,
        )
        grad_features, grads = self._without_latent(grad_inputs, photo)
        return grad_features, grads | _named(grad_weights, grad_exposure)

    def step_shader(self) -> tuple[ops.StepShader, Callable[[ops.StepResult], dict[str, Tensor]]]:
        """Return the shader as ``ops.fused_step`` takes it.

        With it comes what names the parameters' gradients in the step's result.
        """
        exposed = self.settings.exposure == "affine"
        shader = ops.StepShader(
            self.layout, self.weights, exposure=self.exposure if exposed else None
        )
        return shader, lambda found: _named(found.grad_weights, found.grad_exposure)

    def regularise(self, grads: dict[str, Tensor], strength: float) -> None:
        """Pull exposures towards the identity, and their mean more so (it is not observable)."""
        if "shader.exposure" in grads and strength > 0:
            away = self.exposure - self._identity
            grads["shader.exposure"] += strength * (away + 10 * away.mean(dim=0)) / len(away)
        if "shader.latent" in grads and strength > 0:
            grads["shader.latent"] += strength * self.latent / len(self.latent)

    def after_step(self, direction_decay: float | Tensor) -> None:
        """Let the weights of the view direction lose this share of themselves, after an update."""
        if isinstance(direction_decay, Tensor) or direction_decay > 0:
            second = self.layout.unpack(self.weights)["W2"]
            second[:, self.layout.hidden :] *= 1 - direction_decay


def _named(grad_weights: Tensor, grad_exposure: Tensor | None) -> dict[str, Tensor]:
    grads = {"shader.weights": grad_weights}
    if grad_exposure is not None:
        grads["shader.exposure"] = grad_exposure
    return grads

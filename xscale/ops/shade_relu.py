"""shade_relu: surface features and view direction to colour, by a small ReLU network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale.errors import BackendError, ShapeError
from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import call, registered, use_reference
from xscale.ops.shade import (
    ShadeGradients,
    ShaderLayout,
    add_gradients,
    check_exposure,
    check_loss,
    check_target,
    gradients_of,
    leaves_of,
    linear_to_srgb,
    shade_fields,
    shade_loss,
    spherical_harmonics,
)

_FLOATS = (torch.float32,)
EXPOSURE_SIZE = 12


@dataclass(frozen=True)
class ReluShaderLayout(ShaderLayout):
    """Where each matrix of the ReLU shader lies in its flat weight vector.

    In this order, each row major: ``W1`` [hidden, features], ``b1`` [hidden],
    ``W2`` [hidden, hidden + sh_degree^2], ``b2`` [hidden], ``W3`` [3, hidden], ``b3`` [3].
    """

    features: int
    """Numbers a surface point has; a multiple of 4 up to 256."""
    hidden: int = 64
    """Width of both hidden layers; a multiple of 16 up to 128."""
    sh_degree: int = 4
    """Bands of spherical harmonics of the view direction, 1 to 4."""

    def __post_init__(self) -> None:
        if self.features % 4 or not 4 <= self.features <= 256:
            raise ShapeError(
                f"shade_relu: features must be a multiple of 4 up to 256, got {self.features}"
            )
        if self.hidden % 16 or not 16 <= self.hidden <= 128:
            raise ShapeError(
                f"shade_relu: hidden must be a multiple of 16 up to 128, got {self.hidden}"
            )
        if not 1 <= self.sh_degree <= 4:
            raise ShapeError(f"shade_relu: sh_degree must be 1 to 4, got {self.sh_degree}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part, in the order of the flat vector."""
        return {
            "W1": (self.hidden, self.features),
            "b1": (self.hidden,),
            "W2": (self.hidden, self.hidden + self.sh_degree**2),
            "b2": (self.hidden,),
            "W3": (3, self.hidden),
            "b3": (3,),
        }


def relu_shader_init(layout: ReluShaderLayout, generator: torch.Generator) -> Tensor:
    """Return fresh weights, float32 [layout.size]: He-uniform matrices, zero biases.

    The last matrix is ten times smaller, so that training begins at mid grey.
    """
    flat = torch.zeros(layout.size)
    for name, part in layout.unpack(flat).items():
        if part.dim() == 2:
            bound = math.sqrt(6 / part.shape[1]) * (0.1 if name == "W3" else 1.0)
            part.uniform_(-bound, bound, generator=generator)
    return flat


def identity_exposure(photos: int) -> Tensor:
    """Return the exposure table that changes nothing, float32 [photos, 12]."""
    return torch.eye(3, 4).reshape(1, EXPOSURE_SIZE).repeat(photos, 1)


def shade_relu(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
) -> Tensor:
    """Colour of surface points seen from a direction.

    Two hidden ReLU layers, harmonics of the direction entering the second; a sigmoid gives linear
    light; the photo's exposure ``[A | b]`` maps it to ``A light + b``; the sRGB curve follows,
    continued outside [0, 1] and not clamped (``linear_to_srgb``).

    Args:
        features: Float32 [rays, layout.features].
        direction: Float32 [rays, 3], unit, camera to point.
        weights: Float32 [layout.size], see ``ReluShaderLayout``.
        layout: Sizes of the network.
        exposure: Float32 [photos, 12], each row ``[A | b]`` as [3, 4]; None is the identity.
        photo: Int32 [rays], row of ``exposure``, -1 for the identity.

    Returns:
        SRGB, float32 [rays, 3]. Differentiable in features, weights and exposure; the gradient of
        the direction exists in the reference only. A NaN stays in its ray.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        BackendError: No body for this device, or ``direction`` requires a gradient.
    """
    _check("shade_relu", features, direction, weights, layout, exposure, photo)
    if use_reference("shade_relu", features.device):
        return shade_relu_reference(features, direction, weights, layout, exposure, photo)
    if torch.is_grad_enabled() and direction.requires_grad:
        raise BackendError(
            "shade_relu: the compiled bodies have no gradient of direction",
            advice='detach it, or use use_backend("reference")',
        )
    return call(
        _forward_op, features, direction, weights, exposure, photo, layout.hidden, layout.sh_degree
    )


def shade_relu_backward(
    grad_rgb: Tensor,
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    *,
    grad_weights: Tensor,
    grad_exposure: Tensor | None = None,
) -> Tensor:
    """Gradient of ``shade_relu`` without autograd; activations are computed again.

    Args:
        grad_rgb: Float32 [rays, 3].
        features: As in ``shade_relu``.
        direction: As in ``shade_relu``.
        weights: As in ``shade_relu``.
        layout: As in ``shade_relu``.
        exposure: As in ``shade_relu``.
        photo: As in ``shade_relu``.
        grad_weights: Float32 [layout.size], added to.
        grad_exposure: Float32 [photos, 12], added to; None: not wanted.

    Returns:
        Gradient of the features, float32 [rays, layout.features].

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    op = "shade_relu_backward"
    _check(op, features, direction, weights, layout, exposure, photo)
    check_tensor(op, "grad_rgb", grad_rgb, (len(features), 3), _FLOATS, features.device)
    _check_gradients(op, layout, exposure, grad_weights, grad_exposure, features.device)
    grad_features = torch.empty_like(features)
    if use_reference("shade_relu", features.device):
        with torch.enable_grad():
            leaves = leaves_of(features, weights, exposure)
            rgb = shade_relu_reference(leaves[0], direction, leaves[1], layout, leaves[2], photo)
            grads = gradients_of(rgb, leaves, grad_rgb)
        add_gradients(grads[1:], (grad_weights, grad_exposure))
        return grads[0]
    _gradient(
        features, direction, weights, layout, exposure, photo, loss=0, scale=1.0,
        grad_rgb=grad_rgb, grad_features=grad_features, grad_weights=grad_weights,
        grad_exposure=grad_exposure,
    )  # fmt: skip
    return grad_features


def shade_relu_train(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    target: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    *,
    ray_weight: Tensor | None = None,
    loss: str = "l1",
    scale: float = 1.0,
    grad_weights: Tensor | None = None,
    grad_exposure: Tensor | None = None,
) -> ShadeGradients:
    """Forward, loss and backward in one pass; activations never leave the cache.

    The gradients are those of ``scale * sum(ray_weight * ray_loss)``.

    Args:
        features: As in ``shade_relu``.
        direction: As in ``shade_relu``.
        weights: As in ``shade_relu``.
        layout: As in ``shade_relu``.
        target: SRGB, float32 [rays, 3], or uint8 [rays, 3] where 255 is 1.
        exposure: As in ``shade_relu``.
        photo: As in ``shade_relu``.
        ray_weight: Float32 [rays], factor of each ray's loss; None is 1.
        loss: "l1", "charbonnier" or "l2", see ``shade_loss``.
        scale: Factor of all losses in the gradients, e.g. 1 / rays.
        grad_weights: Float32 [layout.size], added to; None: a new one.
        grad_exposure: Float32 [photos, 12], added to; None: a new one where there is an exposure.

    Returns:
        Colours, gradients and each ray's loss.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        UsageError: There is no such loss.
    """
    op = "shade_relu_train"
    _check(op, features, direction, weights, layout, exposure, photo)
    check_target(op, target, ray_weight, features)
    kind = check_loss(op, loss)
    if grad_weights is None:
        grad_weights = torch.zeros_like(weights)
    if grad_exposure is None and exposure is not None:
        grad_exposure = torch.zeros_like(exposure)
    _check_gradients(op, layout, exposure, grad_weights, grad_exposure, features.device)
    if use_reference("shade_relu", features.device):
        with torch.enable_grad():
            leaves = leaves_of(features, weights, exposure)
            rgb = shade_relu_reference(leaves[0], direction, leaves[1], layout, leaves[2], photo)
            ray_loss = shade_loss(rgb, target, loss)
            weighted = ray_loss if ray_weight is None else ray_loss * ray_weight
            grads = gradients_of(scale * weighted.sum(), leaves, None)
        add_gradients(grads[1:], (grad_weights, grad_exposure))
        return ShadeGradients(
            rgb.detach(), grads[0], grad_weights, grad_exposure, ray_loss.detach()
        )
    rgb = torch.empty_like(direction)
    ray_loss = features.new_empty(len(features))
    grad_features = torch.empty_like(features)
    _gradient(
        features, direction, weights, layout, exposure, photo, loss=kind, scale=scale,
        target=target if target.dtype == torch.float32 else None,
        target_bytes=target if target.dtype == torch.uint8 else None,
        ray_weight=ray_weight, rgb=rgb, ray_loss=ray_loss, grad_features=grad_features,
        grad_weights=grad_weights, grad_exposure=grad_exposure,
    )  # fmt: skip
    return ShadeGradients(rgb, grad_features, grad_weights, grad_exposure, ray_loss)


def shade_relu_reference(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
) -> Tensor:
    """Reference of ``shade_relu`` in plain PyTorch; any float dtype, differentiable in all."""
    w = layout.unpack(weights)
    hidden = torch.relu(features @ w["W1"].T + w["b1"])
    harmonics = spherical_harmonics(direction, layout.sh_degree)
    hidden = torch.relu(torch.cat([hidden, harmonics], dim=1) @ w["W2"].T + w["b2"])
    light = torch.sigmoid(hidden @ w["W3"].T + w["b3"])
    if exposure is not None and photo is not None:
        identity = identity_exposure(1).to(exposure)
        rows = torch.cat([exposure, identity])[photo.long()].view(-1, 3, 4)  # -1 is the last row
        light = (rows[:, :, :3] @ light[:, :, None])[:, :, 0] + rows[:, :, 3]
    return linear_to_srgb(light)


def _check(
    op: str,
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None,
    photo: Tensor | None,
) -> None:
    check_tensor(op, "features", features, ("rays", layout.features), _FLOATS)
    rays, device = len(features), features.device
    check_tensor(op, "direction", direction, (rays, 3), _FLOATS, device)
    check_tensor(op, "weights", weights, (layout.size,), _FLOATS, device)
    check_exposure(op, exposure, photo, rays, EXPOSURE_SIZE, features)


def _check_gradients(
    op: str,
    layout: ReluShaderLayout,
    exposure: Tensor | None,
    grad_weights: Tensor,
    grad_exposure: Tensor | None,
    device: torch.device,
) -> None:
    check_tensor(op, "grad_weights", grad_weights, (layout.size,), _FLOATS, device)
    if grad_exposure is not None:
        if exposure is None:
            raise ShapeError(f"{op}: grad_exposure needs an exposure")
        check_tensor(op, "grad_exposure", grad_exposure, tuple(exposure.shape), _FLOATS, device)


def _gradient(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None,
    photo: Tensor | None,
    **fields: object,
) -> None:
    fields = shade_fields(
        features=features, direction=direction, weights=weights, exposure=exposure, photo=photo,
        rays=len(features), width=layout.features, hidden=layout.hidden,
        sh_degree=layout.sh_degree, photos=0 if exposure is None else len(exposure), **fields,
    )  # fmt: skip
    _ext.call("shade_relu_gradient", features.device, **fields)


_SIZES = "Tensor? exposure, Tensor? photo, int hidden, int sh_degree"


@registered(
    "xscale::shade_relu",
    schema=f"(Tensor features, Tensor direction, Tensor weights, {_SIZES}) -> Tensor",
)
def _forward_op(features, direction, weights, exposure, photo, hidden, sh_degree):  # noqa: ANN202
    rgb = torch.empty_like(direction)
    fields = shade_fields(
        features=features, direction=direction, weights=weights, exposure=exposure, photo=photo,
        rgb=rgb, rays=len(features), width=features.shape[1], hidden=hidden, sh_degree=sh_degree,
    )  # fmt: skip
    _ext.call("shade_relu", features.device, **fields)
    return rgb


@_forward_op.register_fake
def _(features, direction, weights, exposure, photo, hidden, sh_degree):  # noqa: ANN202
    return torch.empty_like(direction)


@registered(
    "xscale::shade_relu_backward",
    schema=f"(Tensor grad_rgb, Tensor features, Tensor direction, Tensor weights, {_SIZES}) "
    "-> (Tensor, Tensor, Tensor)",
)
def _backward_op(grad_rgb, features, direction, weights, exposure, photo, hidden, sh_degree):  # noqa: ANN202
    layout = ReluShaderLayout(features.shape[1], hidden, sh_degree)
    grad_features, grad_weights = torch.empty_like(features), torch.zeros_like(weights)
    grad_exposure = None if exposure is None else torch.zeros_like(exposure)
    _gradient(
        features, direction, weights, layout, exposure, photo, loss=0, scale=1.0,
        grad_rgb=grad_rgb.contiguous(), grad_features=grad_features, grad_weights=grad_weights,
        grad_exposure=grad_exposure,
    )  # fmt: skip
    none = features.new_empty(0, EXPOSURE_SIZE)
    return grad_features, grad_weights, none if grad_exposure is None else grad_exposure


@_backward_op.register_fake
def _(grad_rgb, features, direction, weights, exposure, photo, hidden, sh_degree):  # noqa: ANN202
    none = features.new_empty(0, EXPOSURE_SIZE)
    grad_exposure = none if exposure is None else torch.empty_like(exposure)
    return torch.empty_like(features), torch.empty_like(weights), grad_exposure


def _setup_context(ctx, inputs, output) -> None:
    features, direction, weights, exposure, photo, ctx.hidden, ctx.sh_degree = inputs
    ctx.save_for_backward(features, direction, weights, exposure, photo)


def _backward(ctx, grad_rgb):  # noqa: ANN202
    exposure = ctx.saved_tensors[3]
    grads = _backward_op(grad_rgb, *ctx.saved_tensors, ctx.hidden, ctx.sh_degree)
    return grads[0], None, grads[1], None if exposure is None else grads[2], None, None, None


_forward_op.register_autograd(_backward, setup_context=_setup_context)

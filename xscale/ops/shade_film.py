"""shade_film: surface features and view direction to colour, by the published FiLM-SIREN shader.

The networks on the light and exposure codes do not depend on the ray and are not part of the op;
they are in shade_film_codes.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from xscale.errors import BackendError, ShapeError
from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import call, registered, use_reference
from xscale.ops.shade import (
    add_gradients,
    check_exposure,
    check_loss,
    check_target,
    gradients_of,
    leaves_of,
    linear_to_srgb,
    shade_fields,
    shade_loss,
)
from xscale.ops.shade_film_codes import FILM_LEAKY_SLOPE, FilmShaderLayout

_FLOATS = (torch.float32,)


class FilmGradients(NamedTuple):
    """Result of a training pass of ``shade_film`` over some rays."""

    rgb: Tensor
    """Float32 [rays, 3], sRGB."""
    grad_features: Tensor
    """Float32 [rays, features]."""
    grad_weights: Tensor
    """Float32 [layout.size]."""
    grad_light: Tensor
    """Float32 [4, hidden]."""
    grad_exposure: Tensor | None
    """Float32 [photos, 2 hidden]; None without an exposure."""
    ray_loss: Tensor
    """Float32 [rays], mean over the channels, without ray weights and scale."""


def shade_film(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    light: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
) -> Tensor:
    """Colour of surface points seen from a direction, by the published shader.

    Args:
        features: Float32 [rays, layout.features].
        direction: Float32 [rays, 3], unit, camera to point.
        weights: Float32 [layout.size], see ``FilmShaderLayout``.
        layout: Sizes of the network.
        light: Float32 [4, hidden]: frequencies (times 15 plus 30 already) of the two feature
            layers, then their phases; see ``film_light``.
        exposure: Float32 [photos, 2 hidden]: shift, then log scale, of the second feature layer's
            output; see ``film_exposure``. None changes nothing.
        photo: Int32 [rays], row of ``exposure``, -1 for none.

    Returns:
        SRGB in [-0.001, 1.001], float32 [rays, 3]. Differentiable in features, weights, light and
        exposure; the gradient of the direction exists in the reference only. A NaN stays in its
        ray.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        BackendError: No body for this device, or ``direction`` requires a gradient.

    Source: XScale-NVS, CVPR 2024; Chan et al., "pi-GAN", 2021.
    """
    _check("shade_film", features, direction, weights, layout, light, exposure, photo)
    if use_reference("shade_film", features.device):
        return shade_film_reference(features, direction, weights, layout, light, exposure, photo)
    if torch.is_grad_enabled() and direction.requires_grad:
        raise BackendError(
            "shade_film: the compiled bodies have no gradient of direction",
            advice='detach it, or use use_backend("reference")',
        )
    return call(_forward_op, features, direction, weights, light, exposure, photo)


def shade_film_backward(
    grad_rgb: Tensor,
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    light: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    *,
    grad_weights: Tensor,
    grad_light: Tensor,
    grad_exposure: Tensor | None = None,
) -> Tensor:
    """Gradient of ``shade_film`` without autograd; activations are computed again.

    Args:
        grad_rgb: Float32 [rays, 3].
        features: As in ``shade_film``.
        direction: As in ``shade_film``.
        weights: As in ``shade_film``.
        layout: As in ``shade_film``.
        light: As in ``shade_film``.
        exposure: As in ``shade_film``.
        photo: As in ``shade_film``.
        grad_weights: Float32 [layout.size], added to.
        grad_light: Float32 [4, hidden], added to.
        grad_exposure: Float32 [photos, 2 hidden], added to; None: not wanted.

    Returns:
        Gradient of the features, float32 [rays, layout.features].

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    op = "shade_film_backward"
    _check(op, features, direction, weights, layout, light, exposure, photo)
    check_tensor(op, "grad_rgb", grad_rgb, (len(features), 3), _FLOATS, features.device)
    _check_gradients(op, layout, exposure, grad_weights, grad_light, grad_exposure, features.device)
    if use_reference("shade_film", features.device):
        with torch.enable_grad():
            f, w, row, e = leaves = leaves_of(features, weights, light, exposure)
            rgb = shade_film_reference(f, direction, w, layout, row, e, photo)
            grads = gradients_of(rgb, leaves, grad_rgb)
        add_gradients(grads[1:], (grad_weights, grad_light, grad_exposure))
        return grads[0]
    grad_features = torch.empty_like(features)
    _gradient(
        features, direction, weights, light, exposure, photo, loss=0, scale=1.0,
        grad_rgb=grad_rgb, grad_features=grad_features, grad_weights=grad_weights,
        grad_light=grad_light, grad_exposure=grad_exposure,
    )  # fmt: skip
    return grad_features


def shade_film_train(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    light: Tensor,
    target: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    *,
    ray_weight: Tensor | None = None,
    loss: str = "l1",
    scale: float = 1.0,
    grad_weights: Tensor | None = None,
    grad_light: Tensor | None = None,
    grad_exposure: Tensor | None = None,
) -> FilmGradients:
    """Forward, loss and backward in one pass; activations never leave the cache.

    The gradients are those of ``scale * sum(ray_weight * ray_loss)``.

    Args:
        features: As in ``shade_film``.
        direction: As in ``shade_film``.
        weights: As in ``shade_film``.
        layout: As in ``shade_film``.
        light: As in ``shade_film``.
        target: SRGB, float32 [rays, 3], or uint8 [rays, 3] where 255 is 1. (The published target
            is the 8-bit value / 256: give it as float32.)
        exposure: As in ``shade_film``.
        photo: As in ``shade_film``.
        ray_weight: Float32 [rays], factor of each ray's loss; None is 1.
        loss: "l1", "charbonnier" or "l2", see ``shade_loss``.
        scale: Factor of all losses in the gradients, e.g. 1 / rays.
        grad_weights: Float32 [layout.size], added to; None: a new one.
        grad_light: Float32 [4, hidden], added to; None: a new one.
        grad_exposure: Float32 [photos, 2 hidden], added to; None: a new one where there is an
            exposure.

    Returns:
        Colours, gradients and each ray's loss.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        UsageError: There is no such loss.
    """
    op = "shade_film_train"
    _check(op, features, direction, weights, layout, light, exposure, photo)
    check_target(op, target, ray_weight, features)
    kind = check_loss(op, loss)
    if grad_weights is None:
        grad_weights = torch.zeros_like(weights)
    if grad_light is None:
        grad_light = torch.zeros_like(light)
    if grad_exposure is None and exposure is not None:
        grad_exposure = torch.zeros_like(exposure)
    _check_gradients(op, layout, exposure, grad_weights, grad_light, grad_exposure, features.device)
    if use_reference("shade_film", features.device):
        with torch.enable_grad():
            f, w, row, e = leaves = leaves_of(features, weights, light, exposure)
            rgb = shade_film_reference(f, direction, w, layout, row, e, photo)
            ray_loss = shade_loss(rgb, target, loss)
            weighted = ray_loss if ray_weight is None else ray_loss * ray_weight
            grads = gradients_of(scale * weighted.sum(), leaves, None)
        add_gradients(grads[1:], (grad_weights, grad_light, grad_exposure))
        return FilmGradients(
            rgb.detach(), grads[0], grad_weights, grad_light, grad_exposure, ray_loss.detach()
        )
    rgb = torch.empty_like(direction)
    ray_loss = features.new_empty(len(features))
    grad_features = torch.empty_like(features)
    _gradient(
        features, direction, weights, light, exposure, photo, loss=kind, scale=scale,
        target=target if target.dtype == torch.float32 else None,
        target_bytes=target if target.dtype == torch.uint8 else None,
        ray_weight=ray_weight, rgb=rgb, ray_loss=ray_loss, grad_features=grad_features,
        grad_weights=grad_weights, grad_light=grad_light, grad_exposure=grad_exposure,
    )  # fmt: skip
    return FilmGradients(rgb, grad_features, grad_weights, grad_light, grad_exposure, ray_loss)


def shade_film_reference(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    light: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
) -> Tensor:
    """Reference of ``shade_film`` in plain PyTorch; any float dtype, differentiable in all."""
    w = layout.unpack(weights)
    frequency1, frequency2, phase1, phase2 = light
    d = torch.sin(frequency1 * (features @ w["W1"].T + w["b1"]) + phase1)
    d = torch.sin(frequency2 * (d @ w["W2"].T + w["b2"]) + phase2)
    if exposure is not None and photo is not None:
        rows = torch.cat([exposure, torch.zeros_like(exposure[:1])])[photo.long()]  # -1: no change
        shift, log_scale = rows.chunk(2, dim=1)
        d = torch.exp(log_scale) * d + shift
    mapped = functional.leaky_relu(d @ w["M1"].T + w["c1"], FILM_LEAKY_SLOPE)
    frequency, phase = (mapped @ w["M2"].T + w["c2"]).chunk(2, dim=1)
    frequency1, frequency2 = (15 * frequency + 30).chunk(2, dim=1)
    phase1, phase2 = phase.chunk(2, dim=1)
    y = torch.sin(frequency1 * (direction @ w["D1"].T + w["e1"]) + phase1)
    y = torch.sin(frequency2 * (y @ w["D2"].T + w["e2"]) + phase2)
    srgb = linear_to_srgb(torch.sigmoid(y @ w["W3"].T + w["b3"]))
    return srgb.clamp(0, 1) * 1.002 - 0.001


def _check(
    op: str,
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    light: Tensor,
    exposure: Tensor | None,
    photo: Tensor | None,
) -> None:
    check_tensor(op, "features", features, ("rays", layout.features), _FLOATS)
    rays, device = len(features), features.device
    check_tensor(op, "direction", direction, (rays, 3), _FLOATS, device)
    check_tensor(op, "weights", weights, (layout.size,), _FLOATS, device)
    check_tensor(op, "light", light, (4, layout.hidden), _FLOATS, device)
    check_exposure(op, exposure, photo, rays, 2 * layout.hidden, features)


def _check_gradients(
    op: str,
    layout: FilmShaderLayout,
    exposure: Tensor | None,
    grad_weights: Tensor,
    grad_light: Tensor,
    grad_exposure: Tensor | None,
    device: torch.device,
) -> None:
    check_tensor(op, "grad_weights", grad_weights, (layout.size,), _FLOATS, device)
    check_tensor(op, "grad_light", grad_light, (4, layout.hidden), _FLOATS, device)
    if grad_exposure is not None:
        if exposure is None:
            raise ShapeError(f"{op}: grad_exposure needs an exposure")
        check_tensor(op, "grad_exposure", grad_exposure, tuple(exposure.shape), _FLOATS, device)


def _gradient(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    light: Tensor,
    exposure: Tensor | None,
    photo: Tensor | None,
    **fields: object,
) -> None:
    fields = shade_fields(
        features=features, direction=direction, weights=weights, light=light, exposure=exposure,
        photo=photo, rays=len(features), width=features.shape[1], hidden=light.shape[1],
        photos=0 if exposure is None else len(exposure), **fields,
    )  # fmt: skip
    _ext.call("shade_film_gradient", features.device, **fields)


_INPUTS = (
    "Tensor features, Tensor direction, Tensor weights, Tensor light, "
    "Tensor? exposure, Tensor? photo"
)


@registered("xscale::shade_film", schema=f"({_INPUTS}) -> Tensor")
def _forward_op(features, direction, weights, light, exposure, photo):  # noqa: ANN202
    rgb = torch.empty_like(direction)
    fields = shade_fields(
        features=features, direction=direction, weights=weights, light=light, exposure=exposure,
        photo=photo, rgb=rgb, rays=len(features), width=features.shape[1], hidden=light.shape[1],
    )  # fmt: skip
    _ext.call("shade_film", features.device, **fields)
    return rgb


@_forward_op.register_fake
def _(features, direction, weights, light, exposure, photo):  # noqa: ANN202
    return torch.empty_like(direction)


@registered(
    "xscale::shade_film_backward",
    schema=f"(Tensor grad_rgb, {_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _backward_op(grad_rgb, features, direction, weights, light, exposure, photo):  # noqa: ANN202
    grad_features = torch.empty_like(features)
    grad_weights, grad_light = torch.zeros_like(weights), torch.zeros_like(light)
    grad_exposure = None if exposure is None else torch.zeros_like(exposure)
    _gradient(
        features, direction, weights, light, exposure, photo, loss=0, scale=1.0,
        grad_rgb=grad_rgb.contiguous(), grad_features=grad_features, grad_weights=grad_weights,
        grad_light=grad_light, grad_exposure=grad_exposure,
    )  # fmt: skip
    none = features.new_empty(0)
    return grad_features, grad_weights, grad_light, none if exposure is None else grad_exposure


@_backward_op.register_fake
def _(grad_rgb, features, direction, weights, light, exposure, photo):  # noqa: ANN202
    grad_exposure = features.new_empty(0) if exposure is None else torch.empty_like(exposure)
    grads = [torch.empty_like(tensor) for tensor in (features, weights, light)]
    return *grads, grad_exposure


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_rgb):  # noqa: ANN202
    features, weights, light, exposure = _backward_op(grad_rgb, *ctx.saved_tensors)
    if ctx.saved_tensors[4] is None:
        exposure = None
    return features, None, weights, light, exposure, None


_forward_op.register_autograd(_backward, setup_context=_setup_context)

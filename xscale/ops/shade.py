"""shade: surface features and view direction to colour, by one of two networks.

The layout says which: ``ReluShaderLayout`` (op shade_relu) is a small network of our own,
``FilmShaderLayout`` (op shade_film) the published FiLM-SIREN, whose networks on the light and
exposure codes do not depend on the ray and are in shade_film_codes.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.library import CustomOpDef
from torch.nn import functional

from xscale.errors import BackendError
from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._dispatch import call, registered, use_reference
from xscale.ops._shade_args import (
    check_exposure,
    check_gradients,
    check_light,
    check_target,
    shade_fields,
)
from xscale.ops.shade_layouts import (
    FILM_LEAKY_SLOPE,
    FilmShaderLayout,
    ReluShaderLayout,
    ShaderLayout,
    identity_exposure,
)
from xscale.ops.shade_math import (
    add_gradients,
    check_loss,
    gradients_of,
    leaves_of,
    linear_to_srgb,
    shade_loss,
    spherical_harmonics,
)

_FLOATS = (torch.float32,)


class ShadeGradients(NamedTuple):
    """Result of a training pass over some rays."""

    rgb: Tensor
    """Float32 [rays, 3], sRGB, not clamped."""
    grad_features: Tensor
    """Float32 [rays, features]."""
    grad_weights: Tensor
    """Float32 [layout.size]."""
    grad_exposure: Tensor | None
    """Float32 like the exposure; None without one."""
    grad_light: Tensor | None
    """Float32 [4, hidden]; None for the ReLU shader."""
    ray_loss: Tensor
    """Float32 [rays], mean over the channels, without ray weights and scale."""


def shade(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    light: Tensor | None = None,
) -> Tensor:
    """Colour of surface points seen from a direction.

    ReLU: two hidden layers, harmonics of the direction entering the second; a sigmoid gives linear
    light; the photo's exposure ``[A | b]`` maps it to ``A light + b``; the sRGB curve follows,
    continued outside [0, 1] and not clamped (``linear_to_srgb``).

    FiLM: the published shader; the photo's exposure shifts and scales the output of the feature
    layers. Colours are in [-0.001, 1.001].

    Args:
        features: Float32 [rays, layout.features].
        direction: Float32 [rays, 3], unit, camera to point.
        weights: Float32 [layout.size], see the layout.
        layout: Which shader, and its sizes.
        exposure: Float32 [photos, layout.exposure_size]. ReLU: ``[A | b]`` as [3, 4]. FiLM: shift,
            then log scale; see ``film_exposure``. None changes nothing.
        photo: Int32 [rays], row of ``exposure``, -1 for none.
        light: FiLM only, float32 [4, hidden]: frequencies (times 15 plus 30 already) of the two
            feature layers, then their phases; see ``film_light``.

    Returns:
        SRGB, float32 [rays, 3]. Differentiable in features, weights, exposure and light; the
        gradient of the direction exists in the reference only. A NaN stays in its ray.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        BackendError: No body for this device, or ``direction`` requires a gradient.

    Source: FiLM: XScale-NVS, CVPR 2024; Chan et al., "pi-GAN", 2021.
    """
    op = layout.op
    _check(op, features, direction, weights, layout, exposure, photo, light)
    if use_reference(op, features.device):
        return shade_reference(features, direction, weights, layout, exposure, photo, light)
    if torch.is_grad_enabled() and direction.requires_grad:
        raise BackendError(
            f"{op}: the compiled bodies have no gradient of direction",
            advice='detach it, or use use_backend("reference")',
        )
    sizes = (layout.hidden, layout.sh_degree)
    return call(_OPS[op][0], features, direction, weights, exposure, photo, light, *sizes)


def shade_backward(
    grad_rgb: Tensor,
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    light: Tensor | None = None,
    *,
    grad_weights: Tensor,
    grad_exposure: Tensor | None = None,
    grad_light: Tensor | None = None,
) -> Tensor:
    """Gradient of ``shade`` without autograd; activations are computed again.

    Args:
        grad_rgb: Float32 [rays, 3].
        features: As in ``shade``.
        direction: As in ``shade``.
        weights: As in ``shade``.
        layout: As in ``shade``.
        exposure: As in ``shade``.
        photo: As in ``shade``.
        light: As in ``shade``.
        grad_weights: Float32 [layout.size], added to.
        grad_exposure: Float32 like ``exposure``, added to; None: not wanted.
        grad_light: Float32 like ``light``, added to; given exactly if ``light`` is.

    Returns:
        Gradient of the features, float32 [rays, layout.features].

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    op = f"{layout.op}_backward"
    _check(op, features, direction, weights, layout, exposure, photo, light)
    check_tensor(op, "grad_rgb", grad_rgb, (len(features), 3), _FLOATS, features.device)
    sums = (grad_weights, grad_exposure, grad_light)
    check_gradients(op, weights, exposure, light, sums)
    if use_reference(layout.op, features.device):
        with torch.enable_grad():
            f, w, e, row = leaves = leaves_of(features, weights, exposure, light)
            rgb = shade_reference(f, direction, w, layout, e, photo, row)
            grads = gradients_of(rgb, leaves, grad_rgb)
        add_gradients(grads[1:], sums)
        return grads[0]
    grad_features = torch.empty_like(features)
    _gradient(
        layout.op, features, direction, weights, exposure, photo, light, layout.hidden,
        layout.sh_degree, loss=0, scale=1.0, grad_rgb=grad_rgb, grad_features=grad_features,
        grad_weights=grad_weights, grad_exposure=grad_exposure, grad_light=grad_light,
    )  # fmt: skip
    return grad_features


def shade_train(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ShaderLayout,
    target: Tensor,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    light: Tensor | None = None,
    *,
    ray_weight: Tensor | None = None,
    loss: str = "l1",
    scale: float = 1.0,
    grad_weights: Tensor | None = None,
    grad_exposure: Tensor | None = None,
    grad_light: Tensor | None = None,
) -> ShadeGradients:
    """Forward, loss and backward in one pass; activations never leave the cache.

    The gradients are those of ``scale * sum(ray_weight * ray_loss)``.

    Args:
        features: As in ``shade``.
        direction: As in ``shade``.
        weights: As in ``shade``.
        layout: As in ``shade``.
        target: SRGB, float32 [rays, 3], or uint8 [rays, 3] where 255 is 1. (The published target
            is the 8-bit value / 256: give it as float32.)
        exposure: As in ``shade``.
        photo: As in ``shade``.
        light: As in ``shade``.
        ray_weight: Float32 [rays], factor of each ray's loss; None is 1.
        loss: "l1", "charbonnier" or "l2", see ``shade_loss``.
        scale: Factor of all losses in the gradients, e.g. 1 / rays.
        grad_weights: Float32 [layout.size], added to; None: a new one.
        grad_exposure: Float32 like ``exposure``, added to; None: a new one where there is an
            exposure.
        grad_light: Float32 like ``light``, added to; None: a new one where there is a light.

    Returns:
        Colours, gradients and each ray's loss.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        UsageError: There is no such loss.
    """
    op = f"{layout.op}_train"
    _check(op, features, direction, weights, layout, exposure, photo, light)
    check_target(op, target, ray_weight, features)
    kind = check_loss(op, loss)
    given = ((weights, grad_weights), (exposure, grad_exposure), (light, grad_light))
    sums = tuple(
        torch.zeros_like(of) if total is None and of is not None else total for of, total in given
    )
    check_gradients(op, weights, exposure, light, sums)
    if use_reference(layout.op, features.device):
        with torch.enable_grad():
            f, w, e, row = leaves = leaves_of(features, weights, exposure, light)
            rgb = shade_reference(f, direction, w, layout, e, photo, row)
            ray_loss = shade_loss(rgb, target, loss)
            weighted = ray_loss if ray_weight is None else ray_loss * ray_weight
            grads = gradients_of(scale * weighted.sum(), leaves, None)
        add_gradients(grads[1:], sums)
        return ShadeGradients(rgb.detach(), grads[0], *sums, ray_loss.detach())
    rgb = torch.empty_like(direction)
    ray_loss = features.new_empty(len(features))
    grad_features = torch.empty_like(features)
    _gradient(
        layout.op, features, direction, weights, exposure, photo, light, layout.hidden,
        layout.sh_degree, loss=kind, scale=scale,
        target=target if target.dtype == torch.float32 else None,
        target_bytes=target if target.dtype == torch.uint8 else None,
        ray_weight=ray_weight, rgb=rgb, ray_loss=ray_loss, grad_features=grad_features,
        grad_weights=sums[0], grad_exposure=sums[1], grad_light=sums[2],
    )  # fmt: skip
    return ShadeGradients(rgb, grad_features, *sums, ray_loss)


def shade_reference(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
    light: Tensor | None = None,
) -> Tensor:
    """Reference of ``shade`` in plain PyTorch; any float dtype, differentiable in all."""
    if isinstance(layout, ReluShaderLayout):
        return shade_relu_reference(features, direction, weights, layout, exposure, photo)
    return shade_film_reference(features, direction, weights, layout, exposure, photo, light)


def shade_relu_reference(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: ReluShaderLayout,
    exposure: Tensor | None = None,
    photo: Tensor | None = None,
) -> Tensor:
    """Reference of ``shade`` with the ReLU layout."""
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


def shade_film_reference(
    features: Tensor,
    direction: Tensor,
    weights: Tensor,
    layout: FilmShaderLayout,
    exposure: Tensor | None,
    photo: Tensor | None,
    light: Tensor,
) -> Tensor:
    """Reference of ``shade`` with the FiLM layout."""
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
    layout: ShaderLayout,
    exposure: Tensor | None,
    photo: Tensor | None,
    light: Tensor | None,
) -> None:
    check_tensor(op, "features", features, ("rays", layout.features), _FLOATS)
    rays, device = len(features), features.device
    check_tensor(op, "direction", direction, (rays, 3), _FLOATS, device)
    check_tensor(op, "weights", weights, (layout.size,), _FLOATS, device)
    check_light(op, light, layout, device)
    check_exposure(op, exposure, photo, rays, layout.exposure_size, features)


def _fields(features, direction, weights, exposure, photo, light, hidden, sh_degree, **more):  # noqa: ANN202
    return shade_fields(
        features=features, direction=direction, weights=weights, exposure=exposure, photo=photo,
        light=light, rays=len(features), width=features.shape[1], hidden=hidden,
        sh_degree=sh_degree, **more,
    )  # fmt: skip


def _gradient(op, *inputs, **more) -> None:
    exposure = inputs[3]
    fields = _fields(*inputs, photos=0 if exposure is None else len(exposure), **more)
    _ext.call(f"{op}_gradient", inputs[0].device, **fields)


_INPUTS = (
    "Tensor features, Tensor direction, Tensor weights, Tensor? exposure, Tensor? photo, "
    "Tensor? light, int hidden, int sh_degree"
)


def _register(op: str) -> tuple[CustomOpDef, CustomOpDef]:
    """Register a shader's op and its backward with PyTorch."""

    @registered(f"xscale::{op}", schema=f"({_INPUTS}) -> Tensor")
    def forward(features, direction, *inputs):  # noqa: ANN202
        rgb = torch.empty_like(direction)
        _ext.call(op, features.device, **_fields(features, direction, *inputs, rgb=rgb))
        return rgb

    @registered(
        f"xscale::{op}_backward",
        schema=f"(Tensor grad_rgb, {_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)",
    )
    def backward(grad_rgb, features, direction, weights, exposure, photo, light, *sizes):  # noqa: ANN202
        sums = [None if t is None else torch.zeros_like(t) for t in (weights, exposure, light)]
        grad_features = torch.empty_like(features)
        _gradient(
            op, features, direction, weights, exposure, photo, light, *sizes, loss=0, scale=1.0,
            grad_rgb=grad_rgb.contiguous(), grad_features=grad_features, grad_weights=sums[0],
            grad_exposure=sums[1], grad_light=sums[2],
        )  # fmt: skip
        return grad_features, *(features.new_empty(0) if total is None else total for total in sums)

    @forward.register_fake
    def _(features, direction, *_):  # noqa: ANN202
        return torch.empty_like(direction)

    @backward.register_fake
    def _(grad_rgb, features, direction, weights, exposure, photo, light, *_):  # noqa: ANN202
        like = (features, weights, exposure, light)
        return tuple(features.new_empty(0) if t is None else torch.empty_like(t) for t in like)

    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[:6])
        ctx.sizes = inputs[6:]

    def go_back(ctx, grad_rgb):  # noqa: ANN202
        features, weights, exposure, light = backward(grad_rgb, *ctx.saved_tensors, *ctx.sizes)
        given = ctx.saved_tensors
        exposure = None if given[3] is None else exposure
        light = None if given[5] is None else light
        return features, None, weights, exposure, None, light, None, None

    forward.register_autograd(go_back, setup_context=setup_context)
    return forward, backward


_OPS = {layout.op: _register(layout.op) for layout in (ReluShaderLayout, FilmShaderLayout)}

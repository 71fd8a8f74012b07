"""Arguments that the shaders share with the fused ops: the fields of ShadeArgs, and checks."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.errors import ShapeError
from xscale.ops._check import check_tensor
from xscale.ops.shade_layouts import ReluShaderLayout, ShaderLayout

_FLOATS = (torch.float32,)

_POINTERS = (
    "features", "direction", "weights", "light", "exposure", "photo", "grad_rgb", "target",
    "target_bytes", "ray_weight", "rgb", "ray_loss", "grad_features", "grad_weights",
    "grad_light", "grad_exposure", "scratch",
)  # fmt: skip


def shade_fields(**given: object) -> dict[str, object]:
    """Return the fields of ShadeArgs: those given, and nothing for the others."""
    numbers = {"rays": 0, "width": 0, "hidden": 0, "sh_degree": 0, "photos": 0, "loss": 0}
    return {**dict.fromkeys(_POINTERS), **numbers, "scale": 0.0, **given}


def check_light(op: str, light: Tensor | None, layout: ShaderLayout, device: torch.device) -> None:
    """Refuse a light that does not belong to the shader.

    Raises:
        ShapeError: The FiLM shader has none, the ReLU shader has one, or it has another shape.
    """
    if isinstance(layout, ReluShaderLayout) != (light is None):
        raise ShapeError(f"{op}: light belongs to the film shader, and only to it")
    if light is not None:
        check_tensor(op, "light", light, (4, layout.hidden), _FLOATS, device)


def check_target(op: str, target: Tensor, ray_weight: Tensor | None, features: Tensor) -> None:
    """Refuse a target or ray weights that do not belong to the rays of ``features``."""
    rays = len(features)
    check_tensor(op, "target", target, (rays, 3), (torch.float32, torch.uint8), features.device)
    if ray_weight is not None:
        check_tensor(op, "ray_weight", ray_weight, (rays,), _FLOATS, features.device)


def check_exposure(
    op: str, exposure: Tensor | None, photo: Tensor | None, rays: int, width: int, like: Tensor
) -> None:
    """Refuse an exposure table and photo numbers that do not fit together.

    The numbers themselves are looked at on the CPU only: a GPU would have to be waited for.

    Raises:
        ShapeError: One is given without the other, or a photo has no row.
    """
    if (exposure is None) != (photo is None):
        raise ShapeError(f"{op}: exposure and photo must be given together")
    if exposure is None or photo is None:
        return
    check_tensor(op, "exposure", exposure, ("photos", width), _FLOATS, like.device)
    check_tensor(op, "photo", photo, (rays,), (torch.int32,), like.device)
    if rays and photo.device.type == "cpu":
        low, high = (int(value) for value in torch.aminmax(photo))
        if low < -1 or high >= len(exposure):
            raise ShapeError(
                f"{op}: photo must be from -1 (identity) to {len(exposure) - 1}, "
                f"got {low} to {high}"
            )


def check_gradients(
    op: str,
    weights: Tensor,
    exposure: Tensor | None,
    light: Tensor | None,
    sums: tuple[Tensor | None, ...],
) -> None:
    """Refuse sums (weights, exposure, light) that do not fit the tensors they are gradients of."""
    grad_weights, grad_exposure, grad_light = sums
    check_tensor(op, "grad_weights", grad_weights, weights.shape, _FLOATS, weights.device)
    if grad_exposure is not None:
        if exposure is None:
            raise ShapeError(f"{op}: grad_exposure needs an exposure")
        check_tensor(op, "grad_exposure", grad_exposure, exposure.shape, _FLOATS, weights.device)
    if (grad_light is None) != (light is None):
        raise ShapeError(f"{op}: light and grad_light must be given together")
    if light is not None:
        check_tensor(op, "grad_light", grad_light, light.shape, _FLOATS, weights.device)

"""tiny-cuda-nn's hash grid behind the interface of ``ops.encode``, on NVIDIA GPUs.

Never needed: nothing measured speaks for it, and it cannot do all that xscale's can.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch
from torch import Tensor

from xscale.errors import BackendError
from xscale.ops import GridLayout
from xscale.ops._grid import fade_weights
from xscale_comparisons.packages import TCNN as _PACKAGE
from xscale_comparisons.packages import import_peer, on_gpu

_encodings: dict[tuple, torch.nn.Module] = {}


def lookup() -> ModuleType:
    """Return this module, whose ``encode`` and ``encode_backward`` run; the plug-in tcnn.

    Raises:
        SetupError: The package is not installed.
    """
    import_peer(_PACKAGE)
    return sys.modules[__name__]


def encode(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str,
    footprint: Tensor | None,
    footprint_scale: float,
) -> Tensor:
    """``ops.encode`` by tiny-cuda-nn; gradients by autograd.

    Args:
        position: As for ``ops.encode``.
        table: As for ``ops.encode``.
        layout: As for ``ops.encode``.
        interpolation: As for ``ops.encode``.
        footprint: As for ``ops.encode``; every level is looked up all the same.
        footprint_scale: As for ``ops.encode``.

    Raises:
        BackendError: The tensors are not on a GPU.
    """
    if not on_gpu(position):
        raise BackendError("tiny-cuda-nn runs on a GPU only", advice="leave --encoding out")
    grid = _grid(layout, interpolation, table.dtype, position.device)
    inside = position.nan_to_num(0).clamp(0, 1 - 2**-24)  # it wraps what is outside
    features = torch.func.functional_call(grid, {"params": table.reshape(-1).float()}, (inside,))
    features = features[:, : layout.levels * layout.features_per_level].float()
    if footprint is None:
        return features
    faded = fade_weights(footprint, layout, footprint_scale)
    return features * faded.repeat_interleave(layout.features_per_level, dim=1)


def encode_backward(
    grad_features: Tensor,
    position: Tensor,
    layout: GridLayout,
    *,
    grad_table: Tensor,
    touched: Tensor | None,
    **how: object,
) -> None:
    """``ops.encode_backward`` by tiny-cuda-nn; its time grows with the table."""
    shape = (layout.rows, layout.features_per_level)
    with torch.enable_grad():
        table = torch.zeros(shape, device=position.device, requires_grad=True)
        features = encode(position, table, layout, **how)
        (grad,) = torch.autograd.grad(features, table, grad_features)
    grad_table += grad
    if touched is not None:
        bits = (grad != 0).any(1).reshape(-1, 8).to(torch.uint8)
        touched |= (bits << torch.arange(8, device=bits.device, dtype=torch.uint8)).sum(
            1, dtype=torch.uint8
        )


def _grid(
    layout: GridLayout, interpolation: str, dtype: torch.dtype, device: torch.device
) -> torch.nn.Module:
    key = (layout, interpolation, dtype, device)
    if key not in _encodings:
        scales = layout.scales
        settings = {
            "otype": "HashGrid",
            "n_levels": layout.levels,
            "n_features_per_level": layout.features_per_level,
            "log2_hashmap_size": max(
                (b - a - 1).bit_length()
                for a, b in zip(layout.offsets[:-1], layout.offsets[1:], strict=True)
            ),
            "base_resolution": round(scales[0] + 1),
            "per_level_scale": ((scales[-1] + 1) / (scales[0] + 1))
            ** (1 / max(len(scales) - 1, 1)),
            "interpolation": interpolation.capitalize(),
        }
        made = import_peer(_PACKAGE).Encoding(3, settings, dtype=dtype).to(device)
        if made.params.numel() != layout.rows * layout.features_per_level:
            raise BackendError(
                f"tiny-cuda-nn makes a table of {made.params.numel()} numbers of this grid, not of "
                f"{layout.rows * layout.features_per_level}",
                advice="leave --encoding out",
            )
        _encodings[key] = made
    return _encodings[key]

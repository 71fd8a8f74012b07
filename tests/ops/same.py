"""Results equal to the last bit on the host, and nearly so where a device computes them."""

from __future__ import annotations

import torch

from xscale.ops import _ext


def _on_device(tensor: torch.Tensor) -> bool:
    return _ext.body_of("encode", tensor.device) == "cuda"


def same_colours(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two kernels of one source give the same colours.

    A device's compiler joins products and sums of each kernel in a way of its own, which moves a
    colour by a unit in the last place or two.
    """
    if _on_device(one):
        return torch.allclose(one, other, rtol=0, atol=3e-7)
    return torch.equal(one, other)


def same_sums(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two kernels give the same sums; a device adds in any order."""
    if _on_device(one):
        return torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))
    return torch.equal(one, other)

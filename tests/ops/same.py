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


def assert_gradient(
    ours: torch.Tensor | None,
    exact: torch.Tensor | None,
    *,
    largest: float,
    length: float,
    angle: float,
) -> None:
    """Hold a gradient to the exact one: its largest error, its vector's length and direction."""
    if exact is None:
        assert ours is None
        return
    ours = ours.double()
    if not exact.any():
        assert not ours.any()
        return
    assert (ours - exact).abs().max() < largest * exact.abs().max()
    assert (ours - exact).norm() < length * exact.norm()
    cosine = torch.nn.functional.cosine_similarity(ours.flatten(), exact.flatten(), dim=0)
    assert 1 - cosine < angle

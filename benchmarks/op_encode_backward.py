"""The table's gradient on the published grid against PyTorch's embedding_bag.

Only the backward pass of the peer is timed, in runs before and after ours.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks._timing import device, milliseconds, row
from benchmarks.op_encode import peer_bag, sphere
from xscale import ops

POINTS, WIDTH, ROUNDS = 2**18, 8, 3


def rows() -> list[dict[str, object]]:
    """Time the gradient of 2^18 random points on a surface."""
    layout = ops.grid_layout(16, WIDTH, 22, 16, 1.4768261459394993)
    position = sphere(POINTS).to(device())
    shape = (layout.rows, WIDTH)
    gradient = torch.randn(POINTS, layout.levels * WIDTH, device=device())
    grad_table = ops.table_zeros(shape, device=device())
    leaf = torch.zeros(shape, device=device()).requires_grad_()

    def ours() -> None:
        ops.encode_backward(gradient, position, layout, grad_table=grad_table)

    peer = statistics.median(_peer_backward(position, leaf, layout, gradient) for _ in range(2))
    times = milliseconds({"ours": ours}, least=ROUNDS)
    again = _peer_backward(position, leaf, layout, gradient)
    times["peer"] = {"median": statistics.median([peer, again]), "best": min(peer, again)}
    label = f"L16 F{WIDTH} T2^22 float32, 2^18 points on a sphere"
    return [row("encode backward, paper", label, times, peer_name="PyTorch embedding_bag")]


def _peer_backward(
    position: torch.Tensor, leaf: torch.Tensor, layout: ops.GridLayout, gradient: torch.Tensor
) -> float:
    """Return the milliseconds of one backward pass alone."""
    leaf.grad = None
    features = peer_bag(position, leaf, layout)
    start = time.perf_counter()
    features.backward(gradient)
    return (time.perf_counter() - start) * 1e3

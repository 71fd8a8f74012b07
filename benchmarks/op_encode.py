"""Speed of ``encode`` and its backward against PyTorch's best form of the same grid.

Random points on a sphere are the worst honest order for surface data: batches sorted by position
and frames are more coherent.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._timing import device, milliseconds, row
from xscale import ops

POINTS = 2**18


def rows() -> list[dict[str, object]]:
    """Time forward, and forward with the table's gradient, for some shapes."""
    return [
        _forward(2, torch.float32),
        _forward(2, torch.float16),
        _forward(8, torch.float32),
        _forward(8, torch.float16),
        _both(2),
        _both(8),
    ]


def sphere(points: int) -> Tensor:
    """Return random points [N, 3] on a sphere in the unit cube."""
    generator = torch.Generator().manual_seed(0)
    direction = functional.normalize(torch.randn(points, 3, generator=generator))
    return direction * 0.45 + 0.5


def peer_corners(
    position: Tensor, layout: ops.GridLayout, level: int, *, smooth: bool = True
) -> tuple[Tensor, Tensor]:
    """Return rows [N, 8] and weights [N, 8], as one writes them in PyTorch when speed counts."""
    first, end = layout.offsets[level : level + 2]
    at = position * layout.scales[level] + 0.5
    cell = at.floor()
    upper = at - cell
    if smooth:
        upper = upper * upper * (3 - 2 * upper)
    if layout.dense[level]:
        resolution = layout.resolutions[level]
        stride = (1, resolution, resolution**2)
    else:
        stride = (1, 2654435761, 805459861)
    stride = torch.tensor(stride, device=position.device)
    near = cell.long() * stride
    axes = torch.stack([near, near + stride], dim=2)
    x, y, z = axes[:, 0, None, None, :], axes[:, 1, None, :, None], axes[:, 2, :, None, None]
    index = x + y + z if layout.dense[level] else x ^ y ^ z
    row = (index % (end - first)).flatten(1) + first
    sides = torch.stack([1 - upper, upper], dim=2)
    weight = sides[:, 0, None, None, :] * sides[:, 1, None, :, None] * sides[:, 2, :, None, None]
    return row, weight.flatten(1)


def peer_gather(position: Tensor, table: Tensor, layout: ops.GridLayout) -> Tensor:
    """Index the eight rows and add them up."""
    features = []
    for level in range(layout.levels):
        row, weight = peer_corners(position, layout, level)
        total = weight[:, :1] * functional.embedding(row[:, 0], table)
        for corner in range(1, 8):
            value = functional.embedding(row[:, corner], table)
            total = torch.addcmul(total, weight[:, corner : corner + 1], value)
        features.append(total)
    return torch.cat(features, dim=1)


def peer_bag(position: Tensor, table: Tensor, layout: ops.GridLayout) -> Tensor:
    """One weighted embedding_bag over all levels, whose backward makes one dense gradient."""
    corners = [peer_corners(position, layout, level) for level in range(layout.levels)]
    row = torch.stack([row for row, _ in corners], dim=1).flatten(0, 1)
    weight = torch.stack([weight for _, weight in corners], dim=1).flatten(0, 1)
    bags = functional.embedding_bag(row, table, mode="sum", per_sample_weights=weight)
    return bags.reshape(len(position), -1)


def _forward(width: int, dtype: torch.dtype) -> dict[str, object]:
    layout, table, position = _inputs(width)
    ours = table.to(dtype)
    peers = {
        "gather": lambda: peer_gather(position, table, layout),
        "embedding_bag": lambda: peer_bag(position, table, layout),
    }
    times = milliseconds({"ours": lambda: ops.encode(position, ours, layout), **peers}, least=3)
    best = min(peers, key=lambda name: times[name]["median"])
    times["peer"] = times[best]
    shape = _shape(width, str(dtype).removeprefix("torch."))
    return row("encode", shape, times, peer_name=f"PyTorch {best}")


def _both(width: int) -> dict[str, object]:
    layout, table, position = _inputs(width)
    grad = torch.randn(POINTS, layout.levels * width, device=table.device)
    grad_table = torch.zeros_like(table)
    touched = torch.zeros(layout.rows // 8, dtype=torch.uint8, device=table.device)
    leaf = table.clone().requires_grad_()

    def both() -> None:
        ops.encode(position, table, layout)
        ops.encode_backward(grad, position, layout, grad_table=grad_table, touched=touched)

    def peer() -> None:
        # embedding_bag is PyTorch's best: every gather's backward makes a whole dense gradient.
        leaf.grad = None
        peer_bag(position, leaf, layout).backward(grad)

    times = milliseconds({"ours": both, "peer": peer}, least=2)
    shape = _shape(width, "float32")
    return row("encode with gradient", shape, times, peer_name="PyTorch embedding_bag")


def _inputs(width: int) -> tuple[ops.GridLayout, Tensor, Tensor]:
    layout = ops.grid_layout(16, width, 19, 16, 1.5)
    table = torch.empty(layout.rows, width).uniform_(-1e-4, 1e-4)
    return layout, table.to(device()), sphere(POINTS).to(device())


def _shape(width: int, dtype: str) -> str:
    return f"L16 F{width} T2^19 {dtype}, 2^18 points on a sphere"

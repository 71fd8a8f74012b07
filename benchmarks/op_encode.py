"""Speed of ``encode`` and its backward against PyTorch's best form of the same grid.

Random points on a sphere are the worst honest order for surface data; pixels of a picture in tiles
of 8 x 8 are the order of a frame. The ceiling reads the same rows by the same indices, fetched
ahead as the op does, and sums nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._timing import device, milliseconds, row
from xscale import ops
from xscale_comparisons import ceiling

# Both sides work in batches: an array for all the points' features would be new memory from the
# system at every call, and clearing its pages would be half of our time.
_BATCH = 1 << 14


def rows() -> list[dict[str, object]]:
    """Time forward, and forward with the table's gradient, for instant-ngp's and our shapes."""
    paper, small = _layout(8, 22, 1.4768261459394993), _layout(2, 19, 1.5)
    return [
        _forward("paper", paper, torch.float16, "random on a sphere", sphere(1 << 20)),
        _forward("paper", paper, torch.float16, "pixels in tiles of 8 x 8", pixels(1024)),
        _forward("F2 T2^19", small, torch.float32, "random on a sphere", sphere(1 << 18)),
        _forward("F2 T2^19", small, torch.float16, "random on a sphere", sphere(1 << 18)),
        _both("F2 T2^19", small, sphere(1 << 18)),
        _both("F8 T2^19", _layout(8, 19, 1.5), sphere(1 << 18)),
    ]


def sphere(points: int) -> Tensor:
    """Return random points [N, 3] on a sphere in the unit cube."""
    generator = torch.Generator().manual_seed(0)
    direction = functional.normalize(torch.randn(points, 3, generator=generator))
    return direction * 0.45 + 0.5


def pixels(side: int) -> Tensor:
    """Return the points [side^2, 3] that a camera's pixels, 1/4096 apart, see of a wavy surface."""
    v, u = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    tiles = torch.stack([u, v], -1).reshape(side // 8, 8, side // 8, 8, 2).transpose(1, 2)
    x, y = (tiles.reshape(-1, 2) / 4096 + 0.3).unbind(1)
    return torch.stack([x, y, 0.5 + 0.05 * torch.sin(23 * x) * torch.cos(19 * y)], 1)


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


def _forward(
    name: str, layout: ops.GridLayout, dtype: torch.dtype, order: str, position: Tensor
) -> dict[str, object]:
    position = position.to(device())
    full = _table(layout, torch.float32)
    table = full if dtype == torch.float32 else _table(layout, dtype).copy_(full)
    grid = ops.FrameGrid(table, layout, torch.zeros(2, 3), "smoothstep", 0.0)
    peers = {"gather": peer_gather, "embedding_bag": peer_bag}
    first = {
        form: milliseconds({"peer": _batched(peer, position[: 4 * _BATCH], full, layout)}, most=1)
        for form, peer in peers.items()
    }
    best = min(first, key=lambda form: first[form]["peer"]["best"])
    works = {
        "ours": _batched(ops.encode, position, table, layout),
        "peer": _batched(peers[best], position, full, layout),
    }
    if device().type == "cpu":
        works["twin"] = lambda: ceiling.gather(position, grid)
    times = milliseconds(works, seconds=4.0, least=2)
    kind = str(dtype).removeprefix("torch.")
    shape = f"{name} {kind}, {len(position):,} points, {order}"
    made = row(
        "encode forward", shape, times, peer_name=f"PyTorch float32 {best}",
        ceiling="twin" if "twin" in times else None,
    )  # fmt: skip
    return {**made, "mpoint_per_s": len(position) / times["ours"]["median"] / 1e3}


def _both(name: str, layout: ops.GridLayout, position: Tensor) -> dict[str, object]:
    position = position.to(device())
    table = _table(layout, torch.float32)
    grad = torch.randn(len(position), layout.levels * table.shape[1], device=table.device)
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
    shape = f"{name} float32, {len(position):,} points, random on a sphere"
    return row("encode with gradient", shape, times, peer_name="PyTorch embedding_bag")


def _layout(width: int, log2_rows: int, growth: float) -> ops.GridLayout:
    return ops.grid_layout(16, width, log2_rows, 16, growth)


def _table(layout: ops.GridLayout, dtype: torch.dtype) -> Tensor:
    table = ops.table_zeros((layout.rows, layout.features_per_level), dtype, device())
    return table.uniform_(-1e-4, 1e-4)


def _batched(
    encode: Callable[..., Tensor], position: Tensor, table: Tensor, layout: ops.GridLayout
) -> Callable[[], object]:
    def run() -> None:
        for part in position.split(_BATCH):
            encode(part, table, layout)

    return run

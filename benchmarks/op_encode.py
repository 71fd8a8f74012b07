"""Speed of ``encode`` and its backward against PyTorch's best form of the same grid.

Random points on a sphere are the worst honest order for surface data: real batches and frames are
more coherent. Ours and the peer run alternately, and the best time of each counts, so that a busy
neighbour spoils both or none. Speeds are in Mpoint/s.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from xscale import ops

POINTS = 2**18
PEER_POINTS = 2**15
"""PyTorch gets fewer points: its speed does not depend on them here, the wait does."""


def rows(threads: int = 2, rounds: int = 5) -> list[dict]:
    """Measure every shape on the CPU and return one dictionary a figure."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with ops.limit_threads(threads):
            return [
                row
                for width, log2_rows, dtype in (
                    (2, 19, torch.float32),
                    (2, 19, torch.float16),
                    (4, 19, torch.float32),
                    (8, 19, torch.float32),
                    (8, 19, torch.float16),
                )
                for row in _shape_rows(width, log2_rows, dtype, threads, rounds)
            ]
    finally:
        torch.set_num_threads(before)


def sphere(points: int) -> Tensor:
    """Return random points [N, 3] on a sphere in the unit cube."""
    generator = torch.Generator().manual_seed(0)
    direction = functional.normalize(torch.randn(points, 3, generator=generator))
    return direction * 0.45 + 0.5


def peer_corners(position: Tensor, layout: ops.GridLayout, level: int) -> tuple[Tensor, Tensor]:
    """Return rows [N, 8] and weights [N, 8], as one writes them in PyTorch when speed counts."""
    first, end = layout.offsets[level : level + 2]
    at = position * layout.scales[level] + 0.5
    cell = at.floor()
    upper = at - cell
    upper = upper * upper * (3 - 2 * upper)
    if layout.dense[level]:
        resolution = layout.resolutions[level]
        stride = torch.tensor([1, resolution, resolution**2])
    else:
        stride = torch.tensor([1, 2654435761, 805459861])
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


def _shape_rows(
    width: int, log2_rows: int, dtype: torch.dtype, threads: int, rounds: int
) -> list[dict]:
    layout = ops.grid_layout(16, width, log2_rows, 16, 1.5)
    table = torch.empty(layout.rows, width).uniform_(-1e-4, 1e-4)
    ours_table = table.to(dtype)
    position, few = sphere(POINTS), sphere(PEER_POINTS)
    grad = torch.randn(POINTS, layout.levels * width)
    few_grad = grad[:PEER_POINTS].contiguous()
    grad_table = torch.zeros_like(table)
    touched = torch.zeros(layout.rows // 8, dtype=torch.uint8)

    def forward() -> Tensor:
        return ops.encode(position, ours_table, layout)

    def both() -> None:
        forward()
        ops.encode_backward(grad, position, layout, grad_table=grad_table, touched=touched)

    def peer_both(peer: Callable) -> None:
        leaf = table.requires_grad_()
        peer(few, leaf, layout).backward(few_grad)
        leaf.grad = None
        leaf.requires_grad_(False)

    twin = _gather_twin(position, layout, ours_table)
    peers = {"gather": peer_gather, "embedding_bag": peer_bag}
    forward_time, twin_time, *peer_times = _best(
        rounds, forward, twin, *(lambda f=f: f(few, table, layout) for f in peers.values())
    )
    both_time, *peer_both_times = _best(rounds, both, lambda: peer_both(peer_bag))
    shape = f"L16 F{width} T2^{log2_rows} {str(dtype).removeprefix('torch.')}, 2^18 on a sphere"
    best_peer = min(range(len(peers)), key=lambda i: peer_times[i])
    return [
        _row("encode", shape, threads, forward_time, peer_times[best_peer],
             list(peers)[best_peer], twin_time / forward_time),
        _row("encode forward+backward", shape, threads, both_time, peer_both_times[0],
             "embedding_bag", None),
    ]  # fmt: skip


def _gather_twin(position: Tensor, layout: ops.GridLayout, table: Tensor) -> Callable[[], object]:
    """Look the same rows up in the same order with no arithmetic: PyTorch's own index_select."""
    row = torch.cat(
        [peer_corners(position, layout, level)[0].flatten() for level in range(layout.levels)]
    )
    out = table.new_empty(len(row), table.shape[1])
    return lambda: torch.index_select(table, 0, row, out=out)


def _row(
    name: str, shape: str, threads: int, ours: float, peer: float, peer_name: str,
    share: float | None,
) -> dict:  # fmt: skip
    fast, slow = POINTS / ours / 1e6, PEER_POINTS / peer / 1e6
    return {
        "name": name,
        "shape": shape,
        "threads": threads,
        "isa": ops.isa(),
        "unit": "Mpoint/s",
        "ours": fast,
        "peer": slow,
        "peer_name": f"PyTorch {peer_name}",
        "ratio": fast / slow,
        "share_of_ceiling": share,
    }


def _best(rounds: int, *works: Callable[[], object]) -> list[float]:
    best = [float("inf")] * len(works)
    for _ in range(rounds + 1):
        for i, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    for row in rows():
        print({key: f"{v:.3g}" if isinstance(v, float) else v for key, v in row.items()})

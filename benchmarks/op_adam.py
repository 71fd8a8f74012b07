"""adam against torch.optim.Adam's fused step on a table of the ``paper`` preset's row width."""

from __future__ import annotations

import torch

from benchmarks._timing import device, milliseconds, row
from xscale import ops

ROWS, WIDTH = 2**20, 8
SETTINGS = {"learning_rate": 1e-3, "betas": (0.9, 0.99), "epsilon": 1e-15}


def rows() -> list[dict[str, object]]:
    """Time the dense rule, and the lazy rule with a tenth of the rows touched."""
    return [_compare("adam dense", 1.0), _compare("adam lazy, 10 % of rows", 0.1)]


def _compare(name: str, share: float) -> dict[str, object]:
    where = device()
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(ROWS, WIDTH, generator=generator).to(where)
    used = torch.rand(ROWS, generator=generator).to(where) < share
    grad = torch.randn(ROWS, WIDTH, generator=generator).to(where) * used[:, None]
    lazy = share < 1
    bits = torch.nn.functional.pad(used, (0, -ROWS % 8)).reshape(-1, 8).to(torch.int32)
    touched = (bits << torch.arange(8, device=where)).sum(1).to(torch.uint8)
    steps = torch.zeros(ROWS, dtype=torch.uint16, device=where)
    first, second = torch.zeros_like(table), torch.zeros_like(table)
    ours = table.clone()
    count = 0

    def step_ours() -> None:
        nonlocal count
        count += 1
        ops.adam(
            ours, grad, first, second, steps=steps if lazy else None,
            touched=touched if lazy else None, step=count, clear_grad=False, **SETTINGS,
        )  # fmt: skip

    peer = torch.nn.Parameter(table.clone())
    peer.grad = grad.clone()
    optimizer = torch.optim.Adam([peer], lr=1e-3, betas=(0.9, 0.99), eps=1e-15, fused=True)
    # The same traffic as the dense step, and no arithmetic: 4 arrays read, 3 written.
    sink = [torch.empty_like(table) for _ in range(3)]

    def move() -> None:
        torch.add(table, grad, out=sink[0])
        sink[1].copy_(first)
        sink[2].copy_(second)

    times = milliseconds({"ours": step_ours, "peer": optimizer.step, "ceiling": move})
    ceiling = None if lazy else "ceiling"
    peer_name = "torch.optim.Adam(fused=True), dense"
    return row(name, f"{ROWS} x {WIDTH}", times, peer_name=peer_name, ceiling=ceiling)

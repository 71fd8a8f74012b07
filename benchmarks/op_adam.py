"""adam against torch.optim.Adam's fused step: rows of the ``paper`` preset's width, and its table.

The lazy row of the whole table is honest about its order: the rows that a batch of 2^16 random
surface points hits, by its gradient, at the places where the hash puts them.
"""

from __future__ import annotations

import torch

from benchmarks._timing import device, milliseconds, row
from benchmarks.op_encode import sphere
from xscale import ops

ROWS, WIDTH = 2**20, 8
SETTINGS = {"learning_rate": 1e-3, "betas": (0.9, 0.99), "epsilon": 1e-15}


def rows() -> list[dict[str, object]]:
    """Time the dense rule, and the lazy rule with a tenth of the rows touched."""
    return [_compare("adam dense", 1.0), _compare("adam lazy, 10 % of rows", 0.1), _paper_table()]


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


def _paper_table() -> dict[str, object]:
    where = device()
    layout = ops.grid_layout(16, WIDTH, 22, 16, 1.4768261459394993)
    position = sphere(2**16).to(where)
    shape = (layout.rows, WIDTH)
    table, grad = ops.table_zeros(shape, device=where), ops.table_zeros(shape, device=where)
    touched = torch.zeros(layout.rows // 8, dtype=torch.uint8, device=where)
    gradient = torch.randn(len(position), layout.levels * WIDTH, device=where)
    ops.encode_backward(gradient, position, layout, grad_table=grad, touched=touched)
    share = float((grad != 0).any(1).double().mean())
    state = ops.table_zeros((layout.rows, 2 * WIDTH), device=where)
    steps = ops.table_zeros((layout.rows,), torch.uint16, where)

    def ours() -> None:
        ops.adam(
            table, grad, state[:, :WIDTH], state[:, WIDTH:], steps=steps, touched=touched,
            clear_grad=False, **SETTINGS,
        )  # fmt: skip

    # The peer's arrays are its own: ours lie in huge pages, and it is timed as everybody runs it.
    peer = torch.nn.Parameter(torch.zeros(shape, device=where))
    peer.grad = grad.clone()
    optimizer = torch.optim.Adam([peer], lr=1e-3, betas=(0.9, 0.99), eps=1e-15, fused=True)
    times = milliseconds({"ours": ours, "peer": optimizer.step}, seconds=4, least=3)
    label = f"{layout.rows} x {WIDTH}, {100 * share:.1f} % of rows"
    return row("lazy adam, paper", label, times, peer_name="torch.optim.Adam(fused=True), dense")

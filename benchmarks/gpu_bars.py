"""The bars of a GPU and the ceilings under them, on the machine that has one.

    python -m benchmarks.gpu_bars --part 3 --json benchmarks/results/GPU-DATE.json

Part 3: copies, encode, inference, Adam, ceilings (benchmarks.gpu_ceilings). Part 4: training steps,
frames, rasterizing, photos. Each row is added to the file as soon as it is measured, with its bar
(benchmarks.gpu_marks); one that fails says why there and stops nothing, and what finds no time left
(--seconds) says so. Ours and the peers take turns in the same run; tiny-cuda-nn, nvdiffrast, gsplat
and the hardware rasterizer take part where they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

os.environ["XSCALE_BENCH_DEVICE"] = "cuda"

import torch
from torch import Tensor

from benchmarks import gpu_peers as peers
from benchmarks import gpu_photos, op_frame, op_raster, op_step
from benchmarks._timing import Work, device, milliseconds, row
from benchmarks.gpu_ceilings import ceilings, copies
from benchmarks.gpu_marks import judged
from benchmarks.gpu_terrain import terrain_surface
from benchmarks.op_encode import peer_gather, pixels, sphere
from xscale import ops
from xscale.cli import _machine
from xscale.gbuffer.build import pixel_samples, visibility
from xscale.io.storage import write_json
from xscale.model.box import Box
from xscale.model.model import Model
from xscale.training.settings import PAPER
from xscale.training.trainer import Trainer
from xscale_comparisons import ceiling

Row = dict[str, object]


def encode() -> Iterator[Row]:
    """The published grid, forwards on random points and on pixels, and its gradient."""
    layout = _paper_layout()
    full = torch.empty(layout.rows, 8, device=device()).uniform_(-1e-4, 1e-4)
    half = full.half()
    looked_up = torch.empty(layout.rows // layout.levels, 4, device=device())
    for order, at in (("random on a sphere", sphere(1 << 20)), ("pixels in tiles", pixels(1024))):
        at = at.to(device())
        visits = len(at) * 8 * layout.levels
        works: dict[str, Work] = {
            "ours": lambda p=at: ops.encode(p, half, layout),
            "peer": lambda p=at: peer_gather(p, full, layout),
            "rows": lambda n=visits: ceiling.rows(looked_up, n),
            **peers.encode(at, half, layout),
        }
        times = milliseconds(works, seconds=4)
        shape = f"paper, float16, {len(at):,} {order}"
        yield from _with_peers("encode forward", shape, times, "PyTorch eager gather", "rows")
    at = sphere(1 << 20).to(device())
    grad = torch.randn(len(at), 16 * 8, device=device())
    table = torch.zeros(layout.rows, 8, device=device())
    apart = torch.zeros(layout.rows, 9, device=device())[:, :8]  # rows that no vector fits
    visits = len(at) * 8 * layout.levels
    works = {
        "ours": lambda: ops.encode_backward(grad, at, layout, grad_table=table),
        "peer": lambda: peers.index_add(grad, at, layout, table),
        "rows": lambda: ceiling.rows(table, visits, "add"),
        "scalar atomics": lambda: ops.encode_backward(grad, at, layout, grad_table=apart),
    }
    times = milliseconds(works, seconds=4)
    shape = f"paper, float32, {len(at):,} random on a sphere"
    yield from _with_peers("encode backward", shape, times, "PyTorch index_add_", "rows")


@torch.inference_mode()
def inference() -> Iterator[Row]:
    """Face ids of a whole 1080p picture to bytes, every pixel covered."""
    view = op_frame._above(1920, 1080)
    surface, packed = terrain_surface(1000, device()), torch.from_numpy(view.packed()).to(device())
    face_id = visibility(surface, packed, view.width, view.height)
    grid, full, shader, parts = _paper_model()
    samples = pixel_samples(surface, packed, face_id)
    position = (samples.position - grid.box[0]) * grid.box[1] + 0.5
    works: dict[str, Work] = {
        "ours": lambda: ops.fused_frame(
            surface.vertices, surface.faces, packed, face_id, grid, shader
        ),
        "peer": op_frame._peer(surface, packed, face_id, (0, 0), grid, full, parts),
        "rows": lambda: ceiling.rows(full[:, :4].contiguous(), len(position) * 128),
        **peers.compiled_film(position, samples.direction, full, grid.layout, parts),
    }
    times = milliseconds(works, seconds=8, least=3)
    shape = f"paper, float16 table, {len(position):,} pixels covered"
    for made in _with_peers("fused inference", shape, times, "PyTorch float32", "rows"):
        yield {**made, "mpixel_per_s": len(position) / times["ours"]["median"] / 1e3}


def adam() -> Iterator[Row]:
    """Rows of batches of 2^16 and 2^18 surface points on the published table."""
    layout = _paper_layout()
    shape = (layout.rows, 8)
    for log2 in (16, 18):
        at = sphere(1 << log2).to(device())
        table, grad = torch.zeros(shape, device=device()), torch.zeros(shape, device=device())
        touched = torch.zeros(layout.rows // 8, dtype=torch.uint8, device=device())
        made = torch.randn(len(at), 128, device=device())
        ops.encode_backward(made, at, layout, grad_table=grad, touched=touched)
        state = torch.zeros(layout.rows, 16, device=device())
        steps = torch.zeros(layout.rows, dtype=torch.uint16, device=device())
        peer = torch.nn.Parameter(torch.zeros(shape, device=device()))
        peer.grad = grad.clone()
        optimizer = torch.optim.Adam([peer], lr=1e-3, fused=True)
        share = float((grad != 0).any(1).double().mean())
        # Bytes of the touched rows, as a copy would move them: 4 rows read, 3 written.
        moved = torch.zeros(int(share * layout.rows) * 8 * 7 // 2, device=device())
        sink = torch.empty_like(moved)
        works: dict[str, Work] = {
            "ours": lambda g=grad, t=touched, s=state, n=steps, p=table: ops.adam(
                p, g, s[:, :8], s[:, 8:], steps=n, touched=t, learning_rate=1e-3, clear_grad=False
            ),
            "peer": optimizer.step,
            "copy": lambda m=moved, s=sink: s.copy_(m),
        }
        times = milliseconds(works, seconds=3)
        label = f"2^{log2} points, {100 * share:.1f} % of {layout.rows} rows"
        yield row(
            f"lazy adam 2^{log2}", label, times, peer_name="torch Adam fused, dense", ceiling="copy"
        )


def raster() -> Iterator[Row]:
    """Terrains in view as a whole, made on the device; the peer is the GPU's own hardware."""
    sizes = ((1000, 1920, 1080), (2240, 1920, 1080), (2832, 3840, 2160), (7072, 1920, 1080))
    for cells, width, height in sizes:
        view = op_raster.camera(width, height)
        surface = terrain_surface(cells, device())
        packed = torch.from_numpy(view.packed()).to(device())
        works: dict[str, Work] = {
            "ours": lambda s=surface, c=packed, w=width, h=height: visibility(s, c, w, h),
            **peers.raster(surface, packed, width, height),
        }
        with peers.hardware(surface, view) as (hardware, renderer):
            if hardware is not None:
                works["peer"] = hardware
            times = milliseconds(works, seconds=2)
        triangles = len(surface.faces)
        shape = f"{triangles:,} triangles, {width} x {height}"
        for made in _with_peers(f"raster {triangles / 1e6:.0f}M", shape, times, renderer, None):
            yield {**made, "gtriangle_per_s": triangles / times["ours"]["median"] / 1e6}
        del surface, works
        torch.cuda.empty_cache()


@torch.inference_mode()
def frame() -> Iterator[Row]:
    """A 1080p frame of 16 million triangles, of the paper's model."""
    view = op_raster.camera(1920, 1080)
    surface, packed = terrain_surface(2832, device()), torch.from_numpy(view.packed()).to(device())
    grid, full, shader, parts = _paper_model()

    def ours() -> Tensor:
        face_id = visibility(surface, packed, view.width, view.height)
        return ops.fused_frame(surface.vertices, surface.faces, packed, face_id, grid, shader)

    face_id = visibility(surface, packed, view.width, view.height)
    infer = op_frame._peer(surface, packed, face_id, (0, 0), grid, full, parts)
    works: dict[str, Work] = {"ours": ours, **peers.gaussians(surface, view)}
    with peers.hardware(surface, view) as (hardware, renderer):
        works["peer"] = lambda: (hardware and hardware(), infer())
        times = milliseconds(works, seconds=6, least=3)
    shape = f"{len(surface.faces):,} triangles, paper, float16 table"
    name = f"{renderer}, then PyTorch" if hardware else f"PyTorch alone ({renderer})"
    for made in _with_peers("frame 1080p paper", shape, times, name, None):
        yield {**made, "frames_per_s": 1e3 / times["ours"]["median"]}


def training() -> Iterator[Row]:
    """The published model's step: float32 and mixed, recorded or not, and with sums that repeat."""
    grid = replace(PAPER.model.grid, finest_resolution=5548)
    kinds = {
        "ours": {"precision": "mixed"},
        "float32": {},
        "not recorded": {"precision": "mixed", "graph": False},
        "deterministic": {},
    }
    for batch in (1 << 16, 1 << 18, 1_572_864):
        pool = peers.on_device(op_step.SheetPool(batch), device())
        box = Box.around(
            torch.tensor([-1.0, -1.0, -0.1]), torch.tensor([1.0, 1.0, 0.1]), grid.per_axis_box
        )
        works: dict[str, Work] = {}
        for name, options in kinds.items():
            optim = replace(PAPER.optim, dense_table=False, batch=batch, **options)
            model = Model(replace(PAPER.model, grid=grid), box, op_step.CAMERAS, device())
            trainer = Trainer(
                model, pool, pool.cameras, optim, deterministic=name == "deterministic",
                on_notice=lambda line: print(line, flush=True),
            )  # fmt: skip
            works[name] = lambda t=trainer: t.train_step(0.5)
            for _ in range(5):  # plain steps, then the recording
                works[name]()
            trainer.finish()
            if name == "float32" and batch <= 1 << 18:  # the eager peer needs the memory of 2^18
                works["peer"] = op_step.Peer(trainer, pool).step
                works |= peers.compiled_step(trainer, pool)
        times = milliseconds(works, seconds=6, least=3)
        shape = f"{batch:,} rays, L16 F8 2^22, mixed"
        for made in _with_peers("training step", shape, times, "PyTorch eager, fused Adam", None):
            yield {**made, "mray_per_s": batch / times["ours"]["median"] / 1e3}
        del works, trainer, model
        torch.cuda.empty_cache()


def photos() -> Iterator[Row]:
    """Photos of 24 megapixels to arrays, on all cores."""
    yield from gpu_photos.rows()


PARTS: dict[int, tuple[Callable[[], Iterator[Row]], ...]] = {
    3: (copies, encode, inference, adam, ceilings),
    4: (training, frame, raster, photos),
}


def main(argv: list[str]) -> int:
    """Measure a part and add its rows to the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--part", type=int, choices=sorted(PARTS), required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=420, help="begin no row after so many")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available() or not ops.cuda_built():
        print("gpu_bars: no CUDA device, or no CUDA bodies: nothing to measure", file=sys.stderr)
        return 13
    found = {"rows": [], "machine": _machine.describe(), "commit": _machine.commit()}
    if options.json.exists():
        found["rows"] = json.loads(options.json.read_text())["rows"]
    failures, end = 0, time.monotonic() + options.seconds
    for measure in PARTS[options.part]:
        found["rows"] = [r for r in found["rows"] if r["group"] != measure.__name__]
        for made in _guarded(measure, end):
            failures += "failure" in made
            copied = [r["rate"] for r in found["rows"] if r["name"] == "copy" and "rate" in r]
            rate = copied[0] if copied else None
            found["rows"].append({**judged(made, rate), "group": measure.__name__})
            write_json(options.json, found, overwrite=True)
            print(_line(made), flush=True)
        torch.cuda.empty_cache()
    return 1 if failures else 0


def _guarded(measure: Callable[[], Iterator[Row]], end: float) -> Iterator[Row]:
    """Give the rows, and one that says what went wrong where something does."""
    rows = measure()
    try:
        while time.monotonic() < end:
            made = next(rows, None)
            if made is None:
                return
            yield made
    except Exception as error:  # the other rows are worth having whatever it is
        lines = f"{type(error).__name__}: {error}".splitlines()
        yield {"name": measure.__name__, "shape": "", "failure": lines[0]}
    else:
        yield {
            "name": measure.__name__,
            "shape": "",
            "failure": "no time was left for (more of) it",
        }


def _with_peers(
    name: str, shape: str, times: dict, peer_name: str, ceiling: str | None
) -> Iterator[Row]:
    """Make one row, with the times of the other peers that took part beside it."""
    made = row(name, shape, times, peer_name=peer_name, ceiling=ceiling)
    known = {"ours", "peer", "rows", "copy"}
    others = {key: value["median"] for key, value in times.items() if key not in known}
    yield {**made, "peers_ms": others}


def _line(made: Row) -> str:
    if "failure" in made:
        return f"{made['name']}: FAILED: {made['failure']}"
    if "rate" in made:
        return f"{made['name']}, {made['shape']}: {made['rate']:,.0f} {made['unit']}"
    ratio = "-" if made["ratio"] is None else f"{made['ratio']:.1f}"
    met = {True: ": met", False: ": not met"}.get(made.get("met"), "")
    return (
        f"{made['name']}, {made['shape']}: {made['ours']:.3f} ms, {ratio} x {made['peer_name']}; "
        f"bar {made.get('bar', 'none')}{met}"
    )


def _paper_layout() -> ops.GridLayout:
    return ops.grid_layout(16, 8, 22, 16, 1.4768261459394993)


def _paper_model() -> tuple[ops.FrameGrid, Tensor, ops.FrameShader, dict[str, Tensor]]:
    grid, full, shader, parts = op_frame.paper_model()
    return (
        peers.on_device(grid, device()),
        full.to(device()),
        peers.on_device(shader, device()),
        {name: tensor.to(device()) for name, tensor in parts.items()},
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

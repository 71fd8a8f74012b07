"""Properties of device code alone: memory of a device, blocks in any order, whole trainings."""

from dataclasses import replace

import pytest
import torch

import xscale
from tests.device_code.build import ROOT
from tests.ops import test_encode as encode
from tests.ops import test_fused_step as fused
from xscale import ops
from xscale.ops import _ext
from xscale.ops._selftest import frame_problem, step_problem

OPTIONS = fused.OPTIONS | {"loss": "l2"}
SMALL = [
    "optim.batch=256",
    "model.grid.levels=4",
    "model.grid.log2_table_size=8",
    "model.shader.hidden=16",
]


def _numbers(found, grid):
    parts = [found.grad_weights, found.grad_exposure, found.grad_light, grid.table, grid.first]
    return [part for part in parts if part is not None]


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_deterministic_steps_are_the_same_bits_in_any_order(device_code, kind):
    def step(order):
        rays, grid, shader = step_problem(width=4, kind=kind, rays=70, log2_rows=8, levels=4)
        with device_code.options(order=order):
            found = ops.fused_step(rays, grid, shader, deterministic=True, **OPTIONS)
        return [torch.tensor([found.loss, found.squared_error]), *_numbers(found, grid)]

    first, *others = (step(order) for order in (0, 1, 2))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_devices_with_little_shared_memory_use_global_memory(device_code, kind):
    def step():
        rays, grid, shader = step_problem(width=4, kind=kind, rays=70, log2_rows=8, levels=4)
        return _numbers(ops.fused_step(rays, grid, shader, **OPTIONS), grid)

    large = step()
    with device_code.options(most_shared=16384):
        small = step()
    for one, other in zip(large, small, strict=True):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_frames_do_not_depend_on_where_the_weights_lie(device_code, kind):
    mesh, camera, face_id, grid, shader = frame_problem(kind)
    face_id = face_id[20:41, 30:63].contiguous()

    def paint():
        return ops.fused_frame(*mesh, camera, face_id, grid, shader, corner=(30, 20))

    shared = paint()
    with device_code.options(most_shared=40000):  # no room for weights beside six warps
        alone = paint()
    assert torch.equal(shared, alone)
    assert shared.float().std() > 1


def test_bits_of_rows_need_no_memory_past_their_end(device_code):
    layout = ops.grid_layout(1, 2, 8, 2, 2.0)
    assert layout.rows // 8 % 4 != 0
    generator = torch.Generator().manual_seed(1)
    position = torch.rand(50, 3, generator=generator)
    grad = torch.ones(50, layout.levels * 2)
    touched = torch.zeros(layout.rows // 8, dtype=torch.uint8)
    touched[-1] = 128
    table = torch.zeros(layout.rows, 2)
    ops.encode_backward(grad, position, layout, grad_table=table, touched=touched)
    bits = (touched[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    assert torch.equal(bits.flatten().bool()[:-1], (table != 0).any(1)[:-1])
    assert touched[-1] >= 128


def test_gradients_that_autograd_hands_over_may_lie_anywhere(device_code):
    layout = ops.grid_layout(2, 8, 6, 4, 1.6)
    position = torch.rand(9, 3, generator=torch.Generator().manual_seed(0))
    gradients = []
    for begin in (0, 1):
        table = torch.zeros(layout.rows, 8, requires_grad=True)
        grad = torch.full((9 * 16 + 1,), 2.0)[begin:][: 9 * 16].view(9, 16)
        ops.encode(position, table, layout).backward(grad)
        gradients.append(table.grad)
    assert torch.allclose(*gradients)


def test_lanes_are_busy_where_few_rows_were_touched(device_code):
    generator = torch.Generator().manual_seed(0)
    rows = 1 << 13
    hit = torch.rand(rows, generator=generator) < 0.089
    grad = torch.randn(rows, 8, generator=generator) * hit[:, None]
    bits = (hit.view(-1, 8).to(torch.uint8) << torch.arange(8)).sum(1).to(torch.uint8)
    state = torch.zeros(rows, 16)
    param = torch.zeros(rows, 8)
    steps = torch.zeros(rows, dtype=torch.uint16)
    with device_code.options(counts=1):
        device_code.counts()
        ops.adam(
            param, grad, state[:, :8], state[:, 8:], steps=steps, touched=bits, learning_rate=0.1
        )
        kernels = device_code.counts()["kernels"]
    assert torch.equal((param != 0).any(1), hit)
    (counts,) = kernels.values()
    # Rows are loaded, changed and stored by instructions of the body alone.
    assert counts["lanes"] / counts["instructions"] > 24


@pytest.mark.parametrize(("words", "load"), [(2, "v2"), (4, "v4"), (8, "v4")])
def test_ceilings_load_what_they_claim(device, words, load):
    program = device.built.program(ROOT / "benchmarks" / "ceiling" / "cuda.cu", 80).read_text()
    kernels = [k for k in program.split("\nFUNC ") if f"readILi{words}ELi8EE" in k.split()[0]]
    assert len(kernels) == 1
    wide = kernels[0].count(f"I ld.global.{load}.f32 ")
    assert wide == 8 * max(1, words // 4)
    assert kernels[0].count("I ld.global.f32 ") == 0


def test_launches_go_to_the_device_of_the_tensors(monkeypatch):
    told = []

    class Core:
        ops = _ext._core.ops

        def set_cuda_device(self, index):
            told.append(index)

        def adam(self, body, stream, **fields):
            told.append(body)

    class Stream:
        cuda_stream = 0

    class Device:
        type, index = "cuda", 1

    monkeypatch.setattr(_ext, "_core", Core())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "device", _Guard)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: _Guard.index)
    _ext.call("adam", Device())
    assert told == [1, "cuda"]


class _Guard:
    """Stands in for PyTorch's device guard."""

    index = 0

    def __init__(self, device):
        self.wanted = device.index

    def __enter__(self):
        _Guard.index = self.wanted

    def __exit__(self, *_):
        _Guard.index = 0


def test_a_short_training_and_a_frame(device_code, asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    pictures, losses = [], []
    for backend in ("emulated", "cpu"):
        with ops.use_backend(backend):
            run = xscale.train(scene, out=tmp_path / backend, steps=6, settings=SMALL, device="cpu")
            pictures.append(run.render(run.camera(run.names("test")[0])))
        losses.append(run.path)
    ours, theirs = pictures
    assert torch.equal(ours.coverage, theirs.coverage)
    apart = (ours.colour.int() - theirs.colour.int()).abs().amax(-1)[theirs.coverage]
    assert (apart <= 2).double().mean() > 0.98
    assert {"rasterize", "fused_step"} <= set(device_code.launched)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", [torch.float32, torch.float16])
def test_devices_without_atomics_of_vectors_add_the_same(device_code_of_80, gradient):
    grids = []
    for backend in ("emulated", "cpu"):
        rays, grid, shader = step_problem(width=8, kind="relu", rays=70, log2_rows=8, levels=6)
        half = gradient == torch.float16 and backend == "emulated"
        kind = torch.float16 if half else torch.float32
        grid = replace(grid, gradient=torch.zeros_like(grid.table, dtype=kind))
        with ops.use_backend(backend):
            ops.fused_step(rays, grid, shader, mixed=half, **OPTIONS)
        grids.append(grid.first.double())
    most = 1e-2 if gradient == torch.float16 else 1e-5
    assert (grids[0] - grids[1]).norm() < most * grids[1].norm()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_gradients_of_the_grid_on_compute_capability_80(device_code_of_80, width):
    encode.test_gradients_match_the_float64_reference(width, "linear", True)
    encode.test_backward_adds_to_what_is_there_and_marks_the_rows_it_hits()

"""A device that runs out of memory gets half the rays; errors of kernels name their launch."""

import types

import pytest
import torch

import xscale
from xscale import ops
from xscale.errors import ResourceError, ShapeError
from xscale.ops import _ext
from xscale.training import steps

SMALL = ["optim.batch=1001", "model.grid.levels=4", "model.grid.log2_table_size=10"]


def _fails(monkeypatch, fits):
    """Let steps of more than ``fits`` rays run out of memory; returns the sizes that were asked."""
    step, asked = ops.fused_step, []

    def fused_step(rays, *args, **options):
        asked.append(len(rays.face_id))
        if asked[-1] > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(rays, *args, **options)

    monkeypatch.setattr(steps.ops, "fused_step", fused_step)
    return asked


def test_out_of_memory_halves_the_batch_once_and_says_so(asymmetric_folder, tmp_path, monkeypatch):
    asked, said = _fails(monkeypatch, 600), []
    scene = xscale.Scene.open(asymmetric_folder)
    xscale.train(scene, out=tmp_path / "run", steps=3, settings=SMALL, on_stage=said.append)
    assert asked == [1001, 500, 500, 500]
    notices = [line for line in said if "ran out of memory" in line]
    assert notices == [
        "W-MEMORY: cpu ran out of memory: 500 rays a step from now on instead of optim.batch"
    ]


def test_out_of_memory_twice_ends_the_training(asymmetric_folder, tmp_path, monkeypatch):
    _fails(monkeypatch, 100)
    scene = xscale.Scene.open(asymmetric_folder)
    with pytest.raises(ResourceError, match="500 rays a step, half of optim") as caught:
        xscale.train(scene, out=tmp_path / "run", steps=3, settings=SMALL)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("xscale: fused_step: out of memory", torch.OutOfMemoryError),
        ("xscale: shade_relu: an illegal memory access was encountered", RuntimeError),
    ],
)
def test_a_kernel_that_fails_names_its_launch(monkeypatch, text, kind):
    def body(*args, **fields):
        raise RuntimeError(text)

    monkeypatch.setattr(_ext, "_core", types.SimpleNamespace(ops={}, adam=body))
    with pytest.raises(kind, match=text) as caught:
        _ext.call("adam", torch.device("cpu"))
    assert type(caught.value) is kind


def test_tensors_on_two_devices_are_a_value_error_before_any_launch(monkeypatch):
    monkeypatch.setattr(_ext, "call", lambda *args, **fields: pytest.fail("a kernel was launched"))
    rows = [torch.zeros(8, 2) for _ in range(3)]
    elsewhere = torch.zeros(8, 2, device="meta")
    with pytest.raises(ValueError, match="is on meta, the other tensors on cpu") as caught:
        ops.adam(*rows, elsewhere, step=1, learning_rate=1.0)
    assert isinstance(caught.value, ShapeError)
    layout = ops.grid_layout(2, 2, 8, 4, 2.0)
    table = torch.zeros(layout.rows, 2, device="meta")
    with pytest.raises(ValueError, match="encode: table is on meta"):
        ops.encode(torch.zeros(3, 3), table, layout)

"""Tensors that a body cannot take are refused before anything runs, with op and argument named."""

import sys
from dataclasses import fields, is_dataclass, replace

import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError
from xscale.ops._selftest import frame_problem, reproject_problem, step_problem

LAYOUT = ops.grid_layout(4, 8, 8, 4, 1.6)


def _encode(**given):
    parts = {
        "position": torch.rand(64, 3),
        "table": torch.randn(LAYOUT.rows, 8),
        "footprint": torch.rand(64),
    } | given
    table, position = parts.pop("table"), parts.pop("position")
    return ops.encode(position, table, LAYOUT, **parts)


def _encode_backward(**given):
    parts = {
        "grad_features": torch.randn(64, 32),
        "position": torch.rand(64, 3),
        "grad_table": torch.zeros(LAYOUT.rows, 8),
        "footprint": torch.rand(64),
        "touched": torch.zeros(LAYOUT.rows // 8, dtype=torch.uint8),
    } | given
    return ops.encode_backward(parts.pop("grad_features"), parts.pop("position"), LAYOUT, **parts)


def _adam(**given):
    parts = {name: torch.randn(64, 4) for name in ("param", "grad", "first", "second")}
    parts |= {
        "steps": torch.zeros(64, dtype=torch.uint16),
        "touched": torch.zeros(8, dtype=torch.uint8),
        "control": ops.step_control(),
    }
    return ops.adam(**parts | given, learning_rate=0.1)


def _step(**given):
    rays, grid, shader = step_problem(width=8, kind="relu", rays=40, log2_rows=8, levels=4)
    grid = replace(
        grid,
        gradient=torch.zeros_like(grid.table),
        touched=torch.zeros(grid.layout.rows // 8, dtype=torch.uint8),
    )

    def changed(part):
        names = {field.name for field in fields(part)}
        return replace(part, **{name: value for name, value in given.items() if name in names})

    ops.fused_step(*(changed(part) for part in (rays, grid, shader)), learning_rate=0.1)


def _frame(**given):
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    mesh = dict(zip(("vertices", "faces"), mesh, strict=True))
    plain = mesh | {"camera": camera, "face_id": face_id}
    plain |= {name: value for name, value in given.items() if name in plain}
    grid = grid._replace(**{n[5:]: v for n, v in given.items() if n.startswith("grid.")})
    shader = shader._replace(**{n[7:]: v for n, v in given.items() if n.startswith("shader.")})
    return ops.fused_frame(*plain.values(), grid, shader)


def _rasterize(**given):
    parts = {
        "points": torch.rand(3, 3),
        "corners": torch.tensor([[0, 1, 2], [0, 2, 1]], dtype=torch.int32).to(torch.uint16),
        "face_ids": torch.arange(2, dtype=torch.int32),
        "cluster_start": torch.tensor([0, 2], dtype=torch.int32),
        "point_start": torch.tensor([0, 3], dtype=torch.int32),
        "cluster_box": torch.zeros(1, 6),
        "camera": frame_problem("relu")[1],
    } | given
    return ops.rasterize(**parts, rect=(0, 0, 4, 4))


def _reproject(**given):
    names = ("vertices", "faces", "camera", "face_id", "depth")
    *plain, keys, order = reproject_problem(20, 12)
    parts = dict(zip(names, plain, strict=True)) | given
    return ops.reproject(*(parts[name] for name in names), keys, order)


CALLS = {
    "encode": (_encode, ("position", "table", "footprint")),
    "encode_backward": (
        _encode_backward, ("grad_features", "position", "grad_table", "footprint", "touched"),
    ),
    "adam": (_adam, ("param", "grad", "first", "second", "steps", "touched", "control")),
    "fused_step": (
        _step,
        ("vertices", "faces", "cameras", "camera_index", "pixel", "face_id", "target", "table",
         "first", "second", "steps", "centre", "unit", "gradient", "touched", "weights",
         "exposure"),
    ),
    "fused_frame": (
        _frame,
        ("vertices", "faces", "camera", "face_id", "grid.table", "grid.box", "shader.weights",
         "shader.exposure"),
    ),
    "rasterize": (
        _rasterize,
        ("points", "corners", "face_ids", "cluster_start", "point_start", "cluster_box", "camera"),
    ),
    "reproject": (_reproject, ("vertices", "faces", "camera", "face_id", "depth")),
}  # fmt: skip
# First tensors of an op decide its device and its sizes: others are named then.
FIRST = {
    ("encode", "position"), ("encode_backward", "position"), ("adam", "param"),
    ("fused_step", "vertices"), ("fused_frame", "face_id"), ("rasterize", "points"),
    ("reproject", "face_id"), ("reproject", "vertices"),
}  # fmt: skip
# As many as there are: what points into them is not looked through.
FREE_SIZE = {"vertices", "faces", "cameras"}
ARGUMENTS = [(op, name) for op, (_, names) in CALLS.items() for name in names]


def _given(op, name, monkeypatch):
    """The tensor that a call gives for an argument, found where it is checked."""
    seen = {}

    def watched(of, argument, tensor, *rest, **more):
        if of == op:
            seen[argument] = tensor  # the last one is the call's own, behind those that prepare it

    with monkeypatch.context() as patch:
        for key, module in list(sys.modules.items()):
            if key.startswith("xscale.ops.") and hasattr(module, "check_tensor"):
                patch.setattr(module, "check_tensor", watched)
        CALLS[op][0]()
    return seen[name]


def _apart(tensor):
    """The same numbers, every second one of a wider tensor."""
    return torch.stack([tensor, tensor], -1)[..., 0]


@pytest.mark.parametrize(("op", "name"), ARGUMENTS)
def test_tensors_of_another_size_layout_or_device_are_refused(op, name, emulated, monkeypatch):
    call = CALLS[op][0]
    good = _given(op, name, monkeypatch)
    last = name.split(".")[-1]
    if name != "steps":  # may be a column
        with pytest.raises(ShapeError, match=rf"^{op}: .*{last}"):
            call(**{name: _apart(good)})
    if name not in FREE_SIZE and (op, name) not in FIRST:
        with pytest.raises(ShapeError, match=rf"^{op}: "):
            call(**{name: good[:-1]})
    if (op, name) not in FIRST:
        with pytest.raises(ShapeError, match=rf"^{op}: .*{last} is on meta"):
            call(**{name: good.to("meta")})


MOVED_WHOLE = [
    ("encode", "table"), ("encode_backward", "grad_features"), ("fused_frame", "grid.table"),
    ("fused_step", "table"), ("fused_step", "first"), ("fused_step", "second"),
    ("fused_step", "gradient"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "name"), MOVED_WHOLE)
def test_rows_that_a_device_cannot_move_whole_are_refused(op, name, emulated, monkeypatch):
    call = CALLS[op][0]
    good = _given(op, name, monkeypatch)
    flat = torch.empty(good.numel() + 1, dtype=good.dtype)
    flat[1:] = good.reshape(-1)
    shifted = flat[1:].view(good.shape)
    with pytest.raises(ShapeError, match=rf"^{op}: rows of {name} must lie at multiples of 16"):
        call(**{name: shifted})
    with ops.use_backend("cpu"):
        call(**{name: shifted})


def test_every_dataclass_of_the_step_is_looked_at():
    tensors = {
        field.name
        for part in step_problem(width=8, kind="relu", rays=40, log2_rows=8, levels=4)
        if is_dataclass(part)
        for field in fields(part)
        if isinstance(getattr(part, field.name), torch.Tensor)
    }
    assert tensors <= set(CALLS["fused_step"][1]) | {"light"}

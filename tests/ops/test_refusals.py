"""Tensors that a body cannot take are refused before anything runs, with op and argument named."""

import sys
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial

import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError
from xscale.ops import _ext
from xscale.ops._selftest import frame_problem, reproject_problem, step_problem

LAYOUT = ops.grid_layout(4, 8, 8, 4, 1.6)
# Their preparation runs ops: once, before any test forbids that.
FRAME = cache(partial(frame_problem, "relu"))
REPROJECT = cache(partial(reproject_problem, 20, 12))


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
    mesh, camera, face_id, grid, shader = FRAME()
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
        "camera": FRAME()[1],
    } | given
    return ops.rasterize(**parts, rect=(0, 0, 4, 4))


def _reproject(**given):
    names = ("vertices", "faces", "camera", "face_id", "depth")
    *plain, keys, order = REPROJECT()
    parts = dict(zip(names, plain, strict=True)) | given
    return ops.reproject(*(parts[name] for name in names), keys, order)


def _shade_parts(layout):
    generator = torch.Generator().manual_seed(0)
    light = torch.ones(4, layout.hidden) if isinstance(layout, ops.FilmShaderLayout) else None
    return {
        "features": torch.rand(40, layout.features, generator=generator),
        "direction": torch.nn.functional.normalize(torch.randn(40, 3, generator=generator)),
        "weights": 0.1 * torch.randn(layout.size, generator=generator),
        "exposure": torch.zeros(2, layout.exposure_size),
        "photo": torch.zeros(40, dtype=torch.int32),
        "light": light,
    }


def _sums(parts):
    return {f"grad_{n}": torch.zeros_like(parts[n]) for n in ("weights", "exposure", "light")
            if parts[n] is not None}  # fmt: skip


def _shade(layout, **given):
    return ops.shade(**_shade_parts(layout) | given, layout=layout)


def _shade_backward(layout, **given):
    parts = _shade_parts(layout)
    parts |= {"grad_rgb": torch.rand(40, 3), **_sums(parts)} | given
    return ops.shade_backward(**parts, layout=layout)


def _shade_train(layout, **given):
    parts = _shade_parts(layout)
    parts |= {"target": torch.rand(40, 3), "ray_weight": torch.ones(40), **_sums(parts)} | given
    return ops.shade_train(**parts, layout=layout)


def _interpolate(**given):
    (vertices, faces), camera, *_ = FRAME()
    parts = {
        "vertices": vertices, "faces": faces, "normals": torch.ones_like(vertices),
        "cameras": camera[None].contiguous(), "camera_index": torch.zeros(40, dtype=torch.int32),
        "pixel": torch.rand(40, 2), "face_id": torch.zeros(40, dtype=torch.int32),
    }  # fmt: skip
    return ops.interpolate(**parts | given)


def _sides(**given):
    (vertices, faces), camera, face_id, *_ = FRAME()
    parts = {
        "vertices": vertices, "faces": faces, "normals": torch.ones_like(vertices),
        "camera": camera, "face_id": face_id,
        "allowed": torch.full((len(faces),), ops.BOTH, dtype=torch.uint8),
    }  # fmt: skip
    return ops.sides(**parts | given)


def _breaks(**given):
    parts = {
        "face_id": torch.zeros(5, 7, dtype=torch.int32), "depth": torch.ones(5, 7),
        "corner_id": torch.zeros(6, 8, dtype=torch.int32), "corner_depth": torch.ones(6, 8),
    }  # fmt: skip
    return ops.breaks(**parts | given, step=0.1)


_SHADED = ("features", "direction", "weights", "exposure", "photo")
_SHADERS = {
    "shade_relu": (ops.ReluShaderLayout(16, 16), ()),
    "shade_film": (ops.FilmShaderLayout(16, 16), ("light",)),
}
CALLS = {
    "interpolate": (
        _interpolate,
        ("vertices", "faces", "normals", "cameras", "camera_index", "pixel", "face_id"),
    ),
    "sides": (_sides, ("vertices", "faces", "normals", "camera", "face_id", "allowed")),
    "breaks": (_breaks, ("face_id", "depth", "corner_id", "corner_depth")),
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
for _op, (_layout, _more) in _SHADERS.items():
    _grads = tuple(f"grad_{n}" for n in ("weights", "exposure", *_more))
    CALLS[_op] = (partial(_shade, _layout), _SHADED + _more)
    CALLS[f"{_op}_backward"] = (
        partial(_shade_backward, _layout), ("grad_rgb", *_SHADED, *_more, *_grads),
    )  # fmt: skip
    CALLS[f"{_op}_train"] = (
        partial(_shade_train, _layout), (*_SHADED, *_more, "target", "ray_weight", *_grads),
    )  # fmt: skip
# First tensors of an op decide its device and its sizes: others are named then.
FIRST = {
    ("encode", "position"), ("encode_backward", "position"), ("adam", "param"),
    ("fused_step", "vertices"), ("fused_frame", "face_id"), ("rasterize", "points"),
    ("reproject", "face_id"), ("reproject", "vertices"), ("interpolate", "vertices"),
    ("sides", "vertices"), ("breaks", "face_id"),
    *((op, "features") for op in CALLS if op.startswith("shade")),
}  # fmt: skip
# As many as there are: what points into them is not looked through.
FREE_SIZE = {"vertices", "faces", "cameras"}
FREE_SIZES = {("interpolate", "face_id"), ("sides", "face_id")} | {
    (op, "exposure") for op in CALLS if op.startswith("shade")
}
ARGUMENTS = [(op, name) for op, (_, names) in CALLS.items() for name in names]


@cache
def _arguments(op):
    """The tensors that a call gives, by their names, found where they are checked."""
    seen = {}

    def watched(of, argument, tensor, *rest, **more):
        if of == op:
            seen[argument] = tensor  # the last one is the call's own, behind those that prepare it

    with pytest.MonkeyPatch.context() as patch, ops.use_backend("emulated"):
        for key, module in list(sys.modules.items()):
            if key.startswith("xscale.ops.") and hasattr(module, "check_tensor"):
                patch.setattr(module, "check_tensor", watched)
        CALLS[op][0]()
    return seen


def _apart(tensor):
    """The same numbers, every second one of a wider tensor."""
    return torch.stack([tensor, tensor], -1)[..., 0]


@pytest.mark.parametrize(("op", "name"), ARGUMENTS)
def test_tensors_of_another_size_layout_or_device_are_refused(op, name, emulated, monkeypatch):
    call, good = CALLS[op][0], _arguments(op)[name]
    monkeypatch.setattr(_ext, "call_in", None)  # nothing may be launched
    last = name.split(".")[-1]
    if name != "steps":  # may be a column
        with pytest.raises(ShapeError, match=rf"^{op}: .*{last}"):
            call(**{name: _apart(good)})
    if name not in FREE_SIZE and (op, name) not in FIRST | FREE_SIZES:
        with pytest.raises(ShapeError, match=rf"^{op}: "):
            call(**{name: good[:-1]})
    if (op, name) not in FIRST:
        with pytest.raises(ShapeError, match=rf"^{op}: .*{last} is on meta"):
            call(**{name: good.to("meta")})


@pytest.mark.parametrize("backend", ["cpu", "emulated", "reference"])
@pytest.mark.parametrize(("op", "name"), ARGUMENTS)
def test_tensors_between_the_addresses_of_their_elements_are_refused(
    op, name, backend, monkeypatch
):
    good = _arguments(op)[name]
    unread = (op, name) == ("fused_step", "gradient") and backend != "emulated"
    if good.element_size() == 1 or unread:
        return
    monkeypatch.setattr(_ext, "call_in", None)  # nothing may be launched
    memory = torch.zeros(good.numel() * good.element_size() + 16, dtype=torch.uint8)
    begin = -memory.data_ptr() % 16 + 1
    between = torch.frombuffer(
        memory.numpy(), dtype=good.dtype, count=good.numel(), offset=begin
    ).view(good.shape)
    size = good.element_size()
    message = rf"^{op}: .*{name.split('.')[-1]} must begin at a multiple of {size} bytes"
    with ops.use_backend(backend), pytest.raises(ShapeError, match=message):
        CALLS[op][0](**{name: between})


MOVED_WHOLE = [
    ("encode", "table"), ("encode_backward", "grad_features"), ("fused_frame", "grid.table"),
    ("fused_step", "table"), ("fused_step", "first"), ("fused_step", "second"),
    ("fused_step", "gradient"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "name"), MOVED_WHOLE)
def test_rows_that_a_device_cannot_move_whole_are_refused(op, name, emulated):
    call = CALLS[op][0]
    good = _arguments(op)[name]
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

"""Faults planted into the ops' own device code turn a test red: the checks see real kernels."""

import contextlib
import re
import sys

import pytest
import torch

from tests.ops import test_fused_frame as frame
from tests.ops import test_shade_relu as relu
from tests.ops.test_mixed_step import OPTIONS
from xscale import ops
from xscale.ops._selftest import frame_problem, step_problem


@pytest.fixture
def planted(device, tmp_path):
    """Run ops with the program of a source changed; gives the reports of what runs inside."""

    @contextlib.contextmanager
    def plant(source, pattern, replacement, count=0):
        found = next(p for p in device.built.programs(90) if p.name.startswith(source))
        text, times = re.subn(pattern, replacement, found.read_text(), count=count, flags=re.M)
        assert times > 0
        changed = tmp_path / found.name
        changed.write_text(text)
        reports = []
        with device.ops(90), ops.use_backend("emulated"):
            device.reports()
            device.load(changed)
            try:
                yield reports
                reports += device.reports()
            finally:
                device.load(found)

    return plant


NOTHING = r"I membar.gl -1 0 0 "


def test_a_kernel_without_its_barriers_races(planted):
    with planted("shade-relu", r"^I bar\.sync .*$", NOTHING) as reports:
        ops.shade(*relu._case(40))
    assert any("shared race" in line for line in reports)


def test_a_kernel_without_the_barriers_of_its_warps_races(planted):
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    with planted("fused-frame", r"^I bar\.warp\.sync .*$", NOTHING) as reports:
        ops.fused_frame(*mesh, camera, face_id[:24, 60:90].contiguous(), grid, shader)
    assert any("shared race" in line for line in reports)


def test_marked_stores_that_differ_race(planted):
    rays, grid, shader = step_problem(width=4, kind="relu", rays=64, log2_rows=8, levels=4)
    control = ops.step_control()
    control[ops.CONTROL_FIELDS.index("scale")] = 2.0**40
    store = r"^(I st\.volatile\.global\.u32 -1 0 2 \S+) \S+"
    # All threads mean one number; each stores its own now.
    for replacement, expected in ((r"\g<0>", False), (r"\1 slaneid", True)):
        with planted("fused-step", store, replacement) as reports:
            ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
        assert any("write after write" in line for line in reports) == expected


def test_shifted_fragments_give_another_picture(planted):
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    part = (*mesh, camera, face_id[:24, 60:90].contiguous(), grid, shader)
    with ops.use_backend("reference"):
        exact = ops.fused_frame(*part)
    # The two halves of operand B change places.
    swapped = r"\1 v2 \3 \2 v4"
    with planted("fused-frame", r"^(I mma.*?) v2 (r\d+) (r\d+) v4", swapped) as reports:
        wrong = ops.fused_frame(*part)
    assert (frame.differences(wrong, exact) > 1).double().mean() > 0.05
    assert reports == []


def test_a_bound_that_is_one_too_far_is_out_of_bounds(planted):
    rows = torch.zeros(100, 3)
    # Rows of three numbers go one by one; a thread too many has a row too many.
    with planted("adam-cuda", r"^I setp\.ge\.s64 ", "I setp.gt.s64 ") as reports:
        ops.adam(rows, rows + 1, rows.clone(), rows.clone(), learning_rate=0.1)
    assert any("out of bounds" in line for line in reports)


def test_pointers_that_are_not_aligned_are_seen_where_nobody_refuses_them(planted, monkeypatch):
    monkeypatch.setattr(sys.modules["xscale.ops.encode"], "check_rows", lambda *_: None)
    layout = ops.grid_layout(2, 8, 6, 4, 1.6)
    flat = torch.randn(layout.rows * 8 + 1)
    with planted("encode-cuda", r"^FUNC", "FUNC") as reports:
        ops.encode(torch.rand(40, 3), flat[1:].view(-1, 8), layout)
    assert any("misaligned access of 16 bytes" in line for line in reports)

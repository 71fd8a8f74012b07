"""Results of each instruction, against arithmetic of Python and PyTorch."""

import math
import struct

import pytest
import torch

from tests.device_code.kernels import applied, run

LANE = torch.arange(32, dtype=torch.int32)
SOME = torch.tensor([0, 1, -1, 7, -7, 2**31 - 1, -(2**31), 12345678] * 4, dtype=torch.int32)
OTHER = torch.tensor([3, -1, 5, -2, 2**30, 2, 9, -(2**31)] * 4, dtype=torch.int32)
WIDE = SOME.long() * 4294967311 + OTHER
REALS = torch.tensor([0.0, 1.5, -2.25, 1e-20, 3e38, -7.5, 0.3, 100.0] * 4)
MORE = torch.tensor([2.0, -0.5, 4.0, 1e-20, 2.0, 3.0, -0.7, 1e-3] * 4)


def _signed(numbers, bits=32):
    made = [(n + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for n in numbers]
    return torch.tensor(made, dtype=torch.int64 if bits == 64 else torch.int32)


@pytest.mark.parametrize(("name", "formula"), [
    ("add.s32", lambda a, b: a + b),
    ("sub.s32", lambda a, b: a - b),
    ("mul.lo.s32", lambda a, b: a * b),
    ("mul.hi.s32", lambda a, b: a * b >> 32),
    ("mul.hi.u32", lambda a, b: (a % 2**32) * (b % 2**32) >> 32),
    ("min.s32", min),
    ("max.u32", lambda a, b: max(a % 2**32, b % 2**32)),
    ("div.s32", lambda a, b: math.trunc(a / b)),
    ("rem.s32", lambda a, b: a - b * math.trunc(a / b)),
    ("div.u32", lambda a, b: (a % 2**32) // (b % 2**32)),
    ("and.b32", lambda a, b: a & b),
    ("xor.b32", lambda a, b: a ^ b),
    ("shl.b32", lambda a, b: a << (b % 2**32) if b % 2**32 < 32 else 0),
    ("shr.s32", lambda a, b: a >> min(b % 2**32, 31)),
    ("shr.u32", lambda a, b: (a % 2**32) >> (b % 2**32) if b % 2**32 < 32 else 0),
])  # fmt: skip
def test_integers_of_32_bits(interpreter, tmp_path, name, formula):
    found = applied(interpreter, tmp_path, f"{name} $0, $1, $2;", "s32", SOME, OTHER)
    wanted = [formula(a, b) for a, b in zip(SOME.tolist(), OTHER.tolist(), strict=True)]
    assert torch.equal(found, _signed(wanted))


def test_products_of_double_width_and_sums_with_carry(interpreter, tmp_path):
    wide = applied(interpreter, tmp_path, "mul.wide.s32 $0, $1, $2;", "s64,s32,s32", SOME, OTHER)
    assert torch.equal(wide, SOME.long() * OTHER.long())
    both = """{ .reg .b32 %la, %ha, %lb, %hb, %x, %y;
        mov.b64 {%la, %ha}, $1; mov.b64 {%lb, %hb}, $2;
        add.cc.u32 %x, %la, %lb; addc.u32 %y, %ha, %hb; mov.b64 $0, {%x, %y}; }"""
    other = torch.roll(WIDE, 3)
    found = applied(interpreter, tmp_path, both, "s64", WIDE, other)
    wanted = [a + b for a, b in zip(WIDE.tolist(), other.tolist(), strict=True)]
    assert torch.equal(found, _signed(wanted, 64))
    found = applied(interpreter, tmp_path, "mad.lo.s32 $0, $1, $2, $3;", "s32", SOME, OTHER, LANE)
    sums = zip(SOME.tolist(), OTHER.tolist(), range(32), strict=True)
    assert torch.equal(found, _signed([a * b + c for a, b, c in sums]))


@pytest.mark.parametrize(("text", "formula"), [
    ("add.f32 $0, $1, $2;", lambda a, b: a + b),
    ("mul.f32 $0, $1, $2;", lambda a, b: a * b),
    ("div.rn.f32 $0, $1, $2;", lambda a, b: a / b),
    ("min.f32 $0, $1, $2;", torch.minimum),
    ("neg.f32 $0, $1;", lambda a, b: -a),
    ("abs.f32 $0, $1;", lambda a, b: a.abs()),
    ("sqrt.rn.f32 $0, $2;", lambda a, b: b.sqrt()),
    ("fma.rn.f32 $0, $1, $2, $1;", lambda a, b: (a.double() * b + a).float()),
    ("add.sat.f32 $0, $1, $2;", lambda a, b: (a + b).clamp(0, 1)),
    ("copysign.f32 $0, $2, $1;", torch.copysign),
])  # fmt: skip
def test_real_numbers(interpreter, tmp_path, text, formula):
    more = MORE.abs() if "sqrt" in text else MORE
    found = applied(interpreter, tmp_path, text, "f32", REALS, more)
    assert torch.equal(found, formula(REALS, more))


@pytest.mark.parametrize(("way", "wanted"), [("rm", math.floor), ("rp", math.ceil)])
def test_fused_products_round_the_way_that_they_say(interpreter, tmp_path, way, wanted):
    one, tiny = torch.full((32,), 1.0), torch.full((32,), 1e-12)
    text = f"fma.{way}.f32 $0, $1, $2, $1;"
    found = applied(interpreter, tmp_path, text, "f32", one, tiny)
    up = struct.unpack("f", struct.pack("I", 0x3F800001))[0]
    assert float(found[0]) == (up if wanted is math.ceil else 1.0)


def test_comparisons_know_numbers_that_are_none(interpreter, tmp_path):
    none = REALS.clone()
    none[::3] = float("nan")
    for compare, formula in (("lt", torch.lt), ("geu", None), ("neu", torch.ne), ("eq", torch.eq)):
        text = f"{{ .reg .pred %q; setp.{compare}.f32 %q, $1, $2; selp.b32 $0, 1, 0, %q; }}"
        found = applied(interpreter, tmp_path, text, "s32,f32,f32", none, MORE)
        wanted = ~torch.lt(none, MORE) if formula is None else formula(none, MORE)
        assert torch.equal(found.bool(), wanted)


@pytest.mark.parametrize(("name", "formula"), [
    ("cvt.rni.s32.f32", round),
    ("cvt.rzi.s32.f32", int),
    ("cvt.rmi.s32.f32", math.floor),
    ("cvt.rpi.s32.f32", math.ceil),
])  # fmt: skip
def test_reals_to_integers_stop_at_the_ends(interpreter, tmp_path, name, formula):
    values = torch.tensor([0.5, 1.5, -2.5, -0.3, 1e20, -1e20, float("nan"), 7.9] * 4)
    found = applied(interpreter, tmp_path, f"{name} $0, $1;", "s32,f32", values)
    wanted = [
        0 if math.isnan(x) else min(max(formula(x), -(2**31)), 2**31 - 1) for x in values.tolist()
    ]
    assert found.tolist() == wanted


@pytest.mark.parametrize("finite", [False, True])
def test_pairs_of_halves(interpreter, tmp_path, finite):
    low = torch.tensor([1e6, -1e6, 1.0009765, 3e-8, float("nan"), 65519.0, 0.1, -0.0] * 4)
    name = "cvt.rn.satfinite.f16x2.f32" if finite else "cvt.rn.f16x2.f32"
    found = applied(interpreter, tmp_path, f"{name} $0, $1, $2;", "b32,f32,f32", REALS, low)
    most = 65504.0 if finite else float("inf")
    wanted = torch.stack([low, REALS], 1).clamp(-most, most).half()
    assert found.tolist() == wanted.view(torch.int32).flatten().tolist() or torch.equal(
        found.view(torch.float16).nan_to_num(7), wanted.flatten().nan_to_num(7)
    )


def test_fields_of_bits(interpreter, tmp_path):
    place, count = LANE % 11, LANE % 9
    found = applied(interpreter, tmp_path, "bfi.b32 $0, $1, $2, 5, 7;", "b32", SOME, OTHER)
    mask = 0x7F << 5
    assert torch.equal(found, (OTHER & ~mask) | ((SOME << 5) & mask))
    found = applied(interpreter, tmp_path, "bfe.u32 $0, $1, $2, $3;", "u32", SOME, place, count)
    wanted = [
        (a % 2**32 >> p) & ((1 << n) - 1)
        for a, p, n in zip(SOME.tolist(), place.tolist(), count.tolist(), strict=True)
    ]
    assert torch.equal(found, _signed(wanted))
    found = applied(interpreter, tmp_path, "popc.b32 $0, $1;", "s32,b32", SOME)
    assert found.tolist() == [(n % 2**32).bit_count() for n in SOME.tolist()]
    found = applied(interpreter, tmp_path, "clz.b32 $0, $1;", "s32,b32", SOME)
    assert found.tolist() == [32 - (n % 2**32).bit_length() for n in SOME.tolist()]
    found = applied(interpreter, tmp_path, "prmt.b32 $0, $1, $2, 0x7610;", "b32", SOME, OTHER)
    assert torch.equal(found, (SOME & 0xFFFF) | (OTHER & -65536))


@pytest.mark.parametrize(("how", "source"), [
    ("up.b32 {0}, {1}, 3, 0", lambda i: i - 3 if i >= 3 else i),
    ("down.b32 {0}, {1}, 5, 31", lambda i: i + 5 if i + 5 < 32 else i),
    ("bfly.b32 {0}, {1}, 9, 31", lambda i: i ^ 9),
    ("idx.b32 {0}, {1}, 13, 31", lambda i: 13),
    # Segments of eight lanes.
    ("down.b32 {0}, {1}, 2, 0x1807", lambda i: i + 2 if i % 8 < 6 else i),
])  # fmt: skip
def test_shuffles(interpreter, tmp_path, how, source):
    text = f"shfl.sync.{how.format('$0', '$1')}, -1;"
    found = applied(interpreter, tmp_path, text, "b32", SOME + LANE)
    assert found.tolist() == [int((SOME + LANE)[source(i)]) for i in range(32)]


def test_ballots_and_branches_meet_again(interpreter, tmp_path):
    out = torch.zeros(32, dtype=torch.int32)
    body = """
        setp.lt.u32 %p1, %r0, 11;
        @%p1 bra LOW;
        mov.u32 %r1, 7;
        bra JOIN;
    LOW:
        mov.u32 %r1, 5;
    JOIN:
        setp.eq.u32 %p2, %r1, 5;
        vote.sync.ballot.b32 %r2, %p2, -1;
        mul.wide.u32 %d9, %r0, 4;
        add.u64 %d8, %d0, %d9;
        st.global.u32 [%d8], %r2;
    """
    assert run(interpreter, tmp_path, body, out) == []
    assert out.tolist() == [2**11 - 1] * 32


def test_a_product_of_matrices(interpreter, tmp_path):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(s, generator=generator).half() for s in ((16, 16), (16, 8)))
    c = torch.randn(16, 8, generator=generator)
    lane = torch.arange(32)
    group, within = lane // 4, lane % 4

    def pairs(matrix, row, column, down):
        """Two numbers after each other along a row, or down a column."""
        other = (row + 1, column) if down else (row, column + 1)
        both = torch.stack([matrix[row, column], matrix[other]], 1).contiguous()
        return both.view(torch.int32).flatten()

    of_a = torch.stack([
        pairs(a, group + 8 * (i % 2), within * 2 + 8 * (i // 2), False) for i in range(4)
    ], 1)  # fmt: skip
    of_b = torch.stack([pairs(b, within * 2 + 8 * i, group, True) for i in range(2)], 1)
    of_c = torch.stack([c[group + 8 * (i // 2), within * 2 + i % 2] for i in range(4)], 1)
    out = torch.zeros(32, 4)
    body = """
        mul.wide.u32 %d9, %r0, 16; add.u64 %d10, %d0, %d9; add.u64 %d12, %d2, %d9;
        add.u64 %d13, %d3, %d9; mul.wide.u32 %d9, %r0, 8; add.u64 %d11, %d1, %d9;
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d10];
        ld.global.v2.u32 {%r5, %r6}, [%d11];
        ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%d12];
        mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
            {%f5, %f6, %f7, %f8}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f2, %f3, %f4};
        st.global.v4.f32 [%d13], {%f5, %f6, %f7, %f8};
    """
    tensors = [t.contiguous() for t in (of_a, of_b, of_c, out)]
    assert run(interpreter, tmp_path, body, *tensors) == []
    exact = a.double() @ b.double() + c
    found = torch.zeros(16, 8)
    for i in range(4):
        found[group + 8 * (i // 2), within * 2 + i % 2] = tensors[3][:, i]
    assert torch.allclose(found.double(), exact, rtol=1e-6, atol=1e-6)


def test_atomics_of_many_lanes_add_up(interpreter, tmp_path):
    sums = torch.zeros(4)
    body = """
        mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f40000000;
        red.global.add.v4.f32 [%d0], {%f1, %f2, %f1, %f2};
        atom.global.add.f32 %f3, [%d0], %f1;
    """
    assert run(interpreter, tmp_path, body, sums, threads=64, blocks=3) == []
    assert sums.tolist() == [384.0, 384.0, 192.0, 384.0]


def test_unknown_instructions_are_refused_when_they_are_loaded(interpreter, tmp_path):
    with pytest.raises(RuntimeError, match=r"does not know wgmma\.fence"):
        run(interpreter, tmp_path, "wgmma.fence.sync.aligned;")

"""Faults planted in small kernels: each is reported, and the kernel without it is not."""

import pytest
import torch

from tests.device_code.kernels import run

# Threads write shared memory and read what their neighbour wrote.
EXCHANGE = """
    mul.lo.u32 %r1, %r0, 4;
    mov.u32 %r2, memory;
    add.u32 %r3, %r2, %r1;
    st.shared.u32 [%r3], %r0;
    {barrier}
    xor.b32 %r4, %r1, {other};
    add.u32 %r5, %r2, %r4;
    ld.shared.u32 %r6, [%r5];
    mul.wide.u32 %d9, %r0, 4;
    add.u64 %d8, %d0, %d9;
    st.global.u32 [%d8], %r6;
"""
OWN = """
    mul.wide.u32 %d9, %r0, 4;
    add.u64 %d8, %d0, %d9;
"""


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_missing_barrier_is_a_race(interpreter, tmp_path, order):
    out = torch.zeros(64, dtype=torch.int32)

    def reports(barrier):
        body = EXCHANGE.format(barrier=barrier, other=128)
        return run(interpreter, tmp_path, body, out, threads=64, shared=256)

    with interpreter.options(order=order):
        assert reports("bar.sync 0;") == []
        assert out.tolist() == [i ^ 32 for i in range(64)]
        assert any("shared race" in line for line in reports(""))


def test_lanes_of_a_warp_need_their_own_barrier(interpreter, tmp_path):
    out = torch.zeros(32, dtype=torch.int32)

    def reports(barrier):
        body = EXCHANGE.format(barrier=barrier, other=4)
        return run(interpreter, tmp_path, body, out, shared=128)

    assert reports("bar.warp.sync -1;") == []
    assert out.tolist() == [i ^ 1 for i in range(32)]
    assert any("shared race" in line for line in reports(""))


def test_lanes_that_read_one_word_are_before_a_write_behind_their_barrier(interpreter, tmp_path):
    def reports(barrier):
        body = f"""
            setp.eq.u32 %p1, %r0, 0;
            @%p1 st.shared.u32 [memory], 1;
            bar.warp.sync -1;
            ld.shared.u32 %r1, [memory];
            {barrier}
            @%p1 st.shared.u32 [memory], 2;
        """
        return run(interpreter, tmp_path, body, shared=16)

    assert reports("bar.warp.sync -1;") == []
    assert any("write after read" in line for line in reports(""))


def test_blocks_that_write_one_word_race_unless_all_mean_it_and_write_the_same(
    interpreter, tmp_path
):
    word = torch.zeros(1, dtype=torch.int32)

    def reports(body):
        return run(interpreter, tmp_path, body, word, blocks=3)

    assert any("write after write" in line for line in reports("st.global.u32 [%d0], 1;"))
    word.zero_()
    same = "mov.u32 %r1, 1; st.volatile.global.u32 [%d0], %r1;"
    assert reports(same) == []
    for number in ("%ctaid.x", "%laneid"):
        different = f"mov.u32 %r1, {number}; st.volatile.global.u32 [%d0], %r1;"
        assert any("write after write" in line for line in reports(different))
    added = "mov.u32 %r1, 1; red.global.add.u32 [%d0], %r1;"
    assert reports(added) == []
    looked = "ld.global.u32 %r2, [%d0];" + added
    assert any("race" in line for line in reports(looked))
    assert reports("ld.volatile.global.u32 %r2, [%d0];" + added) == []


def test_bytes_of_a_word_belong_to_their_own_threads(interpreter, tmp_path):
    out = torch.zeros(64, dtype=torch.uint8)
    mine = """
        cvt.u64.u32 %d9, %r0; add.u64 %d8, %d0, %d9;
        ld.global.u8 %h1, [%d8]; st.global.u8 [%d8], %r0;
    """
    assert run(interpreter, tmp_path, mine, out, threads=64) == []
    word = mine + "ld.global.u32 %r2, [%d0];"
    assert any("race" in line for line in run(interpreter, tmp_path, word, out, threads=64))


def test_bounds_are_those_of_the_tensor(interpreter, tmp_path):
    out = torch.zeros(33, dtype=torch.int32)
    store = OWN + "st.global.u32 [%d8], %r0;"
    assert run(interpreter, tmp_path, store, out[:32]) == []
    found = run(interpreter, tmp_path, OWN + "st.global.u32 [%d8+4], %r0;", out[:32])
    assert ["out of bounds" in line for line in found] == [True]
    assert out[32] == 0  # the access did not happen
    found = run(interpreter, tmp_path, OWN + "ld.global.u32 %r1, [%d8+-4];", out[:32])
    assert ["out of bounds" in line for line in found] == [True]


def test_accesses_are_aligned_to_their_size(interpreter, tmp_path):
    numbers = torch.zeros(12)
    load = "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%d0];"
    assert run(interpreter, tmp_path, load, numbers) == []
    found = run(interpreter, tmp_path, load, numbers[1:])
    assert ["misaligned access of 16 bytes" in line for line in found] == [True]


def test_shared_memory_is_written_before_it_is_read_and_ends_somewhere(interpreter, tmp_path):
    found = run(interpreter, tmp_path, "ld.shared.u32 %r1, [memory];", shared=64)
    assert ["nobody wrote" in line for line in found] == [True]
    found = run(interpreter, tmp_path, "st.shared.u32 [memory+64], 1;", shared=64, threads=32)
    assert any("bounds of shared memory" in line for line in found)


def test_collectives_are_reached_by_all_of_their_mask(interpreter, tmp_path):
    half = """
        setp.lt.u32 %p1, %r0, 16;
        @!%p1 bra END;
        shfl.sync.idx.b32 %r1, %r0, 0, 31, {mask};
    END:
    """
    assert run(interpreter, tmp_path, half.format(mask=0xFFFF)) == []
    found = run(interpreter, tmp_path, half.format(mask=-1))
    assert any("collective" in line for line in found)


def test_barriers_are_reached_by_whole_warps(interpreter, tmp_path):
    some = """
        setp.lt.u32 %p1, %r0, {threads};
        @%p1 bar.sync 0;
    """
    found = run(interpreter, tmp_path, some.format(threads=40), threads=64)
    assert any("barrier" in line for line in found)


def test_launches_beyond_the_device_are_refused(interpreter, tmp_path):
    with pytest.raises(AssertionError), interpreter.options(most_shared=64):
        run(interpreter, tmp_path, "mov.u32 %r1, memory;", shared=128)

"""The ops' CPU bodies under sanitizers; faults planted into one of them are found."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sanitizers import build

FOUND = 99  # exit code of a process that a sanitizer ended
# Every op with small problems; the first test of a file takes as long to start as it runs.
QUICK = ("tests/ops/test_dispatch.py", "tests/ops/test_emulated.py")
# sides on more pixels than one piece of work has, with threads.
CALL = """
import torch
import tests.sanitizers.module
from xscale import ops
vertices = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
camera = torch.zeros(32, dtype=torch.float64)
face_id = torch.zeros(1, 40001, dtype=torch.int32)
for _ in range(3):
    ops.sides(vertices, faces, torch.ones(3, 3), camera, face_id)
print("ended well")
"""
SOURCE, PLACE = "sides/cpu.cpp", "sides_range(a, begin, end)"


def _call(sanitized: build.Sanitized, folder, put: str) -> tuple[int, str]:
    module = sanitized.changed(SOURCE, PLACE, put, folder)
    done = sanitized.run(module, "-c", CALL, OMP_NUM_THREADS="2")
    return done.returncode, done.stdout


def test_ops_touch_no_memory_but_their_own_and_do_nothing_undefined(address):
    def run(isa):
        return address.test(*QUICK, XSCALE_ISA=isa, OMP_NUM_THREADS="1")

    with ThreadPoolExecutor(2) as workers:
        for done in workers.map(run, ("avx512bf16", "base")):
            assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["base", "avx2", "avx512", "avx512bf16"])
def test_all_tests_of_ops_pass_with_every_instruction_set(address, isa):
    done = address.test("tests/ops", "-m", "not slow", XSCALE_ISA=isa, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (PLACE, "ended well"),
        ("sides_range(a, begin, end + 1)", "heap-buffer-overflow"),
        ("sides_range(a, begin - 1, end)", "heap-buffer-overflow"),
        ("sides_range(a, begin + 0 * (1 << (end + 31)), end)", "shift exponent"),
    ],
)
def test_a_planted_fault_ends_the_process(address, tmp_path, put, said):
    code, text = _call(address, tmp_path, put)
    assert said in text, text[-3000:]
    assert code == (0 if put == PLACE else FOUND)


@pytest.mark.slow
def test_threads_of_ops_do_not_race(thread):
    done = thread.test("tests/ops", "-m", "not slow", OMP_NUM_THREADS="3")
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.slow
def test_a_planted_race_ends_the_process(thread, tmp_path):
    for number, (put, said, expected) in enumerate(
        [
            (PLACE, "ended well", 0),
            # Every piece writes the first pixel of the next one as well.
            ("sides_range(a, begin, end < a.n ? end + 1 : end)", "data race", FOUND),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        code, text = _call(thread, folder, put)
        assert said in text, text[-3000:]
        assert code == expected

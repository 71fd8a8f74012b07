"""Reading a mesh never takes more than 6 times its size and 256 MiB, whatever it says."""

import pytest

from tests.memory import measured

_MIB = 1 << 20


def test_no_count_that_a_mesh_declares_is_believed(tmp_path):
    found = measured("tests.io.hostile", "declared", tmp_path)
    assert len(found) > 50
    for name, taken in found.items():
        assert "Error: " in taken.outcome, f"{name}: {taken}"
        assert not taken.outcome.startswith("FAULT"), f"{name}: {taken}"
        assert taken.grown < 16 * _MIB, f"{name}: {taken}"


@pytest.mark.slow
def test_memory_grows_by_at_most_six_times_the_file(tmp_path):
    small, large = (measured("tests.io.hostile", "dense", tmp_path, n * _MIB) for n in (6, 18))
    for name, taken in large.items():
        assert not taken.outcome.startswith("FAULT"), f"{name}: {taken}"
        slope = (taken.grown - small[name].grown) / (taken.size - small[name].size)
        assert slope <= 6.05, f"{name}: {slope:.2f} bytes a byte, {taken}"
        assert taken.grown < 6 * taken.size + 256 * _MIB

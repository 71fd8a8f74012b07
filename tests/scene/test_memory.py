"""Reading cameras and lists never takes more than 6 times their size and 256 MiB."""

import pytest

from tests.memory import assert_refused, assert_six_times, measured

_MIB = 1 << 20


def test_no_count_that_a_camera_file_declares_is_believed(tmp_path):
    found = measured("tests.scene.hostile", "declared", tmp_path)
    assert len(found) > 30
    assert_refused(found)


@pytest.mark.slow
def test_memory_grows_by_at_most_six_times_the_file(tmp_path):
    small, large = (measured("tests.scene.hostile", "dense", tmp_path, n * _MIB) for n in (4, 12))
    assert_six_times(small, large)

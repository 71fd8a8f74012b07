"""Some seconds of ``make fuzz`` in every run of the tests."""

import pytest

from tests.fuzz import own_files


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["archive", "job", "path", "run", "scores", "split"])
def test_damaged_files_of_our_own_end_well_or_with_a_documented_error(kind):
    count, faults = own_files.rounds(1.5, 11, kind)
    assert count > 3
    assert faults == []

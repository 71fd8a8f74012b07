"""Thirty right scenes and thirty wrong ones: the verdict, and the effect of the advice."""

import pytest

from tests.inspection.table import Maker, right_cases, row_of, summed, wrong_cases


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("table"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plate", "statue"])
def test_no_right_scene_is_called_wrong_no_wrong_one_right_and_most_are_set_right(kind, tmp_path):
    make = Maker(tmp_path / "made", kind)
    right, wrong = [*right_cases(make)], [*wrong_cases(make)]
    assert (len(right), len(wrong)) == (30, 30)
    found = summed([row_of(case, tmp_path) for case in (*right, *wrong)])
    assert found.called_wrong == []
    assert found.praised == []
    assert len(found.set_right) >= 25, found.set_right


@pytest.mark.parametrize("name", ["moved along by 12 %", "poses: inverse opengl"])
def test_advice_followed_makes_the_scene_fit_together(make, tmp_path, name):
    (case,) = (case for case in wrong_cases(make) if case.name == name)
    row = row_of(case, tmp_path)
    assert row.said in ("no", "refused")
    assert row.mended


def test_a_mesh_beside_its_place_by_less_than_pixels_show_is_right(tmp_path):
    make = Maker(tmp_path / "made", "statue")
    name = "a mesh off by a thousandth with points"
    (case,) = (case for case in right_cases(make) if case.name == name)
    assert row_of(case, tmp_path).said == "yes"

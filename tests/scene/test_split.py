import pytest

from xscale.errors import ListError, UsageError
from xscale.scene.split import split_names

NAMES = [f"p{i:02d}.jpg" for i in range(15)]


def test_default_is_every_seventh_above_fourteen_photos_else_every_fourth():
    assert split_names(NAMES).test == ("p00.jpg", "p07.jpg", "p14.jpg")
    assert split_names(NAMES[:14]).test == ("p00.jpg", "p04.jpg", "p08.jpg", "p12.jpg")


@pytest.mark.parametrize("every", [2, 3, 5, 15, 99])
def test_every_photo_is_in_exactly_one_part(every):
    split = split_names(NAMES, test_every=every)
    assert sorted((*split.train, *split.test)) == NAMES
    assert not set(split.train) & set(split.test)
    assert split.test == tuple(NAMES[::every])


def test_list_wins_and_order_is_the_scenes(tmp_path):
    path = tmp_path / "test.txt"
    path.write_bytes(b"\xef\xbb\xbf# held out\r\np03.jpg\r\n\r\n  p01.jpg  \r\n")
    split = split_names(NAMES, test_every=2, test_list=path)
    assert split.test == ("p01.jpg", "p03.jpg")
    assert len(split.train) == 13


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p03.jpg\nP04.jpg\n", r"test.txt:2: there is no photo P04.jpg; nearest names: p04.jpg"),
        ("p03.jpg\np04.jpg\np03.jpg\n", r"test.txt:3: p03.jpg occurs twice, first in line 1"),
        ("# nothing\n\n", "names no photo"),
        ("\n".join(NAMES), "none is left to train on"),
    ],
)
def test_wrong_list_is_named(tmp_path, text, words):
    path = tmp_path / "test.txt"
    path.write_text(text)
    with pytest.raises(ListError, match=words):
        split_names(NAMES, test_list=path)


def test_missing_list_is_named(tmp_path):
    with pytest.raises(ListError, match=r"none.txt: cannot be read"):
        split_names(NAMES, test_list=tmp_path / "none.txt")


def test_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ListError, match="none is left"):
        split_names(NAMES, test_every=1)
    with pytest.raises(ListError, match="none is left"):
        split_names(NAMES[:1])
    with pytest.raises(UsageError, match="at least 0"):
        split_names(NAMES, test_every=-1)


def test_nothing_is_held_out_where_that_is_asked_for():
    split = split_names(NAMES, test_every=0)
    assert (split.train, split.test) == (tuple(NAMES), ())

from tests.house.tree import files, name_of

MOST_LINES = 400


def test_no_file_is_longer_than_a_reader_holds_in_mind():
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in files(".py", ".h", ".cpp", ".cu", ".cuh")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_unfinished_marks():
    words = ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"]
    marked = [
        f"{name_of(path)}: {word}"
        for path in files(".py", ".h", ".cpp", ".cu", ".cuh")
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert marked == []

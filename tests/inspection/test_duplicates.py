from xscale import Scene
from xscale.inspection.duplicates import duplicates_of, remarks


def test_equal_files_are_grouped_and_a_leak_into_the_test_photos_is_named(asymmetric_folder):
    images = asymmetric_folder / "images"
    assert not duplicates_of(Scene.open(asymmetric_folder).photos)
    data = (images / "view_01.png").read_bytes()
    (images / "view_03.png").write_bytes(data)
    # As long, yet another file: only the bytes count.
    (images / "view_05.png").write_bytes(data[:-1] + b"\0")
    groups = duplicates_of(Scene.open(asymmetric_folder).photos)
    assert groups == [["view_01.png", "view_03.png"]]
    (line,) = remarks(groups, {"view_00.png"})
    assert line.startswith("W-PHOTO-SAME: view_01.png, view_03.png are the same file; ")
    (line,) = remarks(groups, {"view_01.png"})
    assert line.startswith("W-PHOTO-LEAK: view_01.png, view_03.png are the same file, in training")

"""Photos copied through Windows or macOS: other case, other Unicode form, the same scene."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.cli import main
from xscale.errors import SceneError
from xscale.scene.scene import Scene

NFC, NFD = (unicodedata.normalize(form, "zürich.png") for form in ("NFC", "NFD"))


def _named(asymmetric, *names):
    return replace(asymmetric, cameras=dict(zip(names, asymmetric.cameras.values(), strict=False)))


def _rename(folder, names):
    for old, new in names.items():
        (folder / new).parent.mkdir(exist_ok=True)
        # By way of a third name, for disks that do not tell case apart.
        (folder / old).rename(folder / "moving")
        (folder / "moving").rename(folder / new)


@pytest.fixture
def colmap_folder(asymmetric, tmp_path):
    names = ("Left/IMG_1.JPG", NFC, "c.png")
    return builders.write_colmap(_named(asymmetric, *names), tmp_path / "scene")


def test_other_case_and_other_unicode_form_are_found_with_one_warning(asymmetric, colmap_folder):
    assert NFC != NFD
    before = Scene.open(colmap_folder)
    assert before.warnings == ()
    _rename(colmap_folder / "images", {"Left/IMG_1.JPG": "left/img_1.jpg", NFC: NFD})
    scene = Scene.open(colmap_folder)
    (warning,) = scene.warnings
    assert warning.startswith("W-PHOTO-NAME: 2 photos are spelled differently")
    assert warning.isascii()
    # Names are those on the disk; cameras are those of the model's photos.
    assert [p.name for p in scene.photos] == ["c.png", "left/img_1.jpg", NFD]
    for name, listed in (("left/img_1.jpg", "Left/IMG_1.JPG"), (NFD, NFC), ("c.png", "c.png")):
        np.testing.assert_array_equal(scene.photo(name).camera.t, before.photo(listed).camera.t)
    seen = scene.sparse_observations()
    assert seen.keys() == {p.name for p in scene.photos}
    for name, (pixels, points) in seen.items():
        np.testing.assert_allclose(scene.photo(name).camera.project(points)[0], pixels, atol=1e-9)
    assert main.main(["inspect", str(colmap_folder)]) == 0


@pytest.mark.parametrize("binary", [True, False])
def test_back_slashes_of_windows_lead_into_the_same_folders(asymmetric, tmp_path, binary):
    names = ("left\\IMG_1.png", "left\\more\\IMG_2.png", "c.png")
    built = _named(asymmetric, *names)
    folder = builders.write_colmap(built, tmp_path / "scene", binary=binary)
    for name in names[:2]:
        plain = folder / "images" / name.replace("\\", "/")
        plain.parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).rename(plain)
    scene = Scene.open(folder)
    assert [p.name for p in scene.photos] == ["c.png", "left/IMG_1.png", "left/more/IMG_2.png"]
    (warning,) = scene.warnings
    assert warning.startswith("W-PHOTO-NAME: 2 photos")
    assert "back-slashes" in warning
    assert len(scene.sparse_observations()) == 3


def test_names_with_back_slashes_do_not_leave_the_folder(asymmetric, tmp_path):
    built = _named(asymmetric, "..\\a.png", "b.png", "c.png")
    folder = builders.write_colmap(built, tmp_path / "scene")
    (folder / "images" / "..\\a.png").rename(folder / "a.png")
    with pytest.raises(SceneError, match="1 of 3 photos with a camera are missing"):
        Scene.open(folder)


def test_exact_name_wins_over_a_neighbour_of_other_case(colmap_folder):
    images = colmap_folder / "images"
    (images / "C.PNG").write_bytes(b"not even a picture")
    if (images / "c.png").read_bytes() == b"not even a picture":
        pytest.fail("this test needs a disk that tells upper from lower case")
    scene = Scene.open(colmap_folder)
    assert scene.photo("c.png").path.name == "c.png"
    assert [w.split(":")[0] for w in scene.warnings] == ["W-PHOTO-NO-CAMERA"]


def test_same_case_in_the_other_unicode_form_is_closer_than_another_case(colmap_folder):
    images = colmap_folder / "images"
    _rename(images, {NFC: NFD})
    (images / NFC.upper()).write_bytes((images / NFD).read_bytes())
    assert NFD in [p.name for p in Scene.open(colmap_folder).photos]


def test_two_candidates_are_refused_by_name(colmap_folder):
    images = colmap_folder / "images"
    data = (images / "c.png").read_bytes()
    (images / "c.png").unlink()
    for name in ("C.png", "c.PNG"):
        (images / name).write_bytes(data)
    with pytest.raises(SceneError, match=r"'c.png' does not exist.* 'C.png' and 'c.PNG' differ"):
        Scene.open(colmap_folder)


def test_one_file_does_not_serve_two_cameras(asymmetric, tmp_path):
    names = ("d1.png", "a.png", "A.png")
    folder = builders.write_colmap(_named(asymmetric, *names), tmp_path / "scene")
    (folder / "images" / "A.png").unlink()
    # a.png is taken by its own camera: A.png is missing.
    with pytest.raises(SceneError, match=r"1 of 3 photos .* missing: A.png"):
        Scene.open(folder)
    (folder / "images" / "a.png").rename(folder / "images" / "a.PNG")
    with pytest.raises(SceneError, match=r"'A.png' and 'a.png' .* would both be 'a.PNG'"):
        Scene.open(folder)


def test_authors_layout_joins_other_spellings_too(asymmetric, tmp_path):
    folder = builders.write_mvsnet(_named(asymmetric, "View_A.png", NFC), tmp_path / "scene")
    before = Scene.open(folder)
    _rename(folder / "images_1", {"View_A.png": "view_a.png", NFC: NFD})
    scene = Scene.open(folder)
    assert [p.name for p in scene.photos] == ["view_a.png", NFD]
    assert [w.split(":")[0] for w in scene.warnings] == ["W-PHOTO-NAME"]
    assert scene.photos[0].camera.t.tolist() == before.photo("View_A.png").camera.t.tolist()


def test_test_list_may_have_the_other_unicode_form(colmap_folder, tmp_path):
    (tmp_path / "list.txt").write_text(f"{NFD}\n", encoding="utf-8")
    split = Scene.open(colmap_folder).split(test_list=tmp_path / "list.txt")
    assert split.test == (NFC,)
    assert split.train == ("Left/IMG_1.JPG", "c.png")


def test_five_thousand_other_names_are_matched_in_no_time():
    import time

    from xscale.scene.names import other_spellings

    begin = time.perf_counter()
    names = [f"DSC{k:05d}.JPG" for k in range(5000)]
    found = other_spellings(names, [name.lower() for name in names], "images")
    assert found == {name: name.lower() for name in names}
    assert time.perf_counter() - begin < 2

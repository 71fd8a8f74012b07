"""Damaged photos: a few training photos are left out and named, test photos and many never are."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale import Scene
from xscale.errors import DamagedPhotoError
from xscale.scene.quarantine import LeftOut, check_left_out

PHOTOS = 16  # photos 0, 7 and 14 are test photos


@pytest.fixture
def folder(tmp_path):
    built = builders.asymmetric_scene(photos=PHOTOS)
    cameras = {n.replace(".png", ".jpg"): c for n, c in built.cameras.items()}
    return builders.write_colmap(replace(built, cameras=cameras), tmp_path / "scene")


def _resize(path):
    Image.open(path).resize((112, 66)).save(path)


DAMAGES = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "zeros": (lambda p: p.write_bytes(bytes(4 << 20)), "is not a picture"),
    "text": (lambda p: p.write_text("<html>404</html>"), "is not a picture"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "is cut off"),
    "ratio": (_resize, "the photo is 112 x 66, its camera 112 x 64"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_training_photo_is_left_out_counted_and_named(folder, kind):
    whole = Scene.open(folder).split()
    damage, says = DAMAGES[kind]
    damage(folder / "images" / "view_05.jpg")
    scene = Scene.open(folder)
    line = next(w for w in scene.warnings if w.startswith("W-PHOTO: "))
    assert "1 damaged training photos are left out: view_05.jpg" in line
    assert says in line
    assert list(scene.left_out) == ["view_05.jpg"]
    assert "view_05.jpg" not in scene.sparse_observations()
    split = scene.split()
    assert split.test == whole.test
    assert split.train == tuple(name for name in whole.train if name != "view_05.jpg")


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_test_photo_is_an_error_by_either_way_to_choose_it(folder, kind, tmp_path):
    damage, says = DAMAGES[kind]
    damage(folder / "images" / "view_07.jpg")
    (tmp_path / "list.txt").write_text("view_07.jpg\n")
    for given in ({}, {"test_list": tmp_path / "list.txt"}):
        with pytest.raises(DamagedPhotoError, match=rf"view_07.jpg: {says}.*a test photo") as found:
            Scene.open(folder).split(**given)
        assert found.value.exit_code == 3


def test_two_are_left_out_and_three_of_sixteen_stop(folder):
    for k, words in ((4, "W-PHOTO: 1 "), (5, "W-PHOTO: 2 ")):
        (folder / "images" / f"view_{k:02d}.jpg").write_bytes(b"")
        assert any(w.startswith(words) for w in Scene.open(folder).warnings)
    (folder / "images" / "view_06.jpg").write_bytes(b"")
    with pytest.raises(DamagedPhotoError, match=r"view_04.jpg: is empty .*3 of 16 photos are dam"):
        Scene.open(folder)


def test_stop_on_request_names_the_photo(folder):
    (folder / "images" / "view_05.jpg").write_bytes(b"")
    with pytest.raises(DamagedPhotoError, match=r"view_05.jpg: is empty \(0 bytes\); copy"):
        Scene.open(folder, on_bad_photo="stop")
    scene = Scene.open(folder)
    assert "on_bad_photo" not in scene.options


def _stops(groups, names):
    left_out = {name: LeftOut(DamagedPhotoError("is empty", where=name), name) for name in names}
    try:
        check_left_out(groups, left_out)
    except DamagedPhotoError:
        return True
    return False


def test_limits_are_those_of_an_oracle_over_random_rigs():
    rng = np.random.default_rng(3)
    seen = Counter()
    for _ in range(400):
        count = int(rng.integers(3, 600))
        groups = {f"{k}": int(g) for k, g in enumerate(rng.integers(0, 40, count))}
        lost = [f"{k}" for k in rng.choice(count, int(rng.integers(1, min(count, 9))), False)]
        sizes = Counter(groups.values())
        own = {name: g if sizes[g] > 1 else "own" for name, g in groups.items()}
        worst = max(
            sum(own[name] == g for name in lost) / sum(v == g for v in own.values())
            for g in {own[name] for name in lost}
        )
        expected = len(lost) > max(2, count / 100) or worst > 0.2
        assert _stops(groups, lost) == expected
        seen[expected] += 1
    assert min(seen.values()) > 20

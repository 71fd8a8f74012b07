"""Predictions of other programs: every folder is matched as it is meant, and nothing is guessed."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from xscale.errors import InputError, LimitError, UnsafePathError
from xscale.io.photo.images import encode_png
from xscale.report.predictions import find_predictions

PHOTOS = tuple(f"img_{i:02d}.JPG" for i in range(14))
TEST = PHOTOS[::7]
SIZE = (12, 16)


def picture(i):
    return np.random.default_rng(i).integers(0, 256, (*SIZE, 3), np.uint8)


def put(folder, name, data):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else encode_png(data))


def found(source, **options):
    predictions = find_predictions(source, TEST, PHOTOS, **options)
    return predictions, {
        name: predictions.read(name, picture(PHOTOS.index(name))) for name in predictions.entries
    }


def right(pictures):
    assert set(pictures) == set(TEST)
    for name, got in pictures.items():
        np.testing.assert_array_equal(got, picture(PHOTOS.index(name)))


@pytest.mark.parametrize(
    ("pattern", "every", "words"),
    [("{stem}.png", False, "names"), ("renders/{test:05d}.png", False, "test photos"),
     ("colour_{all}.png", True, "all sorted"), ("{test}.png", False, "test photos"),
     ("color/{stem}.png", False, "names"), ("out/color/{stem}.png", False, "names")],
)  # fmt: skip
def test_folders_of_other_programs_are_matched(tmp_path, pattern, every, words):
    for i, name in enumerate(PHOTOS):
        if every or name in TEST:
            test = TEST.index(name) if name in TEST else -1
            put(tmp_path, pattern.format(stem=name[:-4], test=test, all=i), picture(i))
    put(tmp_path, "info.json", b"{}")
    if "color" in pattern:
        put(tmp_path / "out" if "out" in pattern else tmp_path, "gt-color/img_00.png", picture(3))
    predictions, pictures = found(tmp_path)
    right(pictures)
    assert words in predictions.kind
    assert predictions.missing == ()
    assert set(predictions.hashes) == set(TEST)


def test_canvases_give_their_right_half(tmp_path):
    for name in TEST:
        truth = picture(PHOTOS.index(name))
        put(tmp_path, name[:-4] + ".png", np.concatenate([truth, 255 - truth], 1))
    _, pictures = found(tmp_path)
    for name, got in pictures.items():
        np.testing.assert_array_equal(got, 255 - picture(PHOTOS.index(name)))


def test_a_canvas_of_something_else_is_refused(tmp_path):
    put(tmp_path, TEST[0][:-4] + ".png", np.zeros((SIZE[0], 2 * SIZE[1], 3), np.uint8))
    with pytest.raises(InputError, match="left half is not the photo"):
        found(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_are_read_without_unpacking(tmp_path, kind):
    source = tmp_path / f"results.{kind}"
    entries = {f"SceneA/{n[:-4]}.png": encode_png(picture(PHOTOS.index(n))) for n in TEST}
    entries |= {f"SceneB/{n[:-4]}.png": encode_png(picture(99)) for n in TEST}
    archive(source, kind, entries)
    right(found(source, scene="SceneA")[1])
    assert [p.name for p in tmp_path.iterdir()] == [source.name]


def archive(source, kind, entries):
    if kind == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in entries.items():
                out.writestr(name, data)
        return
    with tarfile.open(source, "w:gz") as out:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../x.png", "/tmp/x.png", "a/../../x.png"])
def test_archives_that_lead_elsewhere_are_refused(tmp_path, kind, name):
    archive(tmp_path / f"a.{kind}", kind, {name: encode_png(picture(0))})
    with pytest.raises(UnsafePathError, match="leads out"):
        found(tmp_path / f"a.{kind}")


def test_bombs_are_refused(tmp_path):
    archive(tmp_path / "a.zip", "zip", {"img_00.png": bytes(64 << 20)})
    with pytest.raises(LimitError, match="would take"):
        found(tmp_path / "a.zip")


def test_links_in_archives_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        info = tarfile.TarInfo("img_00.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(info)
    with pytest.raises(UnsafePathError, match="link"):
        found(tmp_path / "a.tar")


def test_missing_and_extra_pictures_are_listed(tmp_path):
    put(tmp_path, "img_00.png", picture(0))
    put(tmp_path, "img_03.png", picture(3))
    predictions, _ = found(tmp_path)
    assert predictions.missing == ("img_07.JPG",)
    assert predictions.extra == ("img_03.png",)


def encoded(array, kind="PNG", **options):
    data = io.BytesIO()
    Image.fromarray(array, **options).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [(encoded(np.zeros((*SIZE, 4), np.uint8)), "alpha"),
     (encoded(np.zeros(SIZE, np.uint16)), "16 bits"),
     (encoded(np.zeros((5, 7, 3), np.uint8)), "is 7 x 5, the photo is 16 x 12"),
     (b"no picture", "cannot be decoded"),
     (encode_png(picture(0))[:200], "cannot be decoded")],
)  # fmt: skip
def test_pictures_that_do_not_fit_are_named(tmp_path, data, words):
    put(tmp_path, "img_00.png", data)
    with pytest.raises(InputError, match=words) as error:
        found(tmp_path)
    assert "img_00.png" in str(error.value)


def test_names_that_fit_nothing_and_names_twice_are_refused(tmp_path):
    put(tmp_path, "left/other.png", picture(0))
    with pytest.raises(InputError, match="fit no test photo"):
        found(tmp_path)
    put(tmp_path, "img_00.png", picture(0))
    put(tmp_path, "img_00.jpg", picture(0))
    with pytest.raises(InputError, match="have one name"):
        found(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        found(tmp_path / "nowhere")

"""Predictions of other programs: every folder is matched as it is meant, and nothing is guessed."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import unicodedata
import zipfile
import zlib

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
     (b"no picture", "is not a picture, or is empty"), (b"", "is not a picture, or is empty"),
     (encode_png(picture(0))[:200], "cannot be decoded")],
)  # fmt: skip
def test_pictures_that_do_not_fit_are_named(tmp_path, data, words):
    put(tmp_path, "img_00.png", data)
    with pytest.raises(InputError, match=words) as error:
        found(tmp_path)
    assert "img_00.png" in str(error.value)


def test_names_that_fit_nothing_and_names_twice_are_refused(tmp_path):
    put(tmp_path, "left/other.png", picture(0))
    with pytest.raises(InputError, match="no picture fits a test photo"):
        found(tmp_path)
    put(tmp_path, "img_00.png", picture(0))
    put(tmp_path, "img_00.jpg", picture(0))
    with pytest.raises(InputError, match="have the same name"):
        found(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        found(tmp_path / "nowhere")


def test_names_in_another_case_or_unicode_form_are_matched(tmp_path):
    photos = ("IMG_é0.JPG", "IMG_é1.JPG")
    for i, name in enumerate(photos):
        stem = unicodedata.normalize("NFD", name[:-4].lower())
        put(tmp_path, f"{stem}.png", picture(i))
    predictions = find_predictions(tmp_path, photos, photos)
    assert predictions.missing == ()
    assert "case" in predictions.kind
    for i, name in enumerate(photos):
        np.testing.assert_array_equal(predictions.read(name, picture(i)), picture(i))


def test_names_that_differ_by_case_alone_are_never_guessed(tmp_path):
    put(tmp_path, "img_A.png", picture(0))
    with pytest.raises(InputError, match="differ by case alone"):
        find_predictions(tmp_path, ["IMG_A.JPG", "IMG_a.JPG"], ["IMG_A.JPG", "IMG_a.JPG"])
    put(tmp_path, "IMG_a.png", picture(1))
    with pytest.raises(InputError, match="have the same name but for case"):
        find_predictions(tmp_path, ["Img_a.JPG"], ["Img_a.JPG"])


def test_two_pictures_of_one_index_are_refused(tmp_path):
    for name in ("a_0.png", "b_0.png", "a_1.png"):
        put(tmp_path, name, picture(0))
    with pytest.raises(InputError, match=r"a_0\.png and b_0\.png have the same index"):
        found(tmp_path)


def test_a_picture_of_another_size_is_not_even_decoded(tmp_path, monkeypatch):
    put(tmp_path, "img_00.png", encoded(np.zeros((4096, 4096, 3), np.uint8)))

    def decoded(*arguments):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "convert", decoded)
    with pytest.raises(InputError, match="is 4096 x 4096, the photo is 16 x 12"):
        found(tmp_path)


@pytest.mark.parametrize("name", [".", "./", "c:/x.png", "a\\..\\..\\x.png"])
def test_odd_names_in_archives_are_refused(tmp_path, name):
    archive(tmp_path / "a.zip", "zip", {"img_00.png": b"x", name: b"x"})
    with pytest.raises((UnsafePathError, InputError)):
        found(tmp_path / "a.zip")


def test_links_in_zips_are_refused(tmp_path):
    info = zipfile.ZipInfo("img_00.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafePathError, match="link"):
        found(tmp_path / "a.zip")


def test_bombs_of_many_files_are_refused(tmp_path):
    block = zlib.compress(bytes(1 << 20), 9)
    assert len(block) < 1100
    # Each entry stays below its own bound; all together do not.
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz", preset=9) as out:
        for i in range(40):
            info = tarfile.TarInfo(f"img_{i:02d}.png")
            info.size = 1 << 20
            out.addfile(info, io.BytesIO(bytes(1 << 20)))
    with pytest.raises(LimitError, match="would take"):
        found(tmp_path / "a.tar.xz")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.8])
def test_torn_archives_are_one_line(tmp_path, kind, where):
    source = tmp_path / f"a.{kind}"
    if kind == "tar.xz":
        with tarfile.open(source, "w:xz") as out:
            for name in TEST:
                data = encode_png(picture(PHOTOS.index(name)))
                info = tarfile.TarInfo(f"{name[:-4]}.png")
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
    else:
        archive(source, kind, {f"{n[:-4]}.png": encode_png(picture(PHOTOS.index(n))) for n in TEST})
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * where)])
    with pytest.raises(InputError):
        found(source)


def test_encrypted_and_flipped_entries_are_one_line(tmp_path):
    source = tmp_path / "a.zip"
    entries = {f"{n[:-4]}.png": encode_png(picture(PHOTOS.index(n))) for n in TEST}
    archive(source, "zip", entries)
    data = bytearray(source.read_bytes())
    # Flag 1 in both headers of the first entry: encrypted.
    locked = data.copy()
    locked[6] |= 1
    locked[data.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(locked)
    with pytest.raises(InputError, match="cannot be read"):
        found(source)
    data[60] ^= 255
    source.write_bytes(data)
    with pytest.raises(InputError, match="cannot be"):
        found(source)


def test_a_packed_tar_is_read_in_one_pass(tmp_path, monkeypatch):
    names = [f"img_{i:02d}.JPG" for i in range(14)]
    archive(
        tmp_path / "a.tar.gz", "tar.gz", {f"{n[:-4]}.png": encode_png(picture(0)) for n in names}
    )
    opened = []
    original = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: opened.append(a) or original(*a, **k))
    predictions = find_predictions(tmp_path / "a.tar.gz", names, names)
    for name in names:
        predictions.read(name, picture(0))
    assert len(opened) <= 2


@pytest.mark.parametrize(
    ("note", "seconds"),
    [({"total_train_time": 12.5}, 12.5), ({"total_train_time": None}, None), ([], None),
     ({"total_train_time": "long"}, None), ({}, None)],
)  # fmt: skip
def test_the_training_time_comes_from_nerfbaselines_note(tmp_path, note, seconds):
    put(tmp_path, "color/img_00.png", picture(0))
    put(tmp_path, "info.json", json.dumps(note).encode())
    assert find_predictions(tmp_path, TEST, PHOTOS).train_seconds == seconds

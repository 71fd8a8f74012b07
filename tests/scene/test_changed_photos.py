"""Photos that change, vanish, lead elsewhere or are not files at all."""

import os
import socket
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale import Scene
from xscale.errors import DamagedPhotoError, PhotoError, UnsafePathError
from xscale.scene.layouts.views import PhotoView
from xscale.scene.options import SceneOptions
from xscale.scene.posed import Remarks, posed_photo

NAME = "view_03.png"


def _again(path, **changes):
    """Write a photo of the same size in bytes."""
    old = path.stat()
    data = bytearray(path.read_bytes())
    if "byte" in changes:
        data[changes["byte"]] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(old.st_mtime_ns, changes.get("time", old.st_mtime_ns)))


def test_photo_that_is_written_again_stops_at_its_next_touch(asymmetric_folder):
    path = asymmetric_folder / "images" / NAME
    for change in ({"byte": 40}, {"byte": -20}, {"time": 5}):
        photo = Scene.open(asymmetric_folder).photo(NAME)
        whole = photo.read()
        data, times = path.read_bytes(), path.stat().st_mtime_ns
        _again(path, **change)
        with pytest.raises(PhotoError, match=rf"{NAME}: was written again.*start again") as found:
            photo.read()
        assert not isinstance(found.value, DamagedPhotoError)
        path.write_bytes(data)
        os.utime(path, ns=(times, times))
        np.testing.assert_array_equal(photo.read(), whole)


def test_photo_that_vanishes_is_damaged_and_one_nobody_may_read_too(asymmetric_folder, monkeypatch):
    path = asymmetric_folder / "images" / NAME
    photo = Scene.open(asymmetric_folder).photo(NAME)
    path.unlink()
    with pytest.raises(DamagedPhotoError, match=rf"{NAME}: cannot be read .*No such file"):
        photo.read()


def test_links_out_of_the_folder_are_said_or_refused(asymmetric_folder, tmp_path):
    path = asymmetric_folder / "images" / NAME
    for target, outside in (
        (tmp_path / "elsewhere.png", True),
        (path.with_name("copy.png"), False),
    ):
        path.rename(target)
        path.symlink_to(target)
        scene = Scene.open(asymmetric_folder)
        lines = [w for w in scene.warnings if w.startswith("W-PHOTO-OUTSIDE")]
        assert len(lines) == outside
        if outside:
            assert f"1 photos are links out of the photo folder: {NAME}" in lines[0]
            with pytest.raises(UnsafePathError, match=rf"{NAME} is a link out of"):
                Scene.open(asymmetric_folder, no_outside=True)
        else:
            Scene.open(asymmetric_folder, no_outside=True)
        path.unlink()
        target.rename(path)


@pytest.mark.parametrize("kind", ["loop", "broken", "fifo", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(
    asymmetric_folder, kind, monkeypatch
):
    path = asymmetric_folder / "images" / NAME
    path.unlink()
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "broken":
        path.symlink_to("nowhere.png")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(NAME)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(PhotoError, match=r"not a regular file|Too many|No such file"):
        Scene.open(asymmetric_folder, on_bad_photo="stop")


def test_names_of_bytes_quotes_and_line_breaks_open_and_decode(asymmetric, tmp_path):
    names = ["a\tb.png", "c\nd.png", "'; rm -rf x; '.png", "\N{GRINNING FACE}.png",
             "x" * 246 + ".png", os.fsdecode(b"\xff\xfe.png")]  # fmt: skip
    cameras = dict(zip(names, asymmetric.cameras.values(), strict=True))
    built = replace(asymmetric, cameras=cameras)
    for name in names[:-1]:
        builders.save_photo(tmp_path / "images" / name, built.photo(name))
    builders.save_photo(tmp_path / "images" / "last.png", built.photo(names[-1]))
    (tmp_path / "images" / "last.png").rename(tmp_path / "images" / names[-1])

    for name, camera in cameras.items():
        view = PhotoView(
            name, "test", camera.model, camera.K, camera.R, camera.t, camera.distortion, None
        )
        path = tmp_path / "images" / name
        photo = posed_photo(view, path, tmp_path, SceneOptions(), Remarks())
        np.testing.assert_array_equal(photo.read(), built.photo(name))
        np.testing.assert_array_equal(photo.read(), np.array(Image.open(path)))

"""Drives that fail for a moment, and files that are not the ones that were there."""

import errno
import os

import pytest
from PIL import Image

from xscale.errors import PhotoError, StorageError, UnreadablePhotoError
from xscale.io.photo import file as photo_file
from xscale.io.photo.images import image_info, read_pixels


@pytest.fixture
def drive(monkeypatch):
    """A drive whose next opens fail; returns the list of errors still to come."""
    coming, slept = [], []
    whole = photo_file.Path.open

    def failing(path, *args, **kwargs):
        if coming:
            raise OSError(coming.pop(0), "the drive")
        return whole(path, *args, **kwargs)

    monkeypatch.setattr(photo_file.Path, "open", failing)
    monkeypatch.setattr(photo_file.time, "sleep", slept.append)
    monkeypatch.setattr(photo_file, "_lost", photo_file.deque(maxlen=4))
    return coming, slept


@pytest.fixture
def photo(tmp_path, rng):
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype="uint8")).save(path)
    return path


def test_three_failures_of_a_network_drive_are_waited_out(photo, drive):
    coming, slept = drive
    expected = read_pixels(photo).rgb
    for kind in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        coming += [kind] * 3
        assert (read_pixels(photo).rgb == expected).all()
        coming += [kind] * 3
        assert image_info(photo).width == 32
    assert slept == [0.2, 1.0, 5.0] * 6


def test_a_fourth_failure_gives_the_photo_up_and_a_fourth_photo_the_drive(photo, drive):
    coming, _ = drive
    for _ in range(3):
        coming += [errno.EIO] * 4
        with pytest.raises(UnreadablePhotoError, match=r"a.jpg: could not be read, at 4 tries"):
            read_pixels(photo)
    coming += [errno.EIO] * 4
    with pytest.raises(StorageError, match="nor could 3 other photos in the last minute") as found:
        read_pixels(photo)
    assert found.value.exit_code == 4


def test_failures_minutes_apart_are_those_of_photos(photo, drive, monkeypatch):
    coming, _ = drive
    now = iter(range(0, 10_000, 21))
    monkeypatch.setattr(photo_file.time, "monotonic", lambda: next(now))
    for _ in range(9):
        coming += [errno.EIO] * 4
        with pytest.raises(UnreadablePhotoError):
            image_info(photo)


def test_what_waiting_does_not_help_is_said_at_once(photo, drive):
    coming, slept = drive
    coming.append(errno.EACCES)
    with pytest.raises(PhotoError, match=r"Permission denied|the drive"):
        read_pixels(photo)
    assert slept == []


def test_mark_tells_same_size_rewrites_by_content_and_by_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(200_000))
    old = photo_file.mark_of(path)
    assert photo_file.mark_of(path) == old
    times = (old.modified, old.modified)
    for place in (0, 70_000, 199_999):
        data = bytearray(200_000)
        data[place] = 1
        path.write_bytes(data)
        os.utime(path, ns=times)
        # A byte in the middle is told by the time only.
        assert (photo_file.mark_of(path) == old) == (place == 70_000)
    os.utime(path, ns=(1, 1))
    assert photo_file.mark_of(path) != old

"""Damage among a JPEG's pixels: noticed where it can be, and never where there is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from xscale.errors import PhotoError
from xscale.io.photo.images import read_rgb
from xscale.io.photo.jpeg import damage


def picture(kind, rng):
    """Photo-like waves with grain, or large flat areas as in a burnt-out sky."""
    v, u = np.mgrid[:240, :320] / 40
    rgb = np.stack([127 + 90 * np.sin(u + k) * np.cos(v * (1 + k)) for k in range(3)], -1)
    rgb += rng.normal(0, 6, rgb.shape)
    if kind != "photo":
        rgb[: 200 if kind == "flat" else 239] = 255 if kind == "flat" else 0
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def encoded(image, monkeypatch, **options):
    # Pillow's buffer for optimised files is too small for noise.
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 22)
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["photo", "flat", "black"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("optimize", [False, True])
def test_whole_pictures_of_every_kind_are_let_through(
    kind, progressive, optimize, rng, monkeypatch
):
    for quality in (5, 40, 75, 95, 100):
        for more in ({"subsampling": 0}, {"subsampling": 2}, {"restart_marker_rows": 1}):
            data = encoded(picture(kind, rng), monkeypatch, quality=quality, optimize=optimize,
                           progressive=progressive, **more)  # fmt: skip
            assert damage(data) is None
            assert damage(data + bytes(5000)) is None
            grey = encoded(picture(kind, rng).convert("L"), monkeypatch, quality=quality)
            assert damage(grey) is None


def test_every_zeroed_stretch_is_found_where_it_is(rng, monkeypatch):
    data = encoded(picture("photo", rng), monkeypatch, quality=95)
    first = data.index(b"\xff\xda") + 14
    for length in (200, 512, 4096):
        for place in rng.integers(first, len(data) - 5000, 60):
            broken = bytearray(data)
            broken[place : place + length] = bytes(length)
            found = damage(bytes(broken))
            # A zero before or after it belongs to the stretch as well.
            assert found.endswith(" zeroed bytes among its pixels at byte " + found.split()[-1])
            assert length <= int(found.split()[0]) < length + 3
            assert place - 3 < int(found.split()[-1]) <= place


def test_a_sector_of_other_data_is_found_by_its_markers(rng, monkeypatch):
    data = encoded(picture("photo", rng), monkeypatch, quality=95)
    found = 0
    for place in rng.integers(2000, len(data) - 5000, 60):
        broken = bytearray(data)
        broken[place : place + 4096] = rng.bytes(4096)
        report = damage(bytes(broken))
        if report is not None:
            assert report.startswith("marker FF")
            assert place - 1 <= int(report.split()[-1]) < place + 4096
            found += 1
    # A sector has 16 chances of FF and an impossible marker; sometimes all of them fail.
    assert found > 45


def test_damaged_photo_is_refused_with_the_place(tmp_path, rng, monkeypatch):
    data = bytearray(encoded(picture("photo", rng), monkeypatch, quality=95))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert read_rgb(path)[0].shape == (240, 320, 3)
    middle = len(data) // 2
    data[middle - 1 : middle + 301] = b"\x55" + bytes(300) + b"\x55"
    path.write_bytes(data)
    # This is why: the decoder gives a picture of the right size.
    with Image.open(path) as image:
        assert np.array(image).shape == (240, 320, 3)
    with pytest.raises(PhotoError, match=rf"a\.jpg: is damaged: 300 zeroed bytes .* {middle}; co"):
        read_rgb(path)


def test_bytes_that_are_no_jpeg_raise_nothing(rng):
    for _ in range(300):
        damage(b"\xff\xd8\xff" + rng.bytes(int(rng.integers(0, 200))))
    for length in range(20):
        damage(b"\xff\xd8\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"[:length])

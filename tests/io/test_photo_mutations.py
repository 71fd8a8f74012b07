"""A sample of ``tests.fuzz.photos``: damaged photos end in an error or in a picture."""

import random
from collections import Counter

import pytest

from tests.fuzz import photos
from tests.fuzz.readers import damage
from xscale.io.photo.images import read_pixels

for needed in ("imagecodecs", "tifffile", "OpenEXR"):
    pytest.importorskip(needed)
NAMES = (
    "jpeg", "progressive", "png", "png16", "webp", "lossy-webp", "tiff", "tiff-deflate", "tiff-lzw",
    "exr",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return photos.photos(tmp_path_factory.mktemp("photos"))


def test_every_format_is_among_them(made):
    assert set(made) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_prefixes_and_mutations_end_in_our_error_or_the_right_picture(name, made, tmp_path):
    path, data = tmp_path / "photo", made[name]
    path.write_bytes(data)
    truth = read_pixels(path).rgb
    found = Counter()
    for length in range(0, len(data), 1 + len(data) // 60):
        outcome = photos.outcome(data[:length], path, truth)
        assert not outcome.startswith("FAULT"), (length, outcome)
        found[outcome] += 1
    assert found["refused"] > 50
    for seed in range(60):
        spoiled = damage(data, random.Random(seed))
        outcome = photos.outcome(spoiled, path, truth if name in photos.CHECKED else None)
        assert not outcome.startswith("FAULT"), (seed, outcome)

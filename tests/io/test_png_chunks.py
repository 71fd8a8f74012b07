import io

import numpy as np
import pytest
from PIL import Image

from xscale.errors import DamagedPhotoError
from xscale.io.photo.images import read_pixels
from xscale.io.photo.png_chunks import damage


def _png(shape, dtype=np.uint8):
    rng = np.random.default_rng(5)
    made = io.BytesIO()
    pixels = rng.integers(0, np.iinfo(dtype).max, shape, dtype)
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize(("shape", "dtype"), [((9, 7, 3), np.uint8), ((9, 7), np.uint16)])
def test_every_flipped_byte_of_the_pixels_is_found_where_it_is(tmp_path, shape, dtype):
    data = _png(shape, dtype)
    assert damage(data) is None
    assert damage(data + b"more") is None
    start = data.index(b"IDAT") - 4
    end = data.index(b"IEND") - 4
    path = tmp_path / "photo.png"
    for place in range(start + 4, end):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        assert damage(bytes(spoiled)) is not None
        path.write_bytes(spoiled)
        with pytest.raises(DamagedPhotoError, match=r"photo.png: cannot be read"):
            read_pixels(path)
    spoiled = bytearray(data)
    spoiled[start + 20] ^= 1
    assert damage(bytes(spoiled)) == f"chunk IDAT at byte {start} does not match its checksum"


def test_a_length_of_2_to_the_31_and_every_prefix_are_found():
    data = _png((9, 7, 3))
    start = data.index(b"IDAT") - 4
    spoiled = data[:start] + (2**31).to_bytes(4, "big") + data[start + 4 :]
    assert damage(spoiled) == f"chunk IDAT at byte {start} says 2147483648 bytes and is cut off"
    for cut in range(len(data)):
        assert damage(data[:cut]) is not None


def test_damaged_text_that_no_pixel_depends_on_is_let_through():
    data = _png((9, 7, 3))
    start = data.index(b"IDAT") - 4
    text = (5).to_bytes(4, "big") + b"tEXt" + b"a\0bcd" + bytes(4)
    assert damage(data[:start] + text + data[start:]) is None

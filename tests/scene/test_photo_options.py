"""--alpha and --convert-cmyk: what they change, and that a run remembers them."""

import numpy as np
import pytest
from PIL import Image

from xscale import Scene
from xscale.errors import PhotoError


def test_alpha_is_a_mask_or_nothing_or_laid_over_white(asymmetric_folder):
    path = asymmetric_folder / "images" / "view_03.png"
    rgb = np.array(Image.open(path).convert("RGB"))
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:10] = 0
    Image.fromarray(np.dstack([rgb, alpha])).save(path)
    prints = set()
    for choice in ("mask", "ignore", "over-white"):
        scene = Scene.open(asymmetric_folder, alpha=choice)
        photo = scene.photo("view_03.png")
        expected = rgb.copy()
        expected[:10] = 255 if choice == "over-white" else rgb[:10]
        np.testing.assert_array_equal(photo.read(), expected)
        if choice == "mask":
            np.testing.assert_array_equal(photo.read_mask(), alpha > 0)
        else:
            assert photo.read_mask() is None
        assert scene.options.get("alpha", "mask") == choice
        again = Scene.open(asymmetric_folder, **scene.options)
        assert again.fingerprint() == scene.fingerprint()
        prints.add(scene.fingerprint())
    assert len(prints) == 3


def test_cmyk_stops_unless_it_is_to_be_converted(asymmetric_folder):
    path = asymmetric_folder / "images" / "view_03.png"
    truth = np.array(Image.open(path).convert("RGB"))
    inks = Image.fromarray(np.dstack([255 - truth, np.zeros_like(truth[..., 0])]), "CMYK")
    inks.save(path, "JPEG", quality=98, subsampling=0)
    with pytest.raises(PhotoError, match=r"view_03.png: is a CMYK picture"):
        Scene.open(asymmetric_folder)
    scene = Scene.open(asymmetric_folder, convert_cmyk=True)
    off = np.abs(scene.photo("view_03.png").read().astype(int) - truth)
    assert off.mean() < 4
    again = Scene.open(asymmetric_folder, **scene.options)
    assert again.fingerprint() == scene.fingerprint()
    np.testing.assert_array_equal(
        again.photo("view_03.png").read(), scene.photo("view_03.png").read()
    )


def test_color_is_remembered_by_a_run(asymmetric_folder):
    plain = Scene.open(asymmetric_folder)
    linear = Scene.open(asymmetric_folder, color="linear")
    assert linear.options["color"] == "linear"
    assert linear.fingerprint() != plain.fingerprint()
    again = Scene.open(asymmetric_folder, **linear.options)
    assert again.fingerprint() == linear.fingerprint()
    name = "view_03.png"
    light = plain.photo(name).read() / 255
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(again.photo(name).read() - curve * 255).max() <= 0.51

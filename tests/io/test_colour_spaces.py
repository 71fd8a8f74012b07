"""What numbers mean: as they are, linear light, or by the embedded profile."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from xscale.errors import PhotoError
from xscale.io.photo.images import image_info, read_pixels

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")

# Adobe RGB (1998) to XYZ, and sRGB from XYZ, both D65: their specifications' matrices.
ADOBE = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529],
                  [0.02703, 0.07069, 0.99134]])  # fmt: skip
SRGB = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560],
                 [0.0556434, -0.2040259, 1.0572252]])  # fmt: skip


def _curve(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _from_adobe(values):
    return _curve((values ** (563 / 256)) @ (SRGB @ ADOBE).T)


@pytest.fixture
def rgb(rng):
    # Moderate colours: inside both spaces.
    return rng.integers(110, 150, (12, 16, 3)).astype(np.uint8)


def _files(folder, rgb, profile):
    Image.fromarray(rgb).save(folder / "a.png", icc_profile=profile)
    Image.fromarray(rgb).save(folder / "a.jpg", icc_profile=profile, quality=100, subsampling=0)
    Image.fromarray(rgb).save(folder / "a.webp", icc_profile=profile, lossless=True)
    options = {"photometric": "rgb", "iccprofile": profile}
    tifffile.imwrite(folder / "a.tif", rgb, **options)
    tifffile.imwrite(folder / "deep.tif", rgb.astype(np.uint16) * 257, **options)
    return sorted(folder.iterdir())


def test_adobe_rgb_becomes_the_same_colours_in_srgb(tmp_path, rgb):
    for path in _files(tmp_path, rgb, imagecodecs.cms_profile("adobergb")):
        assert image_info(path).profile is not None, path.name
        plain = read_pixels(path).rgb
        scale = np.iinfo(plain.dtype).max
        found = read_pixels(path, color="icc").rgb / scale
        expected = _from_adobe(plain / scale)
        np.testing.assert_allclose(found, expected, atol=1.6 / 255, err_msg=path.name)
        assert np.abs(found - plain / scale).max() > 2 / 255


def test_without_a_profile_or_with_that_of_srgb_nothing_changes(tmp_path, rgb):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, srgb):
        for path in _files(tmp_path, rgb, profile):
            plain, found = read_pixels(path).rgb, read_pixels(path, color="icc").rgb
            scale = np.iinfo(plain.dtype).max // 255
            assert np.abs(found.astype(int) - plain).max() <= scale, path.name
            assert image_info(path).profile is None


def test_linear_numbers_are_encoded_with_16_bits(tmp_path):
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    found = read_pixels(tmp_path / "a.png", color="linear").rgb
    np.testing.assert_array_equal(
        found[0, :, 1], np.floor(_curve(np.arange(256) / 255) * 65535 + 0.5)
    )
    deep = np.arange(65536, dtype=np.uint16).reshape(64, 1024, 1).repeat(3, axis=2)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    found = read_pixels(tmp_path / "a.tif", color="linear").rgb
    np.testing.assert_array_equal(
        found[..., 0], np.floor(_curve(deep[..., 0] / 65535) * 65535 + 0.5)
    )
    tifffile.imwrite(tmp_path / "f.tif", np.float32(deep / 65535), photometric="rgb")
    plain = read_pixels(tmp_path / "f.tif").rgb
    for color in ("linear", "icc"):  # floats are linear light in any case
        np.testing.assert_array_equal(read_pixels(tmp_path / "f.tif", color=color).rgb, plain)


def test_damaged_profile_is_named_where_it_is_needed(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=b"\1" * 300)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png").rgb, rgb)
    with pytest.raises(PhotoError, match=r"a.png: has a colour profile that cannot be used"):
        read_pixels(tmp_path / "a.png", color="icc")

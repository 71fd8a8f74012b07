"""Photos: faithful pixels or a refusal by name."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from xscale.errors import (
    DamagedPhotoError,
    InputError,
    LimitError,
    MaskError,
    OutputExistsError,
    PhotoError,
    ResourceError,
)
from xscale.io.photo import limits as photo_limits
from xscale.io.photo.images import (
    encode_png,
    exif_orientation,
    image_info,
    image_size,
    read_mask,
    read_pixels,
    read_rgb,
    write_png,
)


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (23, 37, 3), dtype=np.uint8)


def _png(path, rgb_or_image):
    image = rgb_or_image if isinstance(rgb_or_image, Image.Image) else Image.fromarray(rgb_or_image)
    image.save(path)
    return path


def test_png_round_trip_is_exact_and_its_bytes_repeat(tmp_path, rgb):
    write_png(tmp_path / "a.png", rgb)
    back, mask = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(back, rgb)
    assert mask is None
    assert encode_png(rgb) == encode_png(rgb.copy())
    with pytest.raises(OutputExistsError):
        write_png(tmp_path / "a.png", rgb)


def test_size_is_width_then_height(tmp_path, rgb):
    assert image_size(_png(tmp_path / "a.png", rgb)) == (37, 23)
    assert image_size(_png(tmp_path / "a.jpg", rgb)) == (37, 23)


def test_grey_palette_and_bilevel_pictures_become_rgb(tmp_path, rgb):
    grey = rgb[:, :, 0]
    back, _ = read_rgb(_png(tmp_path / "g.png", grey))
    np.testing.assert_array_equal(back, np.repeat(grey[:, :, None], 3, axis=2))
    few = (rgb // 128) * 255
    back, _ = read_rgb(_png(tmp_path / "p.png", Image.fromarray(few).quantize(8)))
    np.testing.assert_array_equal(back, few)
    back, _ = read_rgb(_png(tmp_path / "b.png", Image.fromarray(grey > 99)))
    np.testing.assert_array_equal(back[:, :, 1], np.where(grey > 99, 255, 0))


def test_alpha_below_128_is_left_out_and_colour_stays(tmp_path, rgb):
    alpha = np.resize(np.array([0, 127, 128, 255], np.uint8), rgb.shape[:2])
    path = _png(tmp_path / "a.png", np.dstack([rgb, alpha]))
    assert image_info(path).has_alpha
    back, mask = read_rgb(path)
    np.testing.assert_array_equal(back, rgb)
    np.testing.assert_array_equal(mask, alpha >= 128)


def test_mask_leaves_out_zero_only(tmp_path):
    values = np.array([[0, 1], [128, 255]], np.uint8)
    assert read_mask(_png(tmp_path / "m.png", values)).tolist() == [[False, True], [True, True]]
    (tmp_path / "m.png").write_bytes(b"no")
    with pytest.raises(MaskError):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 4096, "4096 bytes without a JPEG or PNG signature"),
        (b"hello, this is text", "not a picture"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypheic", "16-bit TIFF"),
        (b"II*\0\x10\0\0\0CR\x02\0", "RAW file; develop it"),
        (b"FUJIFILMCCD-RAW 0201", "RAW file; develop it"),
        (b"GIF89a", "GIF"),
        (b"II*\0rest", "cannot be read"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "cannot be read"),
    ],
)
def test_what_is_no_jpeg_or_png_is_named(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PhotoError, match=words):
        image_info(tmp_path / "a.jpg")


def test_folder_and_missing_file_are_refused(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(PhotoError, match="not a regular file"):
        image_info(tmp_path / "a.jpg")
    with pytest.raises(PhotoError, match="No such file"):
        image_info(tmp_path / "b.jpg")


def test_content_decides_and_not_the_extension(tmp_path, rgb):
    _png(tmp_path / "a.png", rgb).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg")[0], rgb)


def test_cmyk_is_refused_with_advice(tmp_path, rgb):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(PhotoError, match=r"CMYK.*convert it to RGB"):
        read_rgb(tmp_path / "c.jpg")


def test_webp_without_loss_is_exact_and_its_prefixes_are_refused(tmp_path, rgb):
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "WEBP", lossless=True)
    path = tmp_path / "a.jpg"
    path.write_bytes(data.getvalue())
    np.testing.assert_array_equal(read_rgb(path)[0], rgb)
    for length in range(0, len(data.getvalue()), 7):
        path.write_bytes(data.getvalue()[:length])
        with pytest.raises(PhotoError):
            read_rgb(path)


def test_small_bit_depths_expand_as_the_png_specification_says(tmp_path):
    for bits in (1, 2, 4):
        levels = (np.arange(8 // bits) * 3 + 1) % 2**bits
        row = sum(int(v) << (8 - bits * (k + 1)) for k, v in enumerate(levels))
        data = _raw_png(8 // bits, 1, bits, b"\0" + bytes([row]), colour=0)
        (tmp_path / "a.png").write_bytes(data)
        expected = levels * 255 / (2**bits - 1)
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[0][0, :, 2], expected)


def test_jpeg_pixels_are_those_of_the_reference_decoder(tmp_path, rng):
    smooth = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize((301, 203))
    for k, options in enumerate(({"subsampling": 0}, {"subsampling": 2}, {"progressive": True})):
        smooth.save(tmp_path / f"{k}.jpg", quality=92, **options)
        with Image.open(tmp_path / f"{k}.jpg") as theirs:
            np.testing.assert_array_equal(read_rgb(tmp_path / f"{k}.jpg")[0], np.array(theirs))
    smooth.convert("L").save(tmp_path / "g.jpg")
    assert np.ptp(read_rgb(tmp_path / "g.jpg")[0], axis=2).max() == 0


def test_stray_bytes_of_cameras_pass_and_lost_pixels_do_not(tmp_path, rng):
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = _png(tmp_path / "a.jpg", picture).read_bytes()
    whole = read_rgb(tmp_path / "a.jpg")[0]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + b"\0\1\2" + data[-2:])
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg")[0], whole)
    refused = 0
    for seed in range(40):
        bad = bytearray(data)
        place = 700 + 97 * seed
        bad[place : place + 20] = np.random.default_rng(seed).bytes(20)
        (tmp_path / "a.jpg").write_bytes(bad)
        try:
            read_rgb(tmp_path / "a.jpg")
        except PhotoError:
            refused += 1
    # Other bytes that happen to be valid codes cannot be told from a picture.
    assert refused >= 20


def test_foreign_colour_profiles_are_named(tmp_path, rgb):
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(rgb).save(tmp_path / "s.jpg", icc_profile=srgb)
    assert image_info(tmp_path / "s.jpg").profile is None
    other = srgb.replace(b"s\0R\0G\0B", b"X\0Y\0Z\0").replace(b"sRGB", b"XYZ ") + b"Adobe RGB"
    Image.fromarray(rgb).save(tmp_path / "a.jpg", icc_profile=other)
    assert image_info(tmp_path / "a.jpg").profile == "Adobe RGB"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_no_harm(tmp_path, rgb):
    endless = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\x08"
    for exif in (endless, b"MM\0*\0\0\0\x08" + b"\xff" * 40, b"II*\0", b""):
        Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
        assert exif_orientation(tmp_path / "a.jpg") in (1, 6)
        assert read_rgb(tmp_path / "a.jpg")[0].shape == rgb.shape


def _raw_png(width, height, depth, rows, colour=2):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_decompression_bomb_is_refused_from_its_header(tmp_path):
    (tmp_path / "bomb.png").write_bytes(_raw_png(60000, 60000, 8, b"\0" * 100))
    with pytest.raises(LimitError, match="60000 x 60000"):
        image_info(tmp_path / "bomb.png")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_jpeg_never_gives_pixels(tmp_path, rng, share):
    picture = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = _png(tmp_path / "a.jpg", picture).read_bytes()
    assert image_info(tmp_path / "a.jpg").complete
    (tmp_path / "a.jpg").write_bytes(data[: int(len(data) * share)])
    assert not image_info(tmp_path / "a.jpg").complete
    with pytest.raises(PhotoError, match="truncated"):
        read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_every_prefix_of_a_photo_is_refused(tmp_path, rgb, name):
    data = _png(tmp_path / name, rgb[:8, :8]).read_bytes()
    path = tmp_path / name
    # A PNG's last 4 bytes are the checksum of nothing.
    for length in range(len(data) - (4 if name == "a.png" else 0)):
        path.write_bytes(data[:length])
        try:
            if image_info(path).complete:
                read_rgb(path)
                raise AssertionError(f"{length} of {len(data)} bytes were accepted")
        except InputError:
            pass


def test_palette_png_without_its_palette_is_damaged(tmp_path):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(b"\0\1\2\3\0" * 4)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    for read in (image_info, read_pixels):
        with pytest.raises(DamagedPhotoError, match=r"a\.png"):
            read(path)


def test_damaged_png_data_is_refused(tmp_path, rgb):
    data = bytearray(_png(tmp_path / "a.png", rgb).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PhotoError):
        read_rgb(tmp_path / "a.png")


def test_exif_orientation_is_reported_and_never_applied(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif)
    assert exif_orientation(tmp_path / "a.jpg") == 6
    assert read_rgb(tmp_path / "a.jpg")[0].shape == rgb.shape
    assert exif_orientation(_png(tmp_path / "b.png", rgb)) == 1


def test_what_alpha_means_is_chosen(tmp_path, rng):
    rgba = rng.integers(0, 256, (6, 8, 4), np.uint8)
    rgba[0, :3, 3] = (0, 128, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    rgb, kept = read_pixels(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb, rgba[..., :3])
    np.testing.assert_array_equal(kept, rgba[..., 3] >= 128)
    rgb, kept = read_pixels(tmp_path / "a.png", alpha="ignore")
    assert kept is None
    np.testing.assert_array_equal(rgb, rgba[..., :3])
    rgb, kept = read_pixels(tmp_path / "a.png", alpha="over-white")
    assert kept is None
    weight = rgba[..., 3:].astype(np.int64)
    # Oracle in whole numbers: halves upwards, as everywhere.
    exact = (2 * (rgba[..., :3] * weight + 255 * (255 - weight)) + 255) // 510
    np.testing.assert_array_equal(rgb, exact)


@pytest.mark.parametrize("adobe", [False, True])
def test_cmyk_is_converted_on_request_and_never_inverted(tmp_path, adobe):
    truth = np.zeros((16, 24, 3), np.uint8)
    truth[:, :8], truth[:, 8:16], truth[:, 16:] = (250, 250, 250), (200, 40, 40), (10, 10, 10)
    inks = np.concatenate([255 - truth, np.zeros_like(truth[..., :1])], axis=2)
    path = tmp_path / "a.jpg"
    Image.fromarray(inks, "CMYK").save(path, quality=98, subsampling=0)
    data = path.read_bytes()
    assert b"Adobe" in data  # Pillow writes inverted inks with Adobe's marker
    if not adobe:
        start = data.index(b"\xff\xee")
        length = 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        path.write_bytes(data[:start] + data[start + length :])
        Image.fromarray(255 - inks, "CMYK").save(tmp_path / "b.jpg", quality=98, subsampling=0)
        other = (tmp_path / "b.jpg").read_bytes()
        path.write_bytes(other[:start] + other[start + length :])
    with pytest.raises(PhotoError, match=r"is a CMYK picture.*--convert-cmyk"):
        read_pixels(path)
    rgb = read_pixels(path, convert_cmyk=True).rgb
    assert np.abs(rgb.astype(int) - truth).max() < 8
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PhotoError):
        read_pixels(path, convert_cmyk=True)


def _with_chunk(data, kind, body):
    """Put a chunk behind a PNG's header."""
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]


def test_texts_and_profiles_that_unpack_to_gigabytes_are_never_unpacked(tmp_path, rgb):
    data = _png(tmp_path / "a.png", rgb).read_bytes()
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    for kind, start in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        (tmp_path / "a.png").write_bytes(_with_chunk(data, kind, start + bomb))
        tracemalloc.start()
        info = image_info(tmp_path / "a.png")
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[0], rgb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert info.profile is None
        assert peak < 64 << 20


def test_photo_larger_than_the_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (400, 300)).save(tmp_path / "p.jpg", progressive=True)
    Image.new("RGB", (400, 300)).save(tmp_path / "b.jpg")
    monkeypatch.setattr(photo_limits, "_BOMB_PIXELS", 100_000)
    monkeypatch.setattr(photo_limits, "_free_bytes", lambda: 5 * 400 * 300)
    assert image_info(tmp_path / "b.jpg").width == 400
    with pytest.raises(ResourceError, match=r"p.jpg: needs 0.0 GB .*baseline JPEG"):
        image_info(tmp_path / "p.jpg")
    monkeypatch.setattr(photo_limits, "_free_bytes", lambda: 2 * 400 * 300)
    with pytest.raises(ResourceError, match=r"b.jpg: needs .* cut the photo into parts"):
        image_info(tmp_path / "b.jpg")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0), (1 << 31, 5), (1 << 20, 1 << 20)])
def test_sizes_of_nothing_and_of_too_much_are_refused(tmp_path, size):
    (tmp_path / "a.png").write_bytes(_raw_png(*size, 8, b"\0" * 100))
    with pytest.raises(InputError):
        read_rgb(tmp_path / "a.png")
    jpeg = bytearray(_png(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8)).read_bytes())
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", size[1] & 0xFFFF, size[0] & 0xFFFF)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    with pytest.raises(InputError):
        read_rgb(tmp_path / "a.jpg")


def test_grey_with_alpha_and_palette_with_a_clear_colour_keep_their_masks(tmp_path, rgb):
    grey, alpha = rgb[:, :, 0], rgb[:, :, 1]
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(tmp_path / "a.png")
    back, kept = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(back, np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(kept, alpha >= 128)
    few = Image.fromarray((rgb // 128) * 255).quantize(8)
    few.save(tmp_path / "p.png", transparency=0)
    back, kept = read_rgb(tmp_path / "p.png")
    np.testing.assert_array_equal(kept, np.array(few) != 0)

"""Pictures with more than 8 bits a channel: 16-bit PNG, TIFF, OpenEXR.

They come out as uint16 in sRGB encoding, so that reducing them keeps their bits. Floating-point
pictures are taken as linear light, 1 being white; what is brighter or negative is cut off, and
counted.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from xscale.errors import DamagedPhotoError, PhotoError, SetupError, XscaleError
from xscale.io.photo.colour_spaces import encode_linear
from xscale.io.photo.file import is_passing

_EXTRA = "pip install xscale[formats], or convert the photos to 8-bit PNG"
_DNG_VERSION, _SUB_IFDS, _CFA = 50706, 330, 32803
_EXR_TILED, _EXR_DEEP, _EXR_PARTS = 0x200, 0x800, 0x1000
_EXR_MOST = 1 << 20
# Lines a block, by compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB.
_EXR_ROWS = {bytes([k]): n for k, n in enumerate((1, 1, 1, 16, 32, 16, 32, 32, 32, 256))}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_MOST_CHANNELS = 16
"""Channels of a picture whose first three are red, green and blue."""
_REDUCED, _MASK_PAGE = 1, 4
"""Bits of NewSubfileType: a smaller copy of another page, a transparency mask of another page."""


class Header(NamedTuple):
    """Header of such a picture."""

    width: int
    height: int
    mode: str
    has_alpha: bool
    bits: int
    depth: int
    """Bytes a pixel takes in the file's own type, for the decompression rule."""
    profile: bytes | None = None
    """The embedded ICC profile."""


class Deep(NamedTuple):
    """A decoded picture."""

    rgb: np.ndarray
    """uint8 or uint16 [H, W, 3], sRGB."""
    alpha: np.ndarray | None
    """float64 or the file's integers scaled to 0..1, [H, W]; None without alpha."""
    profile: bytes | None = None
    """The embedded ICC profile, where the numbers still follow it."""
    unreal: np.ndarray | None = None
    """bool [H, W], pixels that are not numbers; None where all are."""
    clipped: int = 0
    """Pixels that were negative or brighter than white."""
    linear: bool = False
    """Whether it was linear light, and is encoded now."""


def _library(name: str, what: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SetupError(f"reading {what} needs {name}", where=path, advice=_EXTRA) from error


def _tifffile(path: Path) -> ModuleType:
    # It also logs what it raises, line by line, to the terminal.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return _library("tifffile", "TIFF", path)


def decode_png16(data: bytes, path: Path) -> Deep:
    """Decode a PNG of 16 bits a channel, all bits kept.

    Args:
        data: The file's bytes.
        path: Its name, for errors.

    Raises:
        PhotoError: It is damaged.
        SetupError: imagecodecs is not installed.
    """
    codecs = _library("imagecodecs", "16-bit PNG", path)
    with _as_damage(path):
        values = codecs.png_decode(data)
    return _split(values.reshape(*values.shape[:2], -1))


def tiff_header(path: Path) -> Header:
    """Read the tags of a TIFF's first page that is not a smaller copy of another.

    Raises:
        PhotoError: A RAW file, a kind of pixel or compression that is not read, or damaged.
        SetupError: tifffile is not installed.
    """
    tifffile = _tifffile(path)
    with _as_damage(path, "TIFF"), tifffile.TiffFile(path) as file:
        page = _whole_page(file)
        _check_page(tifffile, page, path)
        samples = int(page.samplesperpixel)
        item = page.dtype.itemsize
        alpha = _has_alpha(page)
        return Header(
            page.imagewidth, page.imagelength, str(page.photometric.name), alpha, 8 * item,
            samples * item, page.iccprofile,
        )  # fmt: skip


_PAGES, _SAME_SHAPE = 8, 0.03


def _whole_page(file: object) -> object:
    """Return the first page that is a picture of its own, not marked as a thumbnail or a mask.

    Some programs do not mark thumbnails: a page of the same shape and at least twice the size is
    what the first is a smaller copy of.
    """
    first = None
    for page in itertools.islice(file.pages, _PAGES):
        if int(getattr(page, "subfiletype", 0) or 0) & (_REDUCED | _MASK_PAGE):
            continue
        if first is None:
            first = page
        elif _is_copy_of(first, page):
            return page
    return file.pages[0] if first is None else first


def _is_copy_of(small: object, large: object) -> bool:
    """Tell whether a page has the shape of another, at half its size or less."""
    width = int(large.imagewidth) / max(int(small.imagewidth), 1)
    height = int(large.imagelength) / max(int(small.imagelength), 1)
    return min(width, height) >= 2 and abs(width - height) < _SAME_SHAPE * max(width, height)


def _colours(page: object) -> int:
    """Return how many of a page's channels are colours: 1 or 3; the rest are extra."""
    return 3 if int(page.samplesperpixel) >= 3 else 1


def _has_alpha(page: object) -> bool:
    """Tell whether a page's extra channel is declared to be alpha: it may be infrared, or depth."""
    extra = tuple(int(x) for x in page.extrasamples)
    return int(page.samplesperpixel) > _colours(page) and extra[:1] in (
        (_ASSOCIATED,),
        (_UNASSOCIATED,),
    )


def _check_page(tifffile: ModuleType, page: object, path: Path) -> None:
    """Refuse what cannot be read faithfully, and RAW files that are TIFF inside."""
    if _DNG_VERSION in page.tags or (_SUB_IFDS in page.tags and page.tags.get("Make") is not None):
        raise raw_photo(path)
    kinds = tifffile.PHOTOMETRIC
    if page.photometric not in (kinds.MINISBLACK, kinds.RGB):
        name = getattr(page.photometric, "name", page.photometric)
        raise (
            raw_photo(path)
            if int(page.photometric) == _CFA
            else refused(f"is a TIFF of {name} pixels, RGB or grey is needed", path)
        )
    kind, item = page.dtype.kind, page.dtype.itemsize
    if (kind, item) not in (("u", 1), ("u", 2), ("f", 2), ("f", 4)):
        raise refused(f"is a TIFF of {page.dtype} pixels, 8 or 16 bits or float is needed", path)
    if page.bitspersample != 8 * item or page.imagedepth != 1:
        raise refused(f"has {page.bitspersample} bits a channel", path)
    most = _MOST_CHANNELS if page.photometric == kinds.RGB else 4
    if not 1 <= page.samplesperpixel <= most or not page.imagewidth or not page.imagelength:
        raise refused(f"has {page.samplesperpixel} channels", path)


def decode_tiff(path: Path) -> Deep:
    """Decode a TIFF's first page that is not a smaller copy of another.

    Raises:
        PhotoError: Damaged, or a compression that is not read.
        SetupError: tifffile or imagecodecs is not installed.
    """
    tiff_header(path)
    tifffile = _tifffile(path)
    with _as_damage(path, "TIFF"), tifffile.TiffFile(path) as file:
        page = _whole_page(file)
        _check_segments(page, path)
        values = page.asarray(maxworkers=1)
        planar = int(page.planarconfig) == 2 and page.samplesperpixel > 1
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        associated = _ASSOCIATED in tuple(int(x) for x in page.extrasamples)
        profile = page.iccprofile
        colours, alpha = _colours(page), _has_alpha(page)
    if planar:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(shape)[:, :, : colours + alpha]
    return _split(values, associated=associated)._replace(profile=profile)


def _check_segments(page: object, path: Path) -> None:
    """Refuse strips or tiles without bytes or past the file's end: they would be read as black.

    The library takes them as areas that were left out on purpose, as GIS programs do.
    """
    size = path.stat().st_size
    places = zip(page.dataoffsets, page.databytecounts, strict=True)
    for k, (start, length) in enumerate(places):
        if start <= 0 or length <= 0 or start > size - length:
            raise damaged(path, f"strip or tile {k} has {length} bytes at byte {start}", "TIFF")


def exr_header(path: Path) -> Header:
    """Read an OpenEXR header; sizes are compared with nothing yet.

    Raises:
        PhotoError: Deep, of several parts, without colour, cut off, or with impossible windows.
    """
    with path.open("rb") as file:
        head = file.read(_EXR_MOST)
    flags = int.from_bytes(head[4:8], "little")
    if flags & (_EXR_DEEP | _EXR_PARTS):
        raise refused("is an OpenEXR of deep pixels or several parts", path)
    found = dict(_attributes(head, path))
    try:
        window = struct.unpack("<4i", found["dataWindow"])
        display = struct.unpack("<4i", found["displayWindow"])
        channels = _channels(found["channels"])
    except (KeyError, struct.error, ValueError) as error:
        raise damaged(path, error) from error
    if window != display:
        raise refused(f"has pixels for {window} and a frame of {display}", path)
    width, height = window[2] - window[0] + 1, window[3] - window[1] + 1
    if not (1 <= width <= 1 << 20 and 1 <= height <= 1 << 20):
        raise refused(f"says {width} x {height} pixels", path)
    names = {name for name, _, _ in channels}
    colour = {"R", "G", "B"} <= names or ("Y" in names and not names & {"RY", "BY"})
    if not colour or any(subsampling != (1, 1) for _, _, subsampling in channels):
        raise refused(f"has the channels {sorted(names)}, whole R, G and B are needed", path)
    size = sum(2 if kind == 1 else 4 for _, kind, _ in channels)
    if not flags & _EXR_TILED:
        _check_offsets(path, height, found)
    # Pixels that are not numbers become a mask, so there may always be one.
    return Header(width, height, "EXR", True, 16, size)


def _attributes(head: bytes, path: Path) -> list[tuple[str, bytes]]:
    """Split the header into (name, value)."""
    found, place = [], 8
    while place < len(head) and head[place]:
        fields = []
        for _ in range(2):
            end = head.find(b"\0", place, place + 257)
            if end < 0:
                raise damaged(path, "the header is cut")
            fields.append(head[place:end].decode("latin-1"))
            place = end + 1
        size = int.from_bytes(head[place : place + 4], "little")
        place += 4
        if size > len(head) - place or len(found) > 1000:
            raise damaged(path, f"attribute {fields[0]!r} has {size} bytes")
        found.append((fields[0], head[place : place + size]))
        place += size
    if place >= len(head):
        raise damaged(path, "the header is cut")
    return [*found, ("", place.to_bytes(8, "little"))]


def _channels(value: bytes) -> list[tuple[str, int, tuple[int, int]]]:
    """Return (name, pixel type, subsampling) of every channel."""
    found, place = [], 0
    while place < len(value) and value[place]:
        end = value.index(b"\0", place)
        kind, x, y = struct.unpack_from("<i4xii", value, end + 1)
        found.append((value[place:end].decode("latin-1"), kind, (x, y)))
        place = end + 17
    return found


def _check_offsets(path: Path, height: int, found: dict[str, bytes]) -> None:
    """Refuse a file whose writer was interrupted: a line block without a place."""
    rows = _EXR_ROWS.get(found.get("compression", b"")[:1])
    if rows is None:
        return
    count = -(-height // rows)
    size = path.stat().st_size
    start = int.from_bytes(found[""], "little") + 1
    if 8 * count > size - start:
        raise damaged(path, "its table of lines is cut")
    with path.open("rb") as file:
        file.seek(start)
        places = np.frombuffer(file.read(8 * count), "<u8")
    if ((places == 0) | (places >= size)).any():
        raise DamagedPhotoError(
            "is an unfinished OpenEXR frame: lines are missing",
            where=path,
            advice="write it again or take it out of the scene",
        )


def decode_exr(path: Path) -> Deep:
    """Decode an OpenEXR picture; its colours are multiplied by alpha.

    Raises:
        PhotoError: Damaged.
        SetupError: OpenEXR is not installed.
    """
    library = _library("OpenEXR", "OpenEXR", path)
    with _as_damage(path), library.File(str(path), separate_channels=True) as file:
        planes = {name: np.array(c.pixels, np.float32) for name, c in file.channels().items()}
    names = "RGB" if "R" in planes else "YYY"
    linear = np.stack([planes[name] for name in names], axis=-1)
    return _from_light(linear, planes.get("A"), associated=True)


def _from_light(linear: np.ndarray, alpha: np.ndarray | None, *, associated: bool) -> Deep:
    """Encode linear light."""
    finite = np.isfinite(linear).all(axis=2)
    weight = None if alpha is None else np.nan_to_num(alpha)
    if weight is not None and associated:
        linear = _straight(linear, weight)
    beyond = ((linear < 0) | (linear > 1)).any(axis=2) & finite
    if weight is not None:
        beyond &= weight > 0
    return Deep(
        encode_linear(linear),
        weight,
        unreal=None if finite.all() else ~finite,
        clipped=int(np.count_nonzero(beyond)),
        linear=True,
    )


def _straight(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Undo the multiplication of colours by alpha; where alpha is 0 they stay as they are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight[..., None] > 0, colour / weight[..., None], colour)


def _split(values: np.ndarray, *, associated: bool = False) -> Deep:
    """Take [H, W, 1 to 4] apart into colour and alpha; ``associated``: colours times alpha."""
    channels = values.shape[2]
    alpha = values[:, :, -1] if channels in (2, 4) else None
    colour = values[:, :, :3] if channels >= 3 else np.repeat(values[:, :, :1], 3, axis=2)
    whole = values.dtype.kind == "u"
    if not whole:
        return _from_light(colour, alpha, associated=associated)
    largest = np.iinfo(values.dtype).max
    if alpha is not None:
        alpha = alpha.astype(np.float64) / largest
        if associated:
            straight = np.minimum(np.floor(_straight(colour, alpha) + 0.5), largest)
            colour = straight.astype(values.dtype)
    return Deep(np.ascontiguousarray(colour), alpha)


@contextmanager
def _as_damage(path: Path, kind: str = "picture") -> Iterator[None]:
    """Turn whatever a decoder raises into our error; what the drive raises may pass."""
    try:
        yield
    except XscaleError:
        raise
    except Exception as error:  # these libraries raise nearly everything on damaged files
        if is_passing(error):
            raise
        if "imagecodecs" in str(error):  # a codec that is not there says so itself
            raise SetupError(
                f"reading this {kind} needs imagecodecs ({error})", where=path, advice=_EXTRA
            ) from error
        raise damaged(path, error, kind) from error


def damaged(path: Path, error: object, kind: str = "picture") -> DamagedPhotoError:
    """Make the error of a picture whose bytes make no sense."""
    return DamagedPhotoError(
        f"cannot be read as a {kind}: {' '.join(str(error).split())[:200]}",
        where=path,
        advice="copy it again from the camera or take it out of the scene",
    )


def refused(what: str, path: Path) -> PhotoError:
    """Make the error of a picture of a kind that is not read."""
    return PhotoError(what, where=path, advice="convert it to 8- or 16-bit RGB, PNG or TIFF")


def raw_photo(path: Path) -> PhotoError:
    """Make the error of a camera's RAW file."""
    return PhotoError(
        "is a camera's RAW file",
        where=path,
        advice="develop it, for instance to 16-bit TIFF, all photos in the same way",
    )

"""Which kind of picture a file is, by its first bytes, whatever it is called."""

from __future__ import annotations

from pathlib import Path

from xscale.errors import DamagedPhotoError, PhotoError
from xscale.io.photo.deep_images import raw_photo

_KINDS = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"WEBP", 8, "WEBP"),
    (b"CR", 8, "RAW"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "TIFF"),
    (b"MM\0+", 0, "TIFF"),
    (b"v/1\x01", 0, "EXR"),
    (b"IIU\0", 0, "RAW"),
    (b"IIRO", 0, "RAW"),
    (b"FUJIFILM", 0, "RAW"),
    (b"ftypcrx", 4, "RAW"),
    (b"ftyp", 4, "a HEIC, AVIF or video file"),
    (b"GIF8", 0, "a GIF file"),
    (b"BM", 0, "a BMP file"),
)


def kind_of(path: Path, head: bytes, size: int) -> str:
    """Tell by its first bytes what a file is, or refuse it by name.

    Args:
        path: The file, for errors.
        head: Its first 32 bytes.
        size: Its size in bytes.

    Raises:
        PhotoError: A kind that is not read; DamagedPhotoError for what is not a picture at all.
    """
    for magic, offset, kind in _KINDS:
        if not head[offset:].startswith(magic):
            continue
        if kind == "RAW":
            raise raw_photo(path)
        if " " in kind:
            raise PhotoError(
                f"is {kind}, not a photo that can be read",
                where=path,
                advice="convert it, for instance to 16-bit TIFF or PNG",
            )
        return kind
    advice = "copy it again from the camera or take it out of the scene"
    if not size:
        raise DamagedPhotoError("is empty (0 bytes)", where=path, advice=advice)
    raise DamagedPhotoError(
        f"is not a picture: {size} bytes without a JPEG or PNG signature (nor WebP, TIFF, OpenEXR)",
        where=path,
        advice=advice,
    )

"""Damaged photos of every format: a reader ends with a documented error or with a picture, soon.

    python -m tests.fuzz.photos --minutes 2 --seed 7

Where the format has checksums (PNG), and for every file that was only cut off, a picture that comes
out must be the right one. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.readers import damage
from xscale.errors import XscaleError
from xscale.io.photo.images import read_pixels

SECONDS_A_FILE = 10
CHECKED = ("png", "png16")


def photos(folder: Path) -> dict[str, bytes]:
    """Return a small photo in every format, by a short name."""
    import imagecodecs
    import OpenEXR
    import tifffile

    rng = np.random.default_rng(11)
    smooth = np.add.outer(np.arange(40), np.arange(56))[:, :, None] * (2, 1, 2) % 256
    rgb = (smooth + rng.integers(0, 20, (40, 56, 3))).clip(0, 255).astype(np.uint8)
    made = {}
    for name, options in {
        "jpeg": {"format": "JPEG", "quality": 90},
        "progressive": {"format": "JPEG", "progressive": True},
        "png": {"format": "PNG"},
        "webp": {"format": "WEBP", "lossless": True},
        "lossy-webp": {"format": "WEBP"},
    }.items():
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, **options)
        made[name] = buffer.getvalue()
    made["png16"] = imagecodecs.png_encode(rgb.astype(np.uint16) * 257)
    for name, compression in (("tiff", None), ("tiff-deflate", "zlib"), ("tiff-lzw", "lzw")):
        tifffile.imwrite(folder / "made.tif", rgb, photometric="rgb", compression=compression)
        made[name] = (folder / "made.tif").read_bytes()
    planes = {c: rgb[:, :, k].astype(np.float32) / 255 for k, c in enumerate("RGB")}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, planes) as file:
        file.write(str(folder / "made.exr"))
    made["exr"] = (folder / "made.exr").read_bytes()
    return made


def outcome(data: bytes, path: Path, truth: np.ndarray | None) -> str:
    """Read one file: ``read``, ``refused`` or ``FAULT`` with what went wrong.

    Args:
        data: The file.
        path: Where to write it.
        truth: The only picture that may come out; None where any may.
    """
    path.write_bytes(data)
    start = time.monotonic()
    try:
        rgb = read_pixels(path).rgb
        right = truth is None or np.array_equal(rgb, truth)
        found = "read" if right else "FAULT: another picture"
    except XscaleError as error:
        lines = "\n" in str(error) or error.exit_code != 3
        found = f"FAULT: {error!r}" if lines else "refused"
    except Exception:
        found = f"FAULT: {traceback.format_exc()}"
    if time.monotonic() - start > SECONDS_A_FILE:
        found = f"FAULT: took {time.monotonic() - start:.0f} s"
    return found


def main() -> int:
    """Damage photos until the time is over."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    counts = {"read": 0, "refused": 0, "FAULT": 0}
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "photo"
        made = photos(Path(temporary))
        truths = {}
        for name, data in made.items():
            path.write_bytes(data)
            truths[name] = read_pixels(path).rgb
        seed = given.seed
        while time.monotonic() < end:
            rng = random.Random(seed)
            name = rng.choice(sorted(made))
            data = made[name]
            cut = rng.random() < 0.25
            spoiled = data[: rng.randrange(len(data))] if cut else damage(data, rng)
            found = outcome(spoiled, path, truths[name] if cut or name in CHECKED else None)
            counts[found.partition(":")[0]] += 1
            if found.startswith("FAULT"):
                print(f"seed {seed}, {name}: {found}")
            seed += 1
    print(f"{sum(counts.values())} photos: {counts}")
    return 1 if counts["FAULT"] else 0


if __name__ == "__main__":
    sys.exit(main())

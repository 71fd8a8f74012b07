"""Speed of photo decoding: 24-megapixel JPEGs to arrays, against Pillow on one thread."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._timing import milliseconds, row
from xscale.io.photo.images import read_rgb
from xscale.io.photo.resample import area_downscale

_WIDTH, _HEIGHT, _FILES, _THREADS = 6000, 4000, 16, 2


def photos(folder: Path, threads: ThreadPoolExecutor) -> list[Path]:
    """Write noisy photos, quality 92, colour at half resolution."""

    def write(k: int) -> Path:
        noise = np.random.default_rng(k).integers(0, 256, (1000, 1500, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        picture.save(folder / f"{k:02d}.jpg", quality=92, subsampling="4:2:0")
        return folder / f"{k:02d}.jpg"

    return list(threads.map(write, range(_FILES)))


def pillow(path: Path) -> int:
    """Decode a photo by Pillow; returns its numbers' number."""
    with Image.open(path) as image:
        return np.array(image).size


def _quarter(path: Path) -> int:
    return area_downscale(read_rgb(path)[0], _WIDTH // 4, _HEIGHT // 4).size


def rows() -> list[dict[str, object]]:
    """Time whole photos, and photos reduced to a quarter (which need every pixel decoded)."""
    shape = f"{_FILES} JPEGs of 24 MP, 4:2:0, quality 92"
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_THREADS) as pool:
        paths = photos(Path(folder), pool)

        def ours() -> None:
            # One size a photo: the array itself is let go at once.
            for _ in pool.map(lambda path: read_rgb(path)[0].size, paths):
                pass

        def quarter() -> None:
            for _ in pool.map(_quarter, paths):
                pass

        def peer() -> None:
            for path in paths:
                pillow(path)

        works = {"ours": ours, "peer": peer, "quarter": quarter}
        times = milliseconds(works, seconds=1.0, least=2, most=3)
    reduced = {"ours": times["quarter"], "peer": times["ours"]}
    return [
        row("photo decode", f"{shape}; {_THREADS} threads", times, peer_name="Pillow, one thread"),
        row("photo decode 1/4", shape, reduced, peer_name="the whole photo, same threads"),
    ]

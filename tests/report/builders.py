"""A small scored run: three photos in two folders, one with a hostile name."""

import numpy as np

from xscale.io.names import png_name
from xscale.io.photo.images import write_png

HOSTILE = "near/<script>alert('x')</script>\"&.jpg"
NAMES = ["far/a.jpg", "near/b.png", HOSTILE]


def photos(size=(40, 56)):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    base = np.dstack([x, 0.5 + 0.4 * np.sin(20 * y), 0.5 * (x + y)])
    noisy = (np.clip(base + rng.normal(0, 0.05, base.shape), 0, 1) for _ in NAMES)
    return {n: np.rint(255 * p).astype(np.uint8) for n, p in zip(NAMES, noisy, strict=True)}


def write_run(folder, size=(40, 56)):
    """Write renders and coverage; return the photos by name."""
    rng = np.random.default_rng(4)
    result = photos(size)
    for name, photo in result.items():
        render = np.clip(photo * 0.9 + rng.normal(5, 6, photo.shape), 0, 255).astype(np.uint8)
        coverage = np.zeros(size, np.uint8)
        coverage[6:, :-9] = 255
        render[coverage == 0] = 255
        write_png(folder / "renders" / "test" / png_name(name), render)
        write_png(folder / "renders" / "test/coverage" / png_name(name), coverage)
    return result

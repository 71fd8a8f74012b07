"""Damaged scenes: whatever is done to a file, a reader ends well or with a documented error.

    python -m tests.fuzz.readers --minutes 2 --seed 7

Each round damages one file of a small scene (bytes changed, removed, repeated, or cut off), opens
the scene and decodes its photos. Exit code 1 if anything but an XscaleError came out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests import builders
from xscale.errors import XscaleError
from xscale.scene.scene import Scene

SECONDS_A_ROUND = 20


def damage(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` with one to four faults."""
    spoiled = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(spoiled) + 1)
        kind = rng.choice(("flip", "flip", "cut", "remove", "repeat", "number"))
        if kind == "cut":
            del spoiled[at:]
        elif kind == "remove":
            del spoiled[at : at + rng.randint(1, 16)]
        elif kind == "repeat":
            spoiled[at:at] = spoiled[at : at + rng.randint(1, 64)]
        elif kind == "number":  # the values on which counts and indices break
            width = rng.choice((2, 4, 8))
            value = rng.choice((0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1)))
            spoiled[at : at + width] = value.to_bytes(width, "little")
        elif at < len(spoiled):
            spoiled[at] = rng.randrange(256)
    return bytes(spoiled)


def one_round(template: Path, folder: Path, rng: random.Random) -> str:
    """Damage one file of a copy and read everything; return what happened."""
    shutil.copytree(template, folder)
    chosen = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    chosen.write_bytes(damage(chosen.read_bytes(), rng))
    name = chosen.relative_to(folder).as_posix()
    start = time.monotonic()
    try:
        scene = Scene.open(folder)
        for photo in scene.photos:
            photo.load(2)
        outcome = "read"
    except XscaleError as error:
        outcome = f"refused ({type(error).__name__})"
        if "\n" in str(error):
            outcome = f"FAULT: an error of several lines: {error!r}"
    except Exception:
        outcome = f"FAULT: {traceback.format_exc()}"
    if time.monotonic() - start > SECONDS_A_ROUND:
        outcome = f"FAULT: took {time.monotonic() - start:.0f} s"
    return f"{name}: {outcome}"


def main() -> int:
    """Run rounds until the time is over."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    counts = {"read": 0, "refused": 0, "FAULT": 0}
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as temporary:
        built = builders.asymmetric_scene()
        template = builders.write_colmap(built, Path(temporary) / "template")
        seed = given.seed
        while time.monotonic() < end:
            folder = Path(temporary) / "scene"
            line = one_round(template, folder, random.Random(seed))
            shutil.rmtree(folder)
            counts[next(kind for kind in counts if f": {kind}" in line)] += 1
            if "FAULT" in line:
                print(f"seed {seed}, {line}")
            seed += 1
    print(f"{sum(counts.values())} rounds: {counts}")
    return 1 if counts["FAULT"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""The giga demo: on demand, deterministic, over 1000 : 1, and within its memory."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from xscale.demo import giga
from xscale.demo.giga import GIGA, giga_scene, run_giga
from xscale.demo.photos import cameras

SMALL = replace(
    GIGA, width=96, height=64, cells=64, rings=tuple(replace(r, photos=3) for r in GIGA.rings)
)


def test_giga_is_as_large_as_it_says():
    assert sum(ring.photos for ring in GIGA.rings) >= 2000
    assert 2 * GIGA.cells**2 >= 20_000_000
    assert max(r.distance for r in GIGA.rings) / min(r.distance for r in GIGA.rings) >= 1000
    assert sum(1 for _ in cameras(GIGA)) == 2100


def test_photos_are_made_by_rectangles_and_always_the_same(tmp_path):
    scene = giga_scene(tmp_path, SMALL)
    again = giga_scene(tmp_path / "again", SMALL)
    assert len(scene.photos) == 15
    for photo, twin in zip(scene.photos, again.photos, strict=True):
        whole = photo.read()
        assert whole.shape == (64, 96, 3)
        assert whole.std() > 0
        part, mask = twin.pixels().rect(10, 20, 30, 15)
        assert mask is None
        # The surface is cut into bands and rectangles: rounding may differ by one value.
        assert np.abs(part.astype(int) - whole[20:35, 10:40]).max() <= 1


def test_every_photo_looks_at_the_ground(tmp_path):
    scene = giga_scene(tmp_path, SMALL)
    for photo in scene.photos:
        target = photo.camera.position + photo.camera.R[2] * 1e-3
        assert target[2] < photo.camera.position[2]
        assert photo.read().reshape(-1, 3).std(0).max() > 0


def test_a_small_giga_trains_and_renders_from_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(giga, "_VIEW", (80, 45))
    settings = ["optim.batch=512", "model.grid.log2_table_size=12"]
    made = run_giga(tmp_path / "giga", tmp_path / "run", 3, size=SMALL, settings=settings)
    assert made.view.is_file()
    assert made.peak_bytes > made.table_bytes > 0


@pytest.mark.slow
def test_giga_stays_under_8_gb_above_its_tables(tmp_path, capsys):
    command = [sys.executable, "-m", "xscale", "demo", "--scale", "giga", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--steps", "200"], capture_output=True, text=True, check=True)
    with capsys.disabled():
        sys.stdout.write(done.stdout)
    peak, tables = map(
        float, re.search(r"peak memory ([\d.]+) GB, of it tables ([\d.]+) GB", done.stdout).groups()
    )
    assert peak - tables < 8.0

"""The giga demo: on demand, deterministic, over 1000 : 1, and within its memory."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from xscale.cli import main
from xscale.demo import giga
from xscale.demo.giga import GIGA, giga_scene, open_giga, run_giga
from xscale.demo.photos import cameras
from xscale.errors import SceneError, UsageError
from xscale.scene.scene import Scene

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


def test_scene_is_opened_again_by_its_recipe(tmp_path, capsys):
    made = giga_scene(tmp_path / "giga", SMALL)
    again = Scene.open(tmp_path / "giga")
    assert again.fingerprint() == made.fingerprint()
    assert [p.name for p in again.photos] == [p.name for p in made.photos]
    np.testing.assert_array_equal(again.photos[3].read(), made.photos[3].read())
    np.testing.assert_array_equal(again.mesh.vertices, made.mesh.vertices)
    with pytest.raises(UsageError, match=r"made on demand takes no --pixel-origin"):
        Scene.open(tmp_path / "giga", pixel_origin="center")


def test_commands_take_the_folder_like_any_scene(tmp_path, capsys):
    folder, run = str(tmp_path / "giga"), str(tmp_path / "run")
    giga_scene(folder, SMALL)
    assert main.main(["inspect", folder, "--quick"]) == 0
    assert "giga.json: photos and mesh are made on demand" in capsys.readouterr().out
    settings = ["--set", "optim.batch=512", "model.grid.log2_table_size=12"]
    assert main.main(["train", folder, "--out", run, "--steps", "3", *settings]) == 0
    assert main.main(["train", folder, "--out", run, "--steps", "5", "--resume", *settings]) == 0
    capsys.readouterr()
    assert main.main(["train", folder, "--out", run + "2", "--mesh", "other.ply"]) == 2
    assert "takes no --mesh" in capsys.readouterr().err
    out = tmp_path / "colmap"
    assert main.main(["convert", folder, "--to", "colmap", "--out", str(out)]) == 0
    made, plain = open_giga(folder), Scene.open(out)
    assert [p.name for p in plain.photos] == [p.name for p in made.photos]
    np.testing.assert_array_equal(plain.photos[7].read(), made.photos[7].read())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda c: c.update(version=9), "version 9"),
        (lambda c: c.pop("size"), "not a recipe"),
        (lambda c: c["size"].update(cells=10**9), "cells is 1000000000"),
        (lambda c: c["size"].update(width="9"), "width is '9'"),
        (lambda c: c["size"].update(rings=[]), "other values"),
        (lambda c: c["size"].update(more=1), "other values"),
        (lambda c: c["size"]["rings"][0].update(photos=10**12), "ring .* photos"),
        (lambda c: c["size"]["rings"].append(3), "not a recipe"),
    ],
)
def test_a_damaged_recipe_is_named_before_anything_is_made(tmp_path, damage, says):
    giga_scene(tmp_path, SMALL)
    recipe = tmp_path / "giga.json"
    content = json.loads(recipe.read_text())
    damage(content)
    recipe.write_text(json.dumps(content))
    with pytest.raises(SceneError, match=rf"giga.json: .*{says}.*; make it again"):
        open_giga(tmp_path)


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

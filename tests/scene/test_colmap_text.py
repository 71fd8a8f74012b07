"""COLMAP's text tables: any line ends and languages, names with spaces, every bad line named."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, UnsafePathError
from xscale.geometry.mesh import Mesh
from xscale.scene.layouts import colmap_text
from xscale.scene.layouts.colmap_model import Tables
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=3)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a/../../b.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 20 10 30 30 9 4\n")
    (tmp_path / "images.txt").write_text(f"1 1 0 0 0 0 0 0 1 {name}\n\n")
    tables = Tables()
    colmap_text.read_cameras(tmp_path / "cameras.txt", tables)
    with pytest.raises(UnsafePathError):
        colmap_text.read_images(tmp_path / "images.txt", tables)


def _text_names(tmp_path, text):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 20 10 30 30 9 4\n")
    (tmp_path / "images.txt").write_bytes(text.encode())
    tables = Tables()
    colmap_text.read_cameras(tmp_path / "cameras.txt", tables)
    colmap_text.read_images(tmp_path / "images.txt", tables)
    return [image.name for image in tables.images.values()]


def test_text_names_may_hold_spaces_and_lines_may_end_in_any_way(tmp_path):
    text = (
        "\ufeff# comment\r\n1 1 0 0 0 0 0 0 1 left side/a b.png\r\n\r\n"
        "2 1 0 0 0 0 0 0 1 c.png\r\n1.5 2.5 -1 3 4 17\r\n3 1 0 0 0 0 0 0 1 last.png"
    )
    assert _text_names(tmp_path, text) == ["left side/a b.png", "c.png", "last.png"]


def test_text_fields_may_be_tabs_doubled_spaces_and_windows_lines_between_comments(tmp_path):
    text = (
        "\r\n# 3 photos\r\n\t1\t1  0 0 0\t0 0 0 1 a (1), b.png \r\n\r\n"
        "  # between\r\n2 1 0 0 0 0 0 0 1 c.png\r\n"
    )
    assert _text_names(tmp_path, text) == ["a (1), b.png", "c.png"]
    old_mac = "# photos\r1 1 0 0 0 0 0 0 1 a.png\r\r2 1 0 0 0 0 0 0 1 b.png\r1 2 -1\r"
    assert _text_names(tmp_path, old_mac) == ["a.png", "b.png"]


def test_numbers_are_read_alike_where_people_write_decimal_commas(small, tmp_path):
    folder = builders.write_colmap(small, tmp_path / "scene", binary=False)
    locales = tmp_path / "locales"
    locales.mkdir()
    make = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(locales / "de_DE.UTF-8")]
    try:
        subprocess.run(make, check=False, capture_output=True)
    except OSError:
        pytest.skip("no localedef")
    if not (locales / "de_DE.UTF-8").is_dir():
        pytest.skip("no German locale can be made here")
    program = (
        "import locale, sys; locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\n"
        "assert locale.localeconv()['decimal_point'] == ','\n"
        "from xscale.scene.scene import Scene\n"
        "scene = Scene.open(sys.argv[1])\n"
        "print(scene.fingerprint(), scene.points.sum().hex(), scene.mesh.vertices.sum())"
    )
    # The mesh as text too: every reader of numbers has to pass.
    mesh = Mesh.from_world(small.vertices, small.faces)
    points = "".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in small.vertices.tolist())
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in small.faces.tolist())
    (folder / "mesh.ply").unlink()
    (folder / "mesh.obj").write_text(points + faces)
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        check=True, capture_output=True, text=True,
        env={**os.environ, "LOCPATH": str(locales), "LC_ALL": "de_DE.UTF-8"},
    )  # fmt: skip
    scene = Scene.open(folder)
    expected = [scene.fingerprint(), scene.points.sum().hex(), str(scene.mesh.vertices.sum())]
    assert done.stdout.split() == expected
    np.testing.assert_allclose(scene.mesh.vertices, mesh.vertices, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 b.png\n", r"images.txt:2: .*keypoints"),
        ("1 1 0 0 0 0 nan 0 1 a.png\n\n", r"images.txt:1: 'nan'"),
        ("1 1 0 0 0 0 1e999 0 1 a.png\n\n", "1e999"),
        ("1 1 0 0 0 0 0,5 0 1 a.png\n\n", "0,5"),
        ("1 1 0 0 0 0 0x1p3 0 1 a.png\n\n", "0x1p3"),
        ("1 1 0 0 0 0 1_0 0 1 a.png\n\n", "1_0"),
        ("1 1 0 0 0 0 0 0 1\n\n", "9 fields, needs 10"),
        ("1 1 0 0 0 0 " + "1" * 10_000 + " 0 1 a.png\n\n", "not a finite number"),
    ],
)
def test_text_damage_is_named_by_line(tmp_path, text, words):
    with pytest.raises(CameraError, match=words):
        _text_names(tmp_path, text)

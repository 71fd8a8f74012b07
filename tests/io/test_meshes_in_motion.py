"""Mesh and camera files that shrink, grow or vanish while they are read."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests import builders
from tests.io.test_meshes import SAMPLES
from tests.io.test_ply import DIALECTS, header, polygons
from xscale.errors import InputError
from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.scene.layouts import colmap

FILES = {f"{name}.ply": data for name, data in DIALECTS.items()} | SAMPLES
FILES["polygons.ply"] = header("binary_little_endian", faces=4) + polygons()


def _damaged_at_stat(monkeypatch, path, number, damage):
    """Damage a file right after a reader asked for its size for the n-th time."""
    asked, stat = [], Path.stat

    def asking(self, **options):
        found = stat(self, **options)
        if self == path:
            asked.append(found.st_size)
            if len(asked) == number:
                damage(path)
        return found

    monkeypatch.setattr(Path, "stat", asking)
    return asked


def _tried(read, path):
    """Return what was read and None, or None and our error's line."""
    try:
        return read(path), None
    except InputError as error:
        return None, str(error)


def _shrinks(share):
    return lambda path: os.truncate(path, int(share * os.path.getsize(path)))  # noqa: PTH202


def _grows(path):
    with path.open("ab") as file:
        file.write(b"0 1 2 3\n" * 9)


DAMAGES = {"half": _shrinks(0.5), "nearly all": _shrinks(0.97), "nothing left": _shrinks(0),
           "vanishes": Path.unlink, "grows": _grows}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_mesh_that_changes_under_the_reader_is_refused_or_whole(tmp_path, name, damage):
    path = tmp_path / f"mesh.{name.rpartition('.')[2]}"
    path.write_bytes(FILES[name])
    whole = read_mesh_arrays(path)
    for number in range(1, 6):
        path.write_bytes(FILES[name])
        with pytest.MonkeyPatch.context() as patch:
            asked = _damaged_at_stat(patch, path, number, DAMAGES[damage])
            mesh, refused = _tried(read_mesh_arrays, path)
        if refused is not None:
            assert str(path) in refused
            continue
        if not name.endswith((".obj", ".off")) or damage in ("grows", "vanishes"):
            # Nothing of a size that is no longer there may be made up.
            np.testing.assert_array_equal(mesh.vertices, whole.vertices)
            np.testing.assert_array_equal(mesh.faces, whole.faces)
        assert mesh.faces.max() < len(mesh.vertices)
        if number > len(asked):
            break


def test_binary_stl_that_shrinks_is_named_so(tmp_path, monkeypatch):
    path = tmp_path / "a.stl"
    path.write_bytes(SAMPLES["binary.stl"])
    _damaged_at_stat(monkeypatch, path, 2, _shrinks(0.5))
    with pytest.raises(InputError, match="ends inside triangle 0 of 3: it shrank while"):
        read_mesh_arrays(path)


@pytest.mark.parametrize("table", ["cameras.bin", "images.bin", "points3D.bin"])
def test_camera_table_that_shrinks_is_named(tmp_path, table):
    built = builders.asymmetric_scene(photos=3)
    (tmp_path / "images").mkdir()
    for number in range(1, 5):
        builders.write_model(built, tmp_path / "sparse")
        path = tmp_path / "sparse" / table
        with pytest.MonkeyPatch.context() as patch:
            asked = _damaged_at_stat(patch, path, number, _shrinks(0.6))
            reading, refused = _tried(colmap.read, tmp_path)
        assert table in refused if reading is None else len(reading.views) == 3
        if number > len(asked):
            break

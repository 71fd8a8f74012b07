"""Every wrong input ends in one line that names the file and the way out, and leaves nothing.

The scenes are whole folders as a user has them, each damaged in one way; the calls are the ones a
user types.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import builders
from tests.fuzz.readers import meshes
from tests.house.tree import ROOT
from tests.scene.test_nerfstudio import transforms
from xscale.cli import main
from xscale.io.mesh.ply import encode_ply

TINY = ["--steps", "2", "--set", "optim.batch=512", "model.grid.levels=4",
        "model.grid.log2_table_size=10", "model.shader.hidden=16"]  # fmt: skip


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """The same scene in every layout, photos as PNG and as JPEG."""
    root = tmp_path_factory.mktemp("layouts")
    built = builders.asymmetric_scene(photos=5)
    jpeg = builders.asymmetric_scene(photos=5)
    jpeg.cameras = {n.replace(".png", ".jpg"): c for n, c in jpeg.cameras.items()}
    builders.write_colmap(built, root / "binary")
    builders.write_colmap(built, root / "text", binary=False)
    builders.write_colmap(jpeg, root / "jpeg")
    builders.write_mvsnet(built, root / "mvsnet")
    builders.write_colmap(built, root / "json")
    shutil.rmtree(root / "json" / "sparse")
    (root / "json" / "transforms.json").write_text(json.dumps(transforms(built)))
    for kind, data in meshes(built).items():
        shutil.copytree(root / "binary", root / kind)
        (root / kind / "mesh.ply").unlink()
        (root / kind / f"mesh.{kind.partition('-')[0]}").write_bytes(data)
    vertices = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in built.vertices.tolist())
    faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in built.faces.tolist())
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(built.vertices)}\nproperty double x\n"
        f"property double y\nproperty double z\nelement face {len(built.faces)}\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    (root / "text" / "mesh.ply").write_text(head + vertices + faces)
    return root


@pytest.fixture
def scene(templates, tmp_path, monkeypatch):
    """Copy a layout to where the test may damage it; crash files would land beside it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda layout: Path(shutil.copytree(templates / layout, tmp_path / "scene"))


def _contents(root):
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _cut(name, share):
    def damage(root):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * share)])

    return damage


def _write(name, content):
    return lambda root: (root / name).write_bytes(content)


def _bytes_at(name, offset, value):
    def damage(root):
        data = bytearray((root / name).read_bytes())
        data[offset : offset + len(value)] = value
        (root / name).write_bytes(data)

    return damage


def _replace(name, old, new):
    def damage(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return damage


def _remove(*names):
    def damage(root):
        for name in names:
            (root / name).unlink()

    return damage


def _no_photos(root):
    for path in (root / "images").iterdir():
        path.unlink()


def _resized(name, width, height):
    return lambda root: Image.open(root / name).resize((width, height)).save(root / name)


def _mesh_moved(root, offset=1000.0):
    built = builders.asymmetric_scene(photos=5)
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices + offset, built.faces))


def _mesh_behind(root):
    # All within the cameras' surroundings, but on the side to which no camera looks; without
    # sparse points, so that the cameras have to notice.
    (root / "sparse/0/points3D.bin").unlink()
    _mesh_moved(root, np.array([0, 0, 20.0]))


def _mesh_with_nan(root):
    built = builders.asymmetric_scene(photos=5)
    built.vertices[5] = np.nan
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))


def _points_only(root):
    vertices = builders.asymmetric_scene(photos=5).vertices
    (root / "mesh.ply").write_bytes(encode_ply(vertices, np.zeros((0, 3), np.int32)))


def _two_models(root):
    shutil.copytree(root / "sparse" / "0", root / "sparse" / "1")


def _mirrored(root):
    path = root / "cams_1" / "view_02_cam.txt"
    words = path.read_text().split()
    words[1:4] = [str(-float(word)) for word in words[1:4]]
    path.write_text(" ".join(words))


def _poses_inverted(root):
    # Far off to the side, where no convention looks like another one.
    built = builders.asymmetric_scene(photos=5).moved((20, 30, -40))
    cameras = {n: replace(c, R=c.R.T, t=c.position) for n, c in built.cameras.items()}
    builders.write_model(replace(built, cameras=cameras), root / "sparse" / "0")
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))


def _mesh_flat(root):
    built = builders.asymmetric_scene(photos=5)
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices * 0, built.faces))


def _replace_bytes(name, old, new):
    def damage(root):
        data = (root / name).read_bytes()
        assert data.count(old) == 1
        (root / name).write_bytes(data.replace(old, new))

    return damage


def _bytes_at_end(name, value):
    def damage(root):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: -len(value)] + value)

    return damage


CAMERAS, IMAGES, POINTS = (f"sparse/0/{t}.bin" for t in ("cameras", "images", "points3D"))
NAN = struct.pack("<d", float("nan"))
POSE = "view_02.png"

# layout, damage, the file that the line must name, what it says is wrong, what it advises.
ROWS = {
    "no-mesh": ("binary", _remove("mesh.ply"), "scene", r"has no mesh\.ply", "--mesh"),
    "mesh-is-a-point-cloud": ("binary", _points_only, "mesh.ply", "no faces", "triangle mesh"),
    "mesh-is-text": ("binary", _write("mesh.ply", b"hello\n"), "mesh.ply", "PLY", "export"),
    "mesh-is-empty": ("binary", _write("mesh.ply", b""), "mesh.ply", "empty|PLY", "export|copy"),
    "mesh-cut-in-vertices": ("binary", _cut("mesh.ply", 0.6), "mesh.ply", "vert|bytes",
                             "export|copy"),
    "mesh-cut-in-faces": ("binary", _cut("mesh.ply", 0.95), "mesh.ply", "face|bytes",
                          "export|copy"),
    "mesh-cut-in-its-header": ("binary", _cut("mesh.ply", 0.3), "mesh.ply", "header|end_header",
                               "export|copy"),
    "ascii-mesh-cut": ("text", _cut("mesh.ply", 0.7), "mesh.ply", "rows need", "export|copy"),
    "mesh-with-nan": ("binary", _mesh_with_nan, "mesh.ply", "vertex 5 is .nan",
                      "--mesh-repair drop-bad-faces"),
    "mesh-outside-every-camera": ("binary", _mesh_behind, "scene", "cameras and mesh do not meet",
                                  "one coordinate system"),
    "mesh-in-another-frame": ("binary", _mesh_moved, "scene", "mesh do not meet",
                              "one coordinate system"),
    "some-photos-missing": ("binary", _remove("images/view_01.png", "images/view_04.png"),
                            "images", "2 of 5 photos .* view_01.png, view_04.png", "add them"),
    "all-photos-missing": ("binary", _no_photos, "images", "5 of 5 photos", "add them"),
    "photo-folder-missing": ("binary", lambda root: shutil.rmtree(root / "images"), "scene",
                             "COLMAP model .sparse/0. and no images/", "put the photos into"),
    "photos-of-mvsnet-missing": ("mvsnet", _remove("images_1/view_03.png"), "images_1",
                                 "1 of 5 cameras have no photo: view_03", "add the photos"),
    "other-aspect-ratio": ("binary", _resized("images/view_03.png", 112, 66), "view_03.png",
                           "112 x 66, its camera 112 x 64", "resize"),
    "nan-pose": ("binary", _bytes_at(IMAGES, 8 + 4 + 32, NAN), "images.bin", "view_00.png.*NaN",
                 "run the mapper|export|check"),
    "nan-quaternion": ("binary", _bytes_at(IMAGES, 8 + 4, NAN), "images.bin", "view_00.png.*NaN",
                       "run the mapper|export|check"),
    "nan-in-text-pose": ("text", _replace("sparse/0/images.txt", "\n1 ", "\n1 nan "),
                         "images.txt:2", "'nan'", "number|export|write"),
    "nan-in-cam-txt": ("mvsnet", _replace("cams_1/view_02_cam.txt", "0.0 0.0 0.0 1.0", "nan 0 0 1"),
                       "view_02_cam.txt:5", "'nan'", "number|export|write"),
    "nan-focal-length": ("binary", _bytes_at(CAMERAS, 8 + 24, NAN), "cameras.bin", "NaN",
                         "run the mapper|export|check"),
    "unknown-model-id": ("binary", _bytes_at(CAMERAS, 12, struct.pack("<i", 99)), "cameras.bin",
                         "camera model 99 is unknown.*PINHOLE", "write the model"),
    "unknown-model-name": ("text", _replace("sparse/0/cameras.txt", "PINHOLE", "PINHOLLE"),
                           "cameras.txt:2", "'PINHOLLE' is unknown.*PINHOLE", "write the model"),
    "cut-cameras": ("binary", _cut(CAMERAS, 0.9), "cameras.bin", "byte|ends", "again|copy"),
    "cut-images": ("binary", _cut(IMAGES, 0.7), "images.bin", "byte|ends", "again|copy"),
    "cut-points": ("binary", _cut(POINTS, 0.7), "points3D.bin", "byte|ends", "again|copy"),
    "empty-cameras": ("binary", _write(CAMERAS, b""), "cameras.bin", "byte|ends|empty",
                      "again|copy"),
    "cut-cam-txt": ("mvsnet", _cut("cams_1/view_02_cam.txt", 0.6), "view_02_cam.txt", "numbers",
                    "write it again"),
    "empty-cam-txt": ("mvsnet", _write("cams_1/view_02_cam.txt", b""), "view_02_cam.txt",
                      "numbers", "write it again"),
    "cut-jpeg": ("jpeg", _cut("images/view_03.jpg", 0.5), "view_03.jpg", "cut off", "copy it"),
    "cut-png": ("binary", _cut("images/view_03.png", 0.5), "view_03.png", "cut off", "copy it"),
    "text-named-jpg": ("jpeg", _write("images/view_03.jpg", b"<html>404</html>\n"),
                       "view_03.jpg", "not a picture", "copy it"),
    "empty-jpg": ("jpeg", _write("images/view_03.jpg", b""), "view_03.jpg", "empty", "copy it"),
    "jpg-of-zeros": ("jpeg", _write("images/view_03.jpg", bytes(5000)), "view_03.jpg",
                     "not a picture", "copy it"),
    # More of the tables of docs/faults.md, by row.
    "B-02": ("binary", _bytes_at(IMAGES, 84, struct.pack("<Q", 2**40)), "images.bin",
             "ends inside keypoints|ends inside the", "again"),
    "B-07": ("text", _replace("sparse/0/cameras.txt", "\n2 ", "\n1 "), "cameras.txt:3",
             "camera id 1 occurs twice", "export"),
    "B-09": ("binary", _two_models, "scene", "has 2 COLMAP models: sparse/0 .5 photos., sparse/1",
             "--colmap-model"),
    "B-12": ("binary", _bytes_at(IMAGES, 12, bytes(32)), "images.bin", "view_00.png.*length 0",
             "without pose"),
    "B-13": ("mvsnet", _mirrored, "view_02_cam.txt", "mirrors", "OpenCV axes"),
    "B-14": ("binary", _poses_inverted, "scene", "mesh do not meet",
             "--pose-convention camera-to-world"),
    "B-15": ("text", _replace("sparse/0/cameras.txt", " 95.0 ", " -95.0 "), "cameras.txt",
             "focal", "export"),
    "B-18": ("json", _replace("transforms.json", '"frames"', '"w": NaN, "frames"'),
             "transforms.json", "NaN is not a number", "export"),
    "B-19": ("json", _replace("transforms.json", "images/view_02", "../view_02"),
             "transforms.json", "file_path.*not a file below", "--images"),
    "B-21": ("json", _replace("transforms.json", '"transform_matrix": [[', '"transform_matrix": [['
             '"x", '), "transforms.json", "transform_matrix/0.*5 numbers", "rows"),
    "C-01": ("binary", _replace_bytes("mesh.ply", b"face 3", b"face 3000000000"), "mesh.ply",
             "3000000000 rows need at least", "export"),
    "C-04": ("binary", _bytes_at_end("mesh.ply", struct.pack("<i", -1)), "mesh.ply",
             "face 2 names vertex -1 of 7", "export"),
    "C-10": ("binary", _mesh_flat, "mesh.ply", "none of the 3 faces has an area", "export"),
    "C-15": ("glb", _bytes_at("mesh.glb", 4, struct.pack("<I", 3)), "mesh.glb",
             "GLB version 3", "2.0"),
    "C-16": ("gltf", _replace("mesh.gltf", '"count": 7', '"count": 1000000000'), "mesh.gltf",
             "wants 1000000000 rows", "export"),
    "C-19": ("gltf", _replace("mesh.gltf", '"uri": "', '"uri": "../../etc/passwd", "x": "'),
             "mesh.gltf", "outside its own folder", "beside the mesh"),
    "C-21": ("gltf", _replace("mesh.gltf", '"scale": [1, 1, 1]', '"scale": [1, 1, 0]'),
             "mesh.gltf", "singular", "export"),
    "C-22": ("obj", _replace("mesh.obj", "f 1//1", "f 0//1"), "mesh.obj", "names vertex 0",
             "export"),
    "C-24": ("stl", _bytes_at("mesh.stl", 80, b"\xff" * 4), "mesh.stl", "4294967295 triangles",
             "export"),
    "C-25": ("off", _cut("mesh.off", 0.7), "mesh.off", "bytes are left|cut|ends", "export"),
    "tiff-named-jpg": ("jpeg", _write("images/view_03.jpg", b"II*\0" + bytes(99)), "view_03.jpg",
                       "cannot be read as a TIFF", "copy it again"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_wrong_scene_is_one_line_with_file_and_advice(row, scene, tmp_path, capsys):
    layout, damage, names, says, advises = ROWS[row]
    root = scene(layout)
    damage(root)
    before = _contents(root)
    for words in (["inspect", str(root)], ["train", str(root), "--out", str(tmp_path / "run"),
                                           *TINY]):  # fmt: skip
        assert main.main([*words, "--on-bad-photo", "stop"]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        line = captured.err.removeprefix("xscale: error: ")
        assert line != captured.err
        where, _, rest = line.partition(": ")
        assert re.search(re.escape(str(root)) + rf".*{re.escape(names)}|{re.escape(names)}$", where)
        what, _, advice = rest.rpartition("; ")
        assert re.search(says, what), rest
        assert re.search(advises, advice), rest
    assert _contents(root) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene"]


@pytest.mark.parametrize(
    "row", ["binary", "text", "jpeg", "mvsnet", "json", "ply-ascii", "obj", "off", "stl",
            "stl-ascii", "glb", "gltf"]
)  # fmt: skip
def test_undamaged_the_same_scenes_are_right(row, scene, tmp_path, capsys):
    # Without this the table above could pass for a reason of its own.
    root = scene(row)
    before = _contents(root)
    assert main.main(["inspect", str(root), "--strict"]) == 0, capsys.readouterr().err
    assert _contents(root) == before


def test_mesh_option_that_names_nothing(scene, tmp_path, capsys):
    root = scene("binary")
    for name, says in (("none.ply", "no such mesh"), ("scene/images/view_00.png", "png")):
        words = ["train", str(root), "--mesh", str(tmp_path / name), "--out", str(tmp_path / "run")]
        assert main.main([*words, *TINY]) == 3
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert str(tmp_path / name) in line
        assert re.search(says, line)
        assert not (tmp_path / "run").exists()


def test_photos_of_half_size_train_with_scaled_cameras_and_it_is_said(scene, tmp_path, capsys):
    root = scene("binary")
    for path in (root / "images").iterdir():
        _resized(f"images/{path.name}", 56, 32)(root)
    assert main.main(["train", str(root), "--out", str(tmp_path / "run"), *TINY]) == 0
    assert "W-PHOTO-SIZE: 5 photos have another size" in capsys.readouterr().err
    assert main.main(["render", str(tmp_path / "run"), "--views", "all"]) == 0
    with Image.open(tmp_path / "run/renders/all/view_00.png") as picture:
        assert picture.size == (56, 32)


def _bit_flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _sector_zeroed(path):
    data = bytearray(path.read_bytes())
    data[-712:-200] = bytes(512)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("layout", "name", "damage", "says"),
    [
        ("binary", "view_01.png", _bit_flipped, "cannot be read as a picture: "),
        ("binary", "view_04.png", _bit_flipped, "cannot be read as a picture: "),
        ("jpeg", "view_02.jpg", _sector_zeroed, r"is damaged: 51\d zeroed bytes"),
    ],
)
def test_damage_inside_compressed_pixels_is_named_and_leaves_no_run(
    layout, name, damage, says, scene, tmp_path, capsys
):
    # Photos 1 and 2 are trained on, photo 4 is held out and shown in the previews.
    root = scene(layout)
    damage(root / "images" / name)
    words = ["train", str(root), "--out", str(tmp_path / "run"), *TINY, "--on-bad-photo", "stop"]
    assert main.main(words) == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(rf"xscale: error: .*{name}: {says}.*; copy", line)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene"]


def test_exit_code_and_line_reach_the_shell(scene, tmp_path):
    root = scene("binary")
    _cut(CAMERAS, 0.5)(root)
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "xscale", "train", str(root), "--out", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == ""
    assert re.fullmatch(r"xscale: error: .*cameras\.bin: .*\n", done.stderr)
    assert not (tmp_path / "run").exists()

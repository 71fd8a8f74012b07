"""Every option that a message about a scene advises is tried: followed, it opens the scene.

The advised options are found in the source. An advice that no entry of ``FOLLOWED`` follows fails
the first test; an entry is a scenario of this file or a test elsewhere that uses the option.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

from tests import builders
from tests.advice import advised
from tests.house.tree import ROOT
from tests.inspection.table import Maker, similarity
from tests.scene import test_metashape, test_nerfstudio
from xscale.cli.main import main
from xscale.errors import PhotoError, SceneError, XscaleError
from xscale.io.mesh.ply import encode_ply
from xscale.io.storage import write_text
from xscale.scene.layouts.convert import convert
from xscale.scene.scene import Scene

ROOMS = ("scene", "inspection", "io/mesh", "io/photo", "geometry")
NOT_ADVICE = {"xscale/inspection/page.py:write_page --json": "a heading"}


def advice_in_source():
    """Return ``file:function --option`` of every text that names an option."""
    found = set()
    for room in ROOMS:
        for path in sorted((ROOT / "xscale" / room).rglob("*.py")):
            _visit(ast.parse(path.read_text()), path.relative_to(ROOT).as_posix(), "", found)
    return found


def _visit(node, file, within, found):
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.ClassDef)
        below = f"{within}.{child.name}".lstrip(".") if named else within
        text = isinstance(child, ast.Constant) and isinstance(child.value, str)
        if text and not isinstance(node, ast.Expr):
            options = re.findall(r"--[a-z][a-z-]+", child.value)
            found.update(f"{file}:{below} {option}" for option in options)
        _visit(child, file, below, found)


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=4)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("advice"))


def refused(option, root, **options):
    """Return the message with which a scene is refused; it names the option."""
    with pytest.raises(XscaleError) as error:
        Scene.open(root, **options)
    assert option in str(error.value)
    return str(error.value)


def remarked(option, root):
    """Return a scene, one of whose remarks names the option."""
    scene = Scene.open(root)
    assert any(option in line for line in scene.warnings)
    return scene


def several_camera_files(small, root, make):
    builders.write_colmap(small, root)
    (root / "sparse").rename(root / "set-aside")
    for name in ("a.xml", "b.xml"):
        (root / name).write_text(test_metashape.export(small))
    refused("--cameras", root)
    assert len(Scene.open(root, cameras=root / "a.xml").photos) == 4


def photos_elsewhere(small, root, make):
    builders.write_colmap(small, root)
    (root / "images").rename(root / "photos")
    refused("--images", root)
    assert len(Scene.open(root, images=root / "photos").photos) == 4


def cameras_in_parts(small, root, make):
    builders.write_colmap(small, root)
    (root / "sparse").rename(root / "set-aside")
    for part in ("train", "test"):
        document = json.dumps(test_nerfstudio.transforms(small))
        (root / f"transforms_{part}.json").write_text(document)
    refused("--cameras", root)
    assert len(Scene.open(root, cameras=root / "transforms_train.json").photos) == 4


def path_is_not_there(small, root, make):
    builders.write_colmap(small, root)
    for option, name in (("cameras", "sparse/0"), ("images", "images")):
        refused(f"--{option}", root, **{option: root / "elsewhere"})
        assert len(Scene.open(root, **{option: root / name}).photos) == 4
    refused("--images", root, images=root / "mesh.ply")


def several_models(small, root, make):
    builders.write_colmap(small, root)
    builders.write_model(small, root / "sparse/1")
    said = refused("--colmap-model", root)
    name = re.search(r"--colmap-model (\S+)", said)[1]
    assert len(Scene.open(root, colmap_model=name).photos) == 4
    refused("--colmap-model", root, colmap_model="7")


def models_that_differ(small, root, make):
    builders.write_colmap(small, root)
    fewer = replace(small, cameras=dict(list(small.cameras.items())[:3]))
    builders.write_model(fewer, root / "sparse/0", binary=False)
    said = refused("--colmap-model", root)
    name = re.search(r"--colmap-model (\S+)", said)[1]
    assert len(Scene.open(root, colmap_model=name).photos) == 3
    assert len(Scene.open(root, colmap_model=name.replace("txt", "bin")).photos) == 4


def split_of_the_file(small, root, make):
    builders.write_colmap(small, root)
    (root / "sparse").rename(root / "set-aside")
    document = test_nerfstudio.transforms(small)
    document["test_filenames"] = [document["frames"][0]["file_path"]]
    (root / "transforms.json").write_text(json.dumps(document))
    scene = remarked("--test-every or --test-list", root)
    write_text(root / "test.txt", f"{scene.photos[0].name}\n")
    assert scene.split(test_list=root / "test.txt").test == (scene.photos[0].name,)
    assert len(scene.split(test_every=2).test) == 2


def no_photo_to_train_on(small, root, make):
    builders.write_colmap(small, root)
    scene = Scene.open(root)
    with pytest.raises(XscaleError, match="--test-every or a --test-list"):
        scene.split(test_every=1)
    assert len(scene.split(test_every=2).test) == 2
    write_text(root / "test.txt", "view_01.png\n")
    assert scene.split(test_list=root / "test.txt").test == ("view_01.png",)


def missing_test_photo(small, root, make):
    builders.write_colmap(builders.asymmetric_scene(photos=22, width=28, height=16), root)
    (root / "images/view_07.png").unlink()
    scene = Scene.open(root)
    with pytest.raises(XscaleError, match="--test-list"):
        scene.split()
    write_text(root / "test.txt", "view_06.png\n")
    assert len(scene.split(test_list=root / "test.txt").train) == 20


def mesh_in_the_files_frame(small, root, make):
    """The mesh follows ``applied_transform``; the advice takes that out of a copy of the file."""
    builders.write_colmap(small, root)
    (root / "sparse").rename(root / "set-aside")
    applied = np.array([[0.0, 1, 0, 90], [1, 0, 0, 70], [0, 0, -1, 40]])
    document = test_nerfstudio.transforms(small)
    document["applied_transform"] = applied.tolist()
    for frame, camera in zip(document["frames"], small.cameras.values(), strict=True):
        pose = np.eye(4)
        pose[:3, :3] = camera.R.T @ np.diag([1.0, -1, -1])
        pose[:3, 3] = camera.position
        frame["transform_matrix"] = (np.vstack([applied, [0, 0, 0, 1]]) @ pose).tolist()
    (root / "transforms.json").write_text(json.dumps(document))
    moved = small.vertices @ applied[:, :3].T + applied[:, 3]
    (root / "mesh.ply").write_bytes(encode_ply(moved, small.faces))
    said = refused("", root)
    del document["applied_transform"]
    (root / "copy.json").write_text(json.dumps(document))
    if "--cameras" in said:
        assert len(Scene.open(root, cameras=root / "copy.json").photos) == 4
    assert len(Scene.open(root, **advised(said, root)).photos) == 4


def foreign_colours(small, root, make):
    builders.write_colmap(small, root)
    path = root / "images/view_00.png"
    wide = pytest.importorskip("imagecodecs").cms_profile("adobergb")
    Image.open(path).save(path, icc_profile=wide)
    remarked("--color icc", root)
    assert Scene.open(root, color="icc").photo("view_00.png").read().shape == (64, 112, 3)


def damaged_colours(small, root, make):
    builders.write_colmap(small, root)
    path = root / "images/view_00.png"
    Image.open(path).save(path, icc_profile=b"\1" * 300)
    with pytest.raises(PhotoError, match="leave --color icc out"):
        Scene.open(root, color="icc").photo("view_00.png").read()
    assert Scene.open(root).photo("view_00.png").read().shape == (64, 112, 3)


def name_with_a_line_end(small, root, make):
    built = replace(small, cameras={f"a\n{n}": c for n, c in small.cameras.items()})
    builders.write_colmap(built, root)
    scene = Scene.open(root)
    with pytest.raises(SceneError, match="leave out --text"):
        convert(scene, root.parent / "out", "colmap", text=True)
    convert(scene, root.parent / "out", "colmap")
    assert len(Scene.open(root.parent / "out").photos) == 4


def no_such_mesh(small, root, make):
    builders.write_colmap(small, root)
    refused("--mesh", root, mesh=root / "other.ply")
    assert len(Scene.open(root, mesh=root / "mesh.ply").photos) == 4
    (root / "mesh.ply").rename(root / "mesh_a.dxf")
    refused("--mesh", root)


def several_meshes(small, root, make):
    builders.write_colmap(small, root)
    (root / "mesh.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    refused("--mesh", root)
    assert len(Scene.open(root, mesh=root / "mesh.ply").photos) == 4


def one_camera_turned_away(small, root, make):
    built = builders.asymmetric_scene(photos=7)
    camera = built.cameras["view_02.png"]
    flip = np.diag([1.0, -1, -1])
    built.cameras["view_02.png"] = replace(camera, R=flip @ camera.R, t=flip @ camera.t)
    builders.write_colmap(built, root)
    Scene.open(root)
    assert len(Scene.open(root, drop_outliers=True).photos) == 6


def dark_photos(small, root, make):
    make(photo=lambda name, rgb: (rgb // 60).astype(np.uint8))(root)
    page = root.parent / "page.html"
    assert main(["inspect", str(root), "--quick", "--report", str(page)]) == 0
    assert "W-SCENE-UNCOMPARED" in page.read_text()


def mesh_in_feet(small, root, make):
    make(points=True, mesh=similarity(scale=1 / 0.3048))(root)
    said = refused("--transform", root)
    assert len(Scene.open(root, **advised(said, root)).photos) == 9


def cameras_of_opengl(small, root, make):
    flip = np.diag([1.0, -1.0, -1.0])
    make(cameras=lambda n, c: replace(c, R=flip @ c.R, t=flip @ c.t))(root)
    said = refused("--pose-convention", root)
    assert len(Scene.open(root, **advised(said, root)).photos) == 9


BESIDE = "tests/scene/test_what_people_bring.py"
FOLLOWED = {
    "xscale/geometry/mesh.py:Mesh.from_world --mesh-repair":
        "tests/scene/test_mesh_frame.py::test_faces_with_nan_corners_are_refused_or_left_out_and_counted",
    "xscale/inspection/evidence.py:Doubt._conventions --pose-convention":
        "tests/inspection/table.py::wrong_cases",
    "xscale/inspection/findings.py:_causes --report": dark_photos,
    "xscale/io/mesh/meshes.py:read_mesh_arrays --mesh": no_such_mesh,
    "xscale/io/photo/colour_spaces.py:_by_profile --color": damaged_colours,
    "xscale/io/photo/images.py:_check_header --convert-cmyk":
        "tests/io/test_images.py::test_cmyk_is_converted_on_request_and_never_inverted",
    "xscale/io/photo/decode_apart.py:_crash --threads":
        "tests/io/test_decode_apart.py::test_many_threads_share_the_processes",
    "xscale/scene/checks/advice.py:advise --pose-convention": cameras_of_opengl,
    "xscale/scene/checks/duplicates.py:check_leaks --allow-leak":
        "tests/scene/test_duplicates.py::test_training_refuses_a_test_photo_among_its_photos",
    "xscale/scene/checks/fit.py:check_convention --pose-convention":
        "tests/scene/test_mesh_frame.py::test_cameras_of_another_convention_are_refused_by_its_name",
    "xscale/scene/checks/fit.py:transform_advice --transform": mesh_in_feet,
    "xscale/scene/checks/plausibility.py:check_outliers --drop-outliers": one_camera_turned_away,
    "xscale/scene/checks/sightings.py:check_reprojection --drop-outliers":
        "tests/scene/test_cameras_by_sense.py::"
        "test_outliers_are_left_out_on_request_but_never_a_test_photo",
    "xscale/scene/layouts/cameras_file.py:find_cameras --cameras": several_camera_files,
    "xscale/scene/layouts/colmap.py:_chosen --colmap-model": several_models,
    "xscale/scene/layouts/colmap.py:_compare --colmap-model": models_that_differ,
    "xscale/scene/layouts/convert.py:_mvsnet --to":
        "tests/scene/test_convert.py::test_layouts_that_cannot_hold_a_camera_name_one_that_can",
    "xscale/scene/layouts/kinds.py:_unknown --cameras": cameras_in_parts,
    "xscale/scene/layouts/kinds.py:_unknown --images": photos_elsewhere,
    "xscale/scene/layouts/kinds.py:detected --cameras": path_is_not_there,
    "xscale/scene/layouts/kinds.py:detected --images": path_is_not_there,
    "xscale/scene/layouts/labels.py:_ambiguous --images":
        f"{BESIDE}::test_two_kinds_of_one_photo_are_told_apart_by_the_advised_option",
    "xscale/scene/layouts/realitycapture.py: --cameras": several_camera_files,
    "xscale/scene/layouts/nerfstudio.py: --cameras": mesh_in_the_files_frame,
    "xscale/scene/layouts/nerfstudio.py:_Reader._remark --test-every": split_of_the_file,
    "xscale/scene/layouts/nerfstudio.py:_Reader._remark --test-list": split_of_the_file,
    "xscale/scene/layouts/paths.py:path_below --images":
        f"{BESIDE}::test_paths_of_another_computer_open_with_the_advised_option",
    "xscale/scene/layouts/writers.py:ColmapTables.text --text": name_with_a_line_end,
    **{
        f"xscale/scene/layouts/writers.py:{function} --to":
            "tests/scene/test_convert.py::test_layouts_that_cannot_hold_a_camera_name_one_that_can"
        for function in ("_nerfstudio_bending", "mvsnet_camera", "nerfstudio_intrinsics",
                         "nerfstudio_transforms", "parameters")
    },
    "xscale/scene/load.py:_where_photos_are --images":
        f"{BESIDE}::test_photos_in_another_folder_are_found_by_the_advice",
    "xscale/scene/posed.py:_photo_remarks --color": foreign_colours,
    "xscale/scene/posed.py:posed_photo --no-outside":
        "tests/scene/test_changed_photos.py::test_links_out_of_the_folder_are_said_or_refused",
    "xscale/scene/scene.py:Scene.split --test-list": missing_test_photo,
    "xscale/scene/split.py:split_names --test-every": no_photo_to_train_on,
    "xscale/scene/split.py:split_names --test-list": no_photo_to_train_on,
    "xscale/scene/surface.py:_no_mesh --mesh":
        f"{BESIDE}::test_mesh_of_another_name_or_kind_is_named",
    "xscale/scene/surface.py:find_meshes --mesh": several_meshes,
}  # fmt: skip


def test_every_advice_in_the_source_is_followed_by_a_test():
    found = advice_in_source() - set(NOT_ADVICE)
    assert found - set(FOLLOWED) == set(), "an advice that no test follows"
    assert set(FOLLOWED) - found == set(), "no message gives this advice any more"


@cache
def _tests_of(file):
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("key", [k for k, v in FOLLOWED.items() if isinstance(v, str)])
def test_the_test_that_follows_an_advice_exists(key):
    file, name = FOLLOWED[key].split("::")
    assert name in _tests_of(file)


@pytest.mark.parametrize(
    "scenario", sorted({v for v in FOLLOWED.values() if callable(v)}, key=lambda f: f.__name__),
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_advice_followed_opens_the_scene(scenario, small, tmp_path, make):
    root = tmp_path / "scene"
    root.mkdir()
    scenario(small, root, make)

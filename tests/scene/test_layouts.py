"""Which layout a folder is, and cameras and photos that are given by hand."""

import numpy as np
import pytest

from tests import builders
from tests.scene.test_bundler import bundle
from tests.scene.test_metashape import export
from tests.scene.test_nerfstudio import transforms
from tests.scene.test_openmvs import scene_mvs
from xscale.cli import main
from xscale.errors import SceneError
from xscale.scene.scene import Scene


@pytest.fixture
def bare(asymmetric_folder, tmp_path):
    """A folder with a mesh only; cameras and photos lie elsewhere."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (asymmetric_folder / "mesh.ply").rename(folder / "mesh.ply")
    return folder


def _cameras(kind, built, folder):
    """Write a cameras file whose name says nothing of its kind."""
    path = folder / "file.dat"
    folder.mkdir(exist_ok=True)
    if kind == "mvsnet":
        for name, camera in built.cameras.items():
            (folder / f"{name[:-4]}_cam.txt").write_text(builders.cam_txt(camera))
        return folder
    if kind == "colmap":
        builders.write_model(built, folder, binary=False)
        return folder / "images.txt"
    if kind == "nerfstudio":
        import json

        path.write_text(json.dumps(transforms(built)))
    elif kind == "metashape":
        path.write_text(export(built))
    elif kind == "openmvs":
        path.write_bytes(scene_mvs(built))
    else:
        path.write_text(bundle(built, "95.0 0 0"))
        (folder / "list.txt").write_text("".join(f"{n}\n" for n in built.cameras))
    return path


@pytest.mark.parametrize(
    "kind", ["colmap", "mvsnet", "nerfstudio", "metashape", "openmvs", "bundler"]
)
def test_cameras_file_is_recognised_by_its_content(
    asymmetric, asymmetric_folder, bare, tmp_path, kind
):
    cameras = _cameras(kind, asymmetric, tmp_path / "cameras")
    scene = Scene.open(bare, cameras=cameras, images=asymmetric_folder / "images")
    assert scene.layout == kind
    assert {p.path.parent for p in scene.photos} == {asymmetric_folder / "images"}
    for photo in scene.photos:
        truth = asymmetric.cameras[photo.name]
        np.testing.assert_allclose(photo.camera.t, truth.t, atol=1e-12)
        if kind != "bundler":
            np.testing.assert_allclose(photo.camera.K, truth.K, atol=1e-12)


def test_given_files_that_are_none_are_named(asymmetric_folder, bare, tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("nothing\n")
    images = asymmetric_folder / "images"
    said = r"notes.txt: its content is not a known kind of camera file"
    with pytest.raises(SceneError, match=said):
        Scene.open(bare, cameras=other, images=images)
    with pytest.raises(SceneError, match="after --cameras"):
        Scene.open(bare, cameras=tmp_path / "gone.json")
    with pytest.raises(SceneError, match="after --images"):
        Scene.open(bare, images=tmp_path / "gone")
    with pytest.raises(SceneError, match="takes a folder"):
        Scene.open(bare, images=other)


def test_folder_of_two_kinds_says_which_one_was_read(asymmetric, asymmetric_folder):
    import json

    (asymmetric_folder / "transforms.json").write_text(json.dumps(transforms(asymmetric)))
    scene = Scene.open(asymmetric_folder)
    assert scene.layout == "colmap"
    assert scene.warnings == ("W-LAYOUT: the folder is read as colmap, it also fits nerfstudio",)
    scene = Scene.open(asymmetric_folder, cameras=asymmetric_folder / "transforms.json")
    assert scene.layout == "nerfstudio"


def test_inspect_says_which_layout_spoke_and_why(asymmetric, asymmetric_folder, bare, capsys):
    cameras = _cameras("metashape", asymmetric, bare / "c")
    images = asymmetric_folder / "images"
    command = ["inspect", str(bare), "--cameras", str(cameras), "--images", str(images)]
    assert main.main(command) == 0
    assert "metashape: file.dat is a Metashape camera export" in capsys.readouterr().out


def test_run_remembers_where_cameras_and_photos_were(asymmetric, asymmetric_folder, bare, tmp_path):
    import xscale
    from xscale.scoring import score_run

    cameras = _cameras("nerfstudio", asymmetric, bare / "c")
    scene = Scene.open(bare, cameras=cameras, images=asymmetric_folder / "images")
    run = xscale.train(scene, out=tmp_path / "run", steps=2, settings=["optim.batch=64"])
    options = run.manifest.scene.options
    assert options == {"cameras": str(cameras), "images": str(asymmetric_folder / "images")}
    scores = score_run(run.path).scores
    assert set(scores["photos"]) == set(run.names("test"))
    assert not any("W-SCENE" in line for line in scores["protocol"]["warnings"])

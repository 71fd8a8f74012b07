"""Further inputs of the kinds in which people's folders failed: each would have failed before."""

import json

import pytest

from tests import builders
from tests.scene import test_bundler, test_metashape, test_nerfstudio
from tests.scene import test_realitycapture as test_rc
from xscale.errors import CameraError, SceneError
from xscale.io.mesh.ply import encode_ply
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=3)


def renamed(built, rename):
    """The same scene with other names of photos."""
    cameras = {rename(name): camera for name, camera in built.cameras.items()}
    photos = {rename(name): built.photo(name) for name in built.cameras}
    return cameras, photos


def scene_of(built, root, rename=lambda name: name):
    """Write photos and mesh; return the built scene under its new names."""
    cameras, photos = renamed(built, rename)
    for name, photo in photos.items():
        builders.save_photo(root / "images" / name, photo)
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))
    found = builders.asymmetric_scene(photos=3)
    found.cameras = cameras
    return found


# Files of older Windows programs, and of Windows' shell.


def write_bundle(built, root, encoding, end="\n", name="list.txt"):
    (root / "bundle.out").write_text(test_bundler.bundle(built))
    text = "".join(f"{name}{end}" for name in built.cameras)
    (root / name).write_bytes(text.encode(encoding))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_windows_name_photos_with_umlauts(small, tmp_path, encoding, end):
    built = scene_of(small, tmp_path, lambda name: f"Küche ß {name}")
    write_bundle(built, tmp_path, encoding, end)
    assert [p.name for p in Scene.open(tmp_path).photos] == sorted(built.cameras)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_tables_of_windows_name_photos_with_umlauts(small, tmp_path, encoding):
    built = scene_of(small, tmp_path, lambda name: f"Straße {name}")
    (tmp_path / "cameras.csv").write_bytes(test_rc.table(built).encode(encoding))
    scene = Scene.open(tmp_path, cameras=tmp_path / "cameras.csv")
    assert [p.name for p in scene.photos] == sorted(built.cameras)


def test_colmap_text_in_latin_1_names_photos_with_umlauts(small, tmp_path):
    built = scene_of(small, tmp_path, lambda name: f"Tür {name}")
    builders.write_model(built, tmp_path / "sparse/0", binary=False)
    images = tmp_path / "sparse/0/images.txt"
    images.write_bytes(images.read_text().encode("cp1252"))
    scene = Scene.open(tmp_path)
    assert [p.name for p in scene.photos] == sorted(built.cameras)
    assert any(line.startswith("W-PHOTO-NAME") for line in scene.warnings)


def test_transforms_in_another_encoding_are_named_with_the_byte(small, tmp_path):
    built = scene_of(small, tmp_path, lambda name: f"Tür {name}")
    text = json.dumps(test_nerfstudio.transforms(built), ensure_ascii=False)
    (tmp_path / "transforms.json").write_bytes(text.encode("cp1252"))
    with pytest.raises((CameraError, SceneError), match="is not UTF-8 at byte"):
        Scene.open(tmp_path)


def test_text_cut_in_the_middle_of_a_letter_is_refused(small, tmp_path):
    built = scene_of(small, tmp_path)
    write_bundle(built, tmp_path, "utf-16")
    (tmp_path / "list.txt").write_bytes((tmp_path / "list.txt").read_bytes()[:-1])
    with pytest.raises(CameraError, match="UTF-16"):
        Scene.open(tmp_path)


# Kind K: what was found, and what helps.


@pytest.mark.parametrize("name", ["photos.txt", "image_list.txt", "cameras.lst"])
def test_a_list_under_another_name_is_found(small, tmp_path, name):
    built = scene_of(small, tmp_path)
    write_bundle(built, tmp_path, "utf-8", name=name)
    (tmp_path / "readme.txt").write_text("three photos of a roof\n")
    assert len(Scene.open(tmp_path).photos) == 3


def test_two_lists_under_other_names_are_not_guessed_between(small, tmp_path):
    built = scene_of(small, tmp_path)
    write_bundle(built, tmp_path, "utf-8", name="a.txt")
    (tmp_path / "b.txt").write_text("".join(f"{n}\n" for n in reversed(built.cameras)))
    with pytest.raises(SceneError, match=r"no list of photos.*a.txt, b.txt could not be told.*"):
        Scene.open(tmp_path)


TABLES = {
    "omega, phi, kappa": "# PhotoID, X, Y, Z, Omega, Phi, Kappa\nview_00, 1, 2, 3, 0, 0, 0\n",
    "pix4d": "imageName X Y Z Omega Phi Kappa\n".replace(" ", "\t") + "a.jpg\t1\t2\t3\t0\t0\t0\n",
    "flight log": "name;latitude;longitude;altitude;yaw;pitch;roll\nview_00;48;11;500;0;-90;0\n",
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("given", [True, False], ids=["--cameras", "in the folder"])
def test_a_table_of_another_kind_is_named_with_its_columns(small, tmp_path, kind, given):
    scene_of(small, tmp_path)
    (tmp_path / "table.csv").write_text(TABLES[kind])
    options = {"cameras": tmp_path / "table.csv"} if given else {}
    with pytest.raises(SceneError, match=r"its columns are .*; from RealityScan, export") as error:
        Scene.open(tmp_path, **options)
    assert "table.csv" in str(error.value)


def test_a_table_without_its_lens_names_the_columns_it_needs(small, tmp_path):
    built = scene_of(small, tmp_path)
    rows = [line.split(",") for line in test_rc.table(built).splitlines()]
    head = next(k for k, row in enumerate(rows) if "heading" in ",".join(row))
    width = rows[head].index("f")
    text = "\n".join(",".join(row[:width]) if k >= head else ",".join(row)
                     for k, row in enumerate(rows))  # fmt: skip
    (tmp_path / "cameras.csv").write_text(text)
    with pytest.raises(CameraError, match=r"lacks the columns f, .*f, px, py, k1"):
        Scene.open(tmp_path)


# Kinds D and H: labels and groups.


def test_umlauts_decomposed_by_macos_in_a_subfolder(small, tmp_path):
    import unicodedata

    built = scene_of(small, tmp_path, lambda n: unicodedata.normalize("NFD", f"Flug ä/{n}"))
    label = {n: unicodedata.normalize("NFC", n) for n in built.cameras}
    built.cameras = {label[n]: c for n, c in built.cameras.items()}
    (tmp_path / "cameras.xml").write_text(test_metashape.export(built))
    assert len(Scene.open(tmp_path).photos) == 3


def test_labels_with_an_ending_of_the_raw_file_in_a_bundle(small, tmp_path):
    built = scene_of(small, tmp_path)
    (tmp_path / "bundle.out").write_text(test_bundler.bundle(built))
    lines = "".join(f"E:\\job 7\\{n[:-4]}.DNG\r\n" for n in built.cameras)
    (tmp_path / "list.txt").write_text(lines)
    scene = Scene.open(tmp_path)
    assert len(scene.photos) == 3
    assert any(line.startswith("W-PHOTO-ENDING") for line in scene.warnings)


# Kind F: masks.


@pytest.mark.parametrize("name", ["images/view_00.png", "view_00.mask.png", "Mask_view_00.png"])
def test_masks_below_or_under_other_names_are_used_or_named(small, tmp_path, name):
    builders.write_colmap(small, tmp_path)
    builders.save_photo(tmp_path / "masks" / name, builders.half_masked())
    scene = Scene.open(tmp_path)
    mask = scene.photo("view_00.png").read_mask()
    used = mask is not None and not mask[:24].any()
    assert used or any(line.startswith("W-MASK-UNUSED") for line in scene.warnings)

"""Camera files and lists that would fill the memory of a reader that believes them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests import builders
from tests.scene.test_bundler import bundle
from tests.scene.test_colmap_rigs import frames_bin, rigs_bin
from tests.scene.test_metashape import export
from tests.scene.test_openmvs import scene_mvs
from tests.scene.test_realitycapture import COLUMNS
from xscale.render.camera_files import read_cameras
from xscale.scene.layouts import bundler, colmap, metashape, nerfstudio, openmvs, realitycapture
from xscale.scene.split import split_names
from xscale.scene.surface import read_transform

Case = tuple[str, int, Callable[[], object]]
_COUNTS = (10**9, 2**40, 2**63)
_CAMERA = struct.pack("<IiQQ3d", 1, 0, 100, 100, 90, 50, 50)
_POSE = "1 0 0 0 0 0 0 1"


def _model(root: Path, tables: dict[str, bytes]) -> Path:
    """Write a COLMAP scene's tables; what is not given is small and right."""
    folder = root / "sparse"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (root / "images").mkdir(exist_ok=True)
    for name, data in tables.items():
        (folder / name).write_bytes(data)
    return root


def _written(path: Path, data: bytes | str) -> int:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(data)
    return len(data)


def declared(folder: Path) -> Iterator[Case]:
    """Small files that say they are huge."""
    built = builders.asymmetric_scene(photos=2)
    cameras = list(built.cameras.values())
    right = {
        "cameras.bin": builders.cameras_bin(cameras),
        "images.bin": builders.images_bin(built),
        "points3D.bin": builders.points_bin(built.points),
        "rigs.bin": rigs_bin(),
        "frames.bin": frames_bin(cameras[0]),
    }
    name_end = right["images.bin"].index(b".png\0") + 5
    for count in _COUNTS:
        number = struct.pack("<Q", count)
        for name, data in right.items():
            root = _model(folder / "colmap", {**right, name: number + data[8:]})
            yield f"{name} {count}", len(data), partial(colmap.read, root)
        for name, at in (("images.bin", name_end), ("points3D.bin", 8 + 43)):
            data = right[name]
            root = _model(folder / "colmap", {**right, name: data[:at] + number + data[at + 8 :]})
            yield f"{name} inside {count}", len(data), partial(colmap.read, root)
        mvs = scene_mvs(built)
        for what, at in (("platforms", 12), ("name", 20), ("cameras", 36)):
            path = folder / "scene.mvs"
            size = _written(path, mvs[:at] + number + mvs[at + 8 :])
            yield f"mvs {what} {count}", size, partial(openmvs.read, folder)
        path.unlink()
        text = bundle(built)
        for said in (f"{count} 3", f"2 {count}"):
            size = _written(folder / "bundle.out", text.replace("2 120", said, 1))
            (folder / "list.txt").write_text("a.png\nb.png\n")
            yield f"bundle {said}", size, partial(bundler.read, folder)
        (folder / "bundle.out").unlink()


def dense(folder: Path, size: int) -> Iterator[Case]:
    """Files of about ``size`` bytes in which a few bytes stand for much."""
    yield from _dense_colmap(folder / "colmap", size)
    yield from _dense_texts(folder, size)
    yield from _dense_json(folder, size)


def _dense_colmap(root: Path, size: int) -> Iterator[Case]:
    def case(name: str, large: str, tables: dict[str, bytes]) -> Case:
        _model(root, tables)
        return name, len(tables[large]), partial(colmap.read, root)

    none, one = struct.pack("<Q", 0), struct.pack("<Q", 1) + _CAMERA
    n = size // 48
    many = b"".join(struct.pack("<IiQQ3d", k, 0, 9, 9, 9, 4, 4) for k in range(n))
    many = struct.pack("<Q", n) + many
    yield case("cameras", "cameras.bin", {"cameras.bin": many, "images.bin": none})
    n = size // 79
    head = struct.pack("<7dI", 1, 0, 0, 0, 0, 0, 0, 1)
    photos = b"".join(struct.pack("<I", k) + head + b"%06x\0" % k + none for k in range(n))
    photos = struct.pack("<Q", n) + photos
    yield case("photos", "images.bin", {"cameras.bin": one, "images.bin": photos})
    n = size // 51
    points = struct.pack("<Q", n) + bytes(51 * n)
    photo = struct.pack("<QI", 1, 1) + head + b"a\0" + none
    tables = {"cameras.bin": one, "images.bin": photo, "points3D.bin": points}
    yield case("points", "points3D.bin", tables)
    n = size // 24
    seen = photo[:-8] + struct.pack("<Q", n) + bytes(24 * n)
    tables = {"cameras.bin": one, "images.bin": seen, "points3D.bin": struct.pack("<Q", 0)}
    yield case("keypoints", "images.bin", tables)
    rig = struct.pack("<QIIiI", 1, 1, 1 + size // 9, 0, 0)
    rig += b"".join(struct.pack("<iIB", 0, k + 1, 0) for k in range(size // 9))
    tables = {"cameras.bin": one, "images.bin": photo, "rigs.bin": rig, "frames.bin": none}
    yield case("sensors", "rigs.bin", tables)

    text = {"cameras.txt": b"1 SIMPLE_PINHOLE 9 9 9 4 4\n", "images.txt": b""}
    many = b"".join(b"%d SIMPLE_PINHOLE 9 9 9 4 4\n" % k for k in range(size // 32))
    yield case("text cameras", "cameras.txt", {**text, "cameras.txt": many})
    photos = "".join(f"{k} {_POSE} {k}\n\n" for k in range(size // 32)).encode()
    yield case("text photos", "images.txt", {**text, "images.txt": photos})
    seen = f"1 {_POSE} a\n".encode() + b"11 11 10 " * (size // 9) + b"\n"
    points = b"1 0 0 0 0 0 0 0\n"
    tables = {**text, "images.txt": seen, "points3D.txt": points}
    yield case("text keypoints", "images.txt", tables)
    photo = f"1 {_POSE} a\n\n".encode()
    points = b"".join(b"%d 0 0 0 0 0 0 0\n" % k for k in range(size // 20))
    tables = {**text, "images.txt": photo, "points3D.txt": points}
    yield case("text points", "points3D.txt", tables)
    yield case("text empty lines", "images.txt", {**text, "images.txt": b"\n" * size})


def _dense_texts(folder: Path, size: int) -> Iterator[Case]:
    names = "\n".join(f"{k:06d}" for k in range(size // 7))
    length = _written(folder / "test.txt", names)
    yield "list", length, partial(split_names, ["a", "b"], test_list=folder / "test.txt")
    yield (
        "matrix",
        _written(folder / "t.txt", "1 " * size),
        partial(read_transform, folder / "t.txt"),
    )
    camera = "9 0 0\n" + "1 0 0\n0 1 0\n0 0 1\n0 0 0\n"
    n = size // len(camera)
    text = f"# Bundle file v0.3\n{n} 0\n" + camera * n
    (folder / "list.txt").write_text("".join(f"{k}\n" for k in range(n)))
    length = _written(folder / "bundle.out", text)
    yield "bundle cameras", length, partial(bundler.read, folder)
    n = size // 14
    text = f"# Bundle file v0.3\n1 {n}\n" + camera + "0 0 0\n0 0 0\n0\n" * n
    (folder / "list.txt").write_text("a.png\n")
    length = _written(folder / "bundle.out", text)
    yield "bundle points", length, partial(bundler.read, folder)
    (folder / "bundle.out").unlink()
    row = ",".join(["0"] * (COLUMNS.count(",") + 1)) + "\n"
    length = _written(folder / "cameras.csv", COLUMNS + "\n" + row * (size // len(row)))
    yield "table", length, partial(realitycapture.read, folder)
    (folder / "cameras.csv").unlink()
    good = export(builders.asymmetric_scene(photos=1))
    for name, unit in (("elements", "<a/>"), ("attributes", '<a b="" c="" d=""/>')):
        text = re.sub("</chunk>", unit * (size // len(unit)) + "</chunk>", good)
        length = _written(folder / "cameras.xml", text)
        yield f"xml {name}", length, partial(metashape.read, folder)
    (folder / "cameras.xml").unlink()


def _dense_json(folder: Path, size: int) -> Iterator[Case]:
    units = {"lists": "[],", "objects": "{},", "numbers": "1e5,", "texts": '"",'}
    units["frames"] = '{"a":0},'
    keys = ",".join(f'"{k:x}":0' for k in range(size // 10))
    texts = {name: unit * (size // len(unit)) + "0" for name, unit in units.items()}
    texts = {name: '{"frames":[' + text + "]}" for name, text in texts.items()}
    for name, text in {**texts, "keys": "{" + keys + "}"}.items():
        length = _written(folder / "transforms.json", text)
        yield f"transforms {name}", length, partial(nerfstudio.read, folder)
        path = folder / "path.json"
        length = _written(path, text.replace("frames", "camera_path"))
        yield f"path {name}", length, partial(read_cameras, path)

"""Damaged scenes: whatever is done to a file, a reader ends well or with a documented error.

    python -m tests.fuzz.readers --minutes 2 --seed 7 [--layout nerfstudio]
    python -m tests.fuzz.readers --layout colmap-glb --file mesh.glb

Each round damages one file of a small scene of one layout (bytes changed, removed, repeated, or cut
off), opens the scene and decodes its photos. Exit code 1 if anything but an XscaleError came out.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests import builders
from tests.scene.test_bundler import bundle
from tests.scene.test_colmap_rigs import frames_bin, rigs_bin
from tests.scene.test_metashape import export
from tests.scene.test_nerfstudio import transforms
from tests.scene.test_openmvs import scene_mvs
from tests.scene.test_realitycapture import table
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


def one_round(template: Path, folder: Path, rng: random.Random, pattern: str = "*") -> str:
    """Damage one file of a copy and read everything; return what happened."""
    shutil.copytree(template, folder)
    chosen = rng.choice(sorted(path for path in folder.rglob(pattern) if path.is_file()))
    chosen.write_bytes(damage(chosen.read_bytes(), rng))
    return f"{chosen.relative_to(folder).as_posix()}: {outcome_of(lambda: read_scene(folder))}"


def read_scene(folder: Path) -> None:
    """Open a scene and decode its photos."""
    for photo in Scene.open(folder).photos:
        photo.load(2)


def outcome_of(read: Callable[[], object]) -> str:
    """Read something damaged; return what happened, with "FAULT" where that may not happen."""
    start = time.monotonic()
    try:
        read()
        outcome = "read"
    except XscaleError as error:
        outcome = f"refused ({type(error).__name__})"
        if "\n" in str(error):
            outcome = f"FAULT: an error of several lines: {error!r}"
    except Exception:
        outcome = f"FAULT: {traceback.format_exc()}"
    if time.monotonic() - start > SECONDS_A_ROUND:
        outcome = f"FAULT: took {time.monotonic() - start:.0f} s"
    return outcome


def templates(root: Path) -> dict[str, Path]:
    """Write one scene in every layout."""
    built = builders.asymmetric_scene()
    made = {
        "colmap": builders.write_colmap(built, root / "colmap"),
        "colmap-text": builders.write_colmap(built, root / "colmap-text", binary=False),
        "colmap-rigs": builders.write_colmap(built, root / "colmap-rigs"),
        "mvsnet": builders.write_mvsnet(built, root / "mvsnet"),
    }
    model = made["colmap-rigs"] / "sparse" / "0"
    first = next(iter(built.cameras.values()))
    (model / "rigs.bin").write_bytes(rigs_bin())
    # A frame of one photo: the others have their own poses.
    (model / "frames.bin").write_bytes(frames_bin(first, count=1)[:-16])
    lists = "".join(f"{name}\n" for name in built.cameras)
    files = {
        "nerfstudio": {"transforms.json": json.dumps(transforms(built))},
        "metashape": {"cameras.xml": export(built)},
        "openmvs": {"scene.mvs": scene_mvs(built)},
        "bundler": {"bundle.out": bundle(built, "95.0 0 0"), "list.txt": lists},
        "realitycapture": {"cameras.csv": table(built)},
    }
    for layout, contents in files.items():
        made[layout] = Path(shutil.copytree(made["colmap"], root / layout))
        shutil.rmtree(made[layout] / "sparse")
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else content.encode()
            (made[layout] / name).write_bytes(data)
    for kind, data in meshes(built).items():
        layout = f"colmap-{kind}"
        made[layout] = Path(shutil.copytree(made["colmap"], root / layout))
        (made[layout] / "mesh.ply").unlink()
        (made[layout] / f"mesh.{kind.partition('-')[0]}").write_bytes(data)
    return made


def meshes(built: builders.Built) -> dict[str, bytes]:
    """Return the scene's mesh in every format: its extension, and what kind of it."""
    vertices, faces = built.vertices.tolist(), built.faces.tolist()
    points = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in vertices)
    triangles = "".join(f"3 {a} {b} {c}\n" for a, b, c in faces)
    sizes = f"{len(vertices)} {len(faces)}"
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\nproperty double x\n"
        f"property double y\nproperty double z\nelement face {len(faces)}\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    obj = "".join(f"v {line}\n" for line in points.splitlines())
    obj += "".join(f"f {a + 1}//1 {b + 1}//1 {c + 1}//1\n" for a, b, c in faces)
    corners = built.vertices[built.faces].astype("<f4")
    rows = np.zeros(len(faces), [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    rows["v"] = corners
    facets = "".join(
        "facet normal 0 0 1\nouter loop\n"
        + "".join(f"vertex {x} {y} {z}\n" for x, y, z in face.tolist())
        + "endloop\nendfacet\n"
        for face in corners
    )
    return {
        "ply-ascii": (head + points + triangles).encode(),
        "obj": obj.encode(),
        "off": f"OFF\n{sizes} 0\n{points}{triangles}".encode(),
        "stl": bytes(80) + len(faces).to_bytes(4, "little") + rows.tobytes(),
        "stl-ascii": f"solid a\n{facets}endsolid a\n".encode(),
        **_gltf(built),
    }


def _gltf(built: builders.Built) -> dict[str, bytes]:
    """Return the mesh as GLB and as glTF with its buffer inside."""
    body = built.vertices.astype("<f4").tobytes() + built.faces.astype("<u4").tobytes()
    edge = 12 * len(built.vertices)
    content = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "nodes": [{"children": [1], "scale": [1, 1, 1]}, {"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(built.vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": built.faces.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": edge},
            {"buffer": 0, "byteOffset": edge, "byteLength": len(body) - edge},
        ],
        "buffers": [{"byteLength": len(body)}],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = len(text).to_bytes(4, "little") + b"JSON" + text
    chunks += len(body).to_bytes(4, "little") + b"BIN\0" + body
    uri = "data:application/octet-stream;base64," + base64.b64encode(body).decode()
    content["buffers"] = [{"byteLength": len(body), "uri": uri}]
    glb = b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks
    return {"glb": glb, "gltf": json.dumps(content).encode()}


def main() -> int:
    """Run rounds until the time is over."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--layout", default=None, help="of which to damage files; default all")
    options.add_argument("--file", default="*", help="pattern of the files to damage; default all")
    given = options.parse_args()
    counts = {"read": 0, "refused": 0, "FAULT": 0}
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as temporary:
        made = templates(Path(temporary))
        for layout, template in made.items():
            assert Scene.open(template).layout == layout.partition("-")[0]
        names = [given.layout] if given.layout else sorted(made)
        seed = given.seed
        while time.monotonic() < end:
            folder = Path(temporary) / "scene"
            rng = random.Random(seed)
            layout = rng.choice(names)
            line = f"{layout}/{one_round(made[layout], folder, rng, given.file)}"
            shutil.rmtree(folder)
            counts[next(kind for kind in counts if f": {kind}" in line)] += 1
            if "FAULT" in line:
                print(f"seed {seed}, {line}")
            seed += 1
    print(f"{sum(counts.values())} rounds: {counts}")
    return 1 if counts["FAULT"] else 0


if __name__ == "__main__":
    sys.exit(main())

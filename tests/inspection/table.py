"""Scenes made wrong in known ways, and right ones: the verdict, and the effect of the advice.

Run as ``python -m tests.inspection.table [plate|statue] [WORD ...]`` for the table of one of the
two scenes, or of its cases whose names hold a word; ``--markdown`` prints it for the documents.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import builders
from tests.advice import advised
from tests.inspection import faults
from xscale.errors import XscaleError
from xscale.geometry.camera import Camera
from xscale.inspection.examine import examine
from xscale.io.mesh.ply import encode_ply
from xscale.io.photo.images import read_rgb
from xscale.scene.scene import Scene


class Case(NamedTuple):
    """One scene."""

    name: str
    right: bool
    make: Callable[[Path], Path]
    mends: bool = True
    """Whether an option can set it right."""


class Row(NamedTuple):
    """Verdict of inspect."""

    name: str
    right: bool
    said: str
    """yes, partly, no, unknown, or refused."""
    line: str
    mended: bool | None
    """Whether the advice, followed, gives photos that agree; None without advice to follow."""


def judged(root: Path, **options: object) -> tuple[str, str]:
    """Return what inspect says of a scene: the verdict and the whole message."""
    try:
        found = examine(Scene.open(root, **options), measure=False)
    except XscaleError as error:
        return "refused", str(error)
    if not found.facts["plan"]["possible"]:
        return "refused", found.facts["plan"]["because"]
    whole = [f.line for f in found.findings if f.photo is None]
    return found.facts["verdict"]["fits"], (whole or [found.facts["verdict"]["line"]])[0]


def row_of(case: Case, folder: Path) -> Row:
    """Make a scene, look at it, follow the advice and look again."""
    root = case.make(folder / case.name.replace(" ", "-").replace("/", "-"))
    said, line = judged(root)
    mended = None
    options = {} if case.right else advised(line, root)
    if order := re.search(r"rename the photos: (.+)$", line):
        root = _renamed(root, order[1])
    if options or order:
        mended = judged(root, **options)[0] == "yes"
    return Row(case.name, case.right, said, line, mended)


def _renamed(root: Path, words: str) -> Path:
    """Give photos other names, as the advice says: "view_0.png to view_4.png, ..."."""
    pairs = [pair.split(" to ") for pair in words.split(", ")]
    photos = {old: (root / "images" / old).read_bytes() for old, _ in pairs}
    for old, new in pairs:
        (root / "images" / new).write_bytes(photos[old])
    return root


def similarity(
    degrees: tuple[float, float, float] = (0, 0, 0),
    shift: tuple[float, float, float] = (0, 0, 0),
    scale: float = 1.0,
) -> np.ndarray:
    """Return turns about x, y, z, then a scale and a shift, as a matrix [4, 4]."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[[i, j], [i, j]] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    found = np.eye(4)
    found[:3] = np.column_stack([scale * turn, shift])
    return found


class Maker:
    """Makes scenes out of one that is photographed once.

    Args:
        folder: Where the photographed scene goes.
        kind: A plate seen from above, or a statue seen from all around.
    """

    def __init__(self, folder: Path, kind: str = "plate") -> None:
        self.built = {"plate": faults.textured, "statue": faults.statue}[kind]()
        self.base = faults.write(self.built, folder / "base")
        self.middle = np.zeros(3) if kind == "plate" else self.built.vertices.mean(axis=0)
        places = np.array([camera.position for camera in self.built.cameras.values()])
        self.away = float(np.median(np.linalg.norm(places - self.middle, axis=1)))

    def about(self, matrix: np.ndarray) -> np.ndarray:
        """Return a similarity about the scene's middle; shifts are shares of the distance."""
        found = np.array(matrix)
        found[:3, 3] = matrix[:3, 3] * self.away + self.middle - matrix[:3, :3] @ self.middle
        return found

    def __call__(
        self,
        *,
        points: bool = False,
        mesh: np.ndarray | None = None,
        faces: np.ndarray | None = None,
        vertices: np.ndarray | None = None,
        cameras: Callable[[str, Camera], Camera] | None = None,
        photo: Callable[[str, np.ndarray], np.ndarray] | None = None,
        names: dict[str, str] | None = None,
        few: int | None = None,
        finish: Callable[[Path, Path], object] | None = None,
    ) -> Callable[[Path], Path]:
        """Return what makes a scene: a COLMAP folder with changes."""

        def make(root: Path) -> Path:
            built = replace(self.built, cameras=dict(self.built.cameras))
            if few is not None:
                built.cameras = dict(list(built.cameras.items())[:few])
            if cameras is not None:
                built.cameras = {n: cameras(n, c) for n, c in built.cameras.items()}
            builders.write_model(built, root / "sparse/0")
            if not points:
                (root / "sparse/0/points3D.bin").unlink()
                _strip(root / "sparse/0", built)
            for name in built.cameras:
                rgb = read_rgb(self.base / "images" / (names or {}).get(name, name))[0]
                rgb = rgb if photo is None else photo(name, rgb)
                builders.save_photo(root / "images" / name, rgb)
            v = np.array(built.vertices if vertices is None else vertices, np.float64)
            if mesh is not None:
                v = v @ mesh[:3, :3].T + mesh[:3, 3]
            f = built.faces if faces is None else faces
            (root / "mesh.ply").write_bytes(encode_ply(v, f))
            return root

        return make


def _strip(model: Path, built: builders.Built) -> None:
    """Write the model anew without points: a layout that has none."""
    shutil.rmtree(model)
    builders.write_model(replace(built, points=np.zeros((0, 3)), outward=None), model)


def _grey(gain: float, lift: float = 0.0) -> Callable[[str, np.ndarray], np.ndarray]:
    return lambda name, rgb: np.clip(rgb * gain + lift, 0, 255).astype(np.uint8)


def _noisy(name: str, rgb: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(len(name))
    return np.clip(rgb + rng.normal(0, 8, rgb.shape), 0, 255).astype(np.uint8)


def _exposed(name: str, rgb: np.ndarray) -> np.ndarray:
    return np.clip(rgb * (0.5 + 0.1 * int(name[-5])), 0, 255).astype(np.uint8)


def _zoomed(factor: float) -> Callable[[str, Camera], Camera]:
    def change(name: str, camera: Camera) -> Camera:
        K = np.array(camera.K)
        K[[0, 1], [0, 1]] *= factor
        return replace(camera, K=K)

    return change


def _convention(kind: str) -> Callable[[str, Camera], Camera]:
    """Write poses as a file of another convention has them, where COLMAP's is read."""

    def change(name: str, camera: Camera) -> Camera:
        R, t = camera.R, camera.t
        if kind == "centre":
            return replace(camera, t=camera.position)
        if kind == "inverse":
            return replace(camera, R=R.T, t=camera.position)
        flip = np.diag([1.0, -1.0, -1.0])
        if kind == "opengl":
            return replace(camera, R=flip @ R, t=flip @ t)
        return replace(camera, R=R.T @ flip, t=camera.position)

    return change


def _shell(make: Maker) -> tuple[np.ndarray, np.ndarray]:
    """A box around all cameras."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return corners * 1.65 * make.away + make.middle + (0, 0, 1.0), np.array(faces, np.int32)


def right_cases(make: Maker) -> Iterator[Case]:
    """Yield 30 scenes that are right."""
    mesh = make.built
    for points in (True, False):
        tail = " with points" if points else ""
        yield Case(f"as it is{tail}", True, make(points=points))
        yield Case(f"dim photos{tail}", True, make(points=points, photo=_grey(0.5)))
        yield Case(f"dark photos{tail}", True, make(points=points, photo=_grey(0.25)))
        yield Case(f"pale photos{tail}", True, make(points=points, photo=_grey(0.5, 120)))
        yield Case(f"noisy photos{tail}", True, make(points=points, photo=_noisy))
        yield Case(f"exposures from 0.5 to 1.3{tail}", True, make(points=points, photo=_exposed))
        yield Case(f"five photos{tail}", True, make(points=points, few=5))
        yield Case(f"six photos{tail}", True, make(points=points, few=6))
        half = mesh.faces[: len(mesh.faces) * 3 // 4]
        yield Case(f"a quarter of the mesh missing{tail}", True, make(points=points, faces=half))
        holes = np.delete(mesh.faces, np.s_[::9], axis=0)
        yield Case(f"a mesh with holes{tail}", True, make(points=points, faces=holes))
        rough = mesh.vertices + np.random.default_rng(1).normal(0, 0.003, mesh.vertices.shape)
        yield Case(f"a rough mesh{tail}", True, make(points=points, vertices=rough))
        yield Case(
            f"a mesh wound round{tail}", True, make(points=points, faces=mesh.faces[:, ::-1])
        )
        tiny = make.about(similarity(shift=(0.0008, 0, 0.0004)))
        yield Case(f"a mesh off by a thousandth{tail}", True, make(points=points, mesh=tiny))
        yield Case(f"a lens off by 0.2 %{tail}", True, make(points=points, cameras=_zoomed(1.002)))
        extra = np.concatenate([mesh.faces, mesh.faces[:50]])
        yield Case(f"faces twice{tail}", True, make(points=points, faces=extra))


def wrong_cases(make: Maker) -> Iterator[Case]:
    """Yield 30 scenes made wrong in known ways."""
    moves = {
        "turned by 4 -3 20 degrees": similarity((4, -3, 20)),
        "turned by 20 degrees": similarity((0, 0, 20)),
        "tilted by 8 degrees": similarity((8, 0, 0)),
        "tilted by -6 and 5 degrees": similarity((-6, 5, 0)),
        "moved along by 12 %": similarity(shift=(0.12, 0, 0)),
        "moved across by 8 %": similarity(shift=(0, -0.08, 0)),
        "moved up by 5 %": similarity(shift=(0, 0, 0.05)),
        "moved down by 8 %": similarity(shift=(0, 0, -0.08)),
        "1.1 times the size": similarity(scale=1.1),
        "0.85 times the size": similarity(scale=0.85),
    }
    moves = {name: make.about(matrix) for name, matrix in moves.items()} | {
        "in millimetres": similarity(scale=1000.0),
        "in feet": similarity(scale=1 / 0.3048),
        "in centimetres": similarity(scale=100.0),
        "y up": np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
        "y up in millimetres": 1000.0
        * np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1e-3]]),
    }
    for name, matrix in moves.items():
        yield Case(name, False, make(mesh=matrix))
    for name in ("turned by 4 -3 20 degrees", "moved along by 12 %", "0.85 times the size"):
        yield Case(f"{name} with points", False, make(points=True, mesh=moves[name]))
    yield Case("in feet with points", False, make(points=True, mesh=moves["in feet"]))
    for kind in ("centre", "inverse", "opengl", "inverse opengl"):
        yield Case(f"poses: {kind}", False, make(cameras=_convention(kind)))
    names = list(make.built.cameras)
    order = dict(zip(names, names[4:] + names[:4], strict=True))
    yield Case("photos in another order", False, make(names=order))
    flat = np.array(make.built.vertices) * (-1, 1, 1)
    flat[:, 0] += 2 * make.middle[0]
    yield Case("a mirrored mesh", False, make(vertices=flat))
    yield Case(
        "four photos, 1.1 times the size", False, make(few=4, mesh=moves["1.1 times the size"])
    )
    yield Case("black photos", False, make(photo=_grey(0.01)), mends=False)
    v, f = _shell(make)
    yield Case("a shell around all", False, make(vertices=v, faces=f), mends=False)
    yield Case("a lens off by 15 %", False, make(cameras=_zoomed(1.15)), mends=False)
    yield Case("the other half of a model", False, make(faces=_other_half(make)), mends=False)


def _other_half(make: Maker) -> np.ndarray:
    """Faces beyond what most photos look at."""
    built = make.built
    middle = built.vertices[built.faces].mean(axis=1) - make.middle
    return built.faces[middle[:, 0] > 0.56 * np.abs(middle[:, 0]).max()]


class Summary(NamedTuple):
    """Totals of the table."""

    called_wrong: list[str]
    """Right scenes that inspect calls wrong."""
    praised: list[str]
    """Wrong scenes of which it says that they fit together."""
    set_right: list[str]
    """Wrong scenes that the advice, followed, makes fit together."""


def summed(rows: list[Row]) -> Summary:
    """Sum up the rows."""
    return Summary(
        [row.name for row in rows if row.right and row.said in ("no", "refused")],
        [row.name for row in rows if not row.right and row.said == "yes"],
        [row.name for row in rows if not row.right and row.mended and row.said != "yes"],
    )


def main() -> None:
    """Print the table."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    kind = words.pop(0) if words and words[0] in ("plate", "statue") else "plate"
    markdown = "--markdown" in sys.argv
    with tempfile.TemporaryDirectory(prefix="table-") as folder:
        make = Maker(Path(folder), kind)
        rows = []
        for case in [*right_cases(make), *wrong_cases(make)]:
            if words and not any(word in case.name for word in words):
                continue
            begun = time.process_time()
            rows.append(row_of(case, Path(folder)))
            seconds = round(time.process_time() - begun, 1)
            print(_markdown(rows[-1]) if markdown  # noqa: T201
                  else json.dumps([*rows[-1], seconds]), flush=True)  # fmt: skip
        found = summed(rows)
        print(  # noqa: T201
            f"right called wrong: {found.called_wrong}; wrong called right: {found.praised}; "
            f"set right: {len(found.set_right)} of {sum(not row.right for row in rows)}"
        )


def _markdown(row: Row) -> str:
    """Return the row for the documents: the scene, the verdict, its code, and what advice does."""
    code = re.match(r"(W-[A-Z-]+)", row.line)
    after = {None: "", True: "fits", False: "does not fit"}[row.mended]
    return f"| {row.name} | {row.said} | {code[1] if code else ''} | {after} |"


if __name__ == "__main__":
    main()

"""Meshes that other programs open and save: what comes back, and what inspect says of it.

Run as ``python -m tests.export.round_trips`` for the table, with ``local`` or ``UTM`` for the part
near the origin or far from it. Programs that are not installed are passed over: trimesh, open3d,
pymeshlab (MeshLab) and bpy (Blender).
"""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import builders
from tests.advice import advised
from tests.inspection import faults
from xscale.errors import XscaleError
from xscale.export.mesh_files import write_glb, write_obj
from xscale.export.unwrap import Page
from xscale.inspection.examine import examine
from xscale.io.mesh.ply import encode_ply
from xscale.scene.scene import Scene

PLACES = {"local": np.zeros(3), "UTM": np.array([500_000.123, 5_400_000.456, 312.5])}
KINDS = ("ply", "obj", "glb")

_COPIES = {
    "trimesh": """
import sys, trimesh
trimesh.load(sys.argv[1], process=False).export(sys.argv[2])
""",
    "open3d": """
import sys, open3d
mesh = open3d.io.read_triangle_mesh(sys.argv[1], enable_post_processing=True)
assert len(mesh.triangles), "nothing read"
assert open3d.io.write_triangle_mesh(sys.argv[2], mesh), "not written"
""",
    "pymeshlab": """
import sys, pymeshlab
meshes = pymeshlab.MeshSet()
meshes.load_new_mesh(sys.argv[1])
meshes.save_current_mesh(sys.argv[2])
""",
    "bpy": """
import sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
read = {"ply": bpy.ops.wm.ply_import, "obj": bpy.ops.wm.obj_import,
        "glb": bpy.ops.import_scene.gltf}
write = {"ply": bpy.ops.wm.ply_export, "obj": bpy.ops.wm.obj_export,
         "glb": bpy.ops.export_scene.gltf}
read[sys.argv[1][-3:]](filepath=sys.argv[1])
write[sys.argv[2][-3:]](filepath=sys.argv[2])
""",
}
PROGRAMS = tuple(_COPIES)


class Trip(NamedTuple):
    """A mesh that a program opened and saved."""

    program: str
    source: str
    target: str
    place: str


class Back(NamedTuple):
    """What came back."""

    said: str
    """Verdict of inspect: yes, partly, no, unknown, refused; or "not saved" by the program."""
    advice: bool
    """Whether it is the verdict after the advice of inspect was followed."""
    off: float | None
    """Largest distance of a vertex from its place, in metres; of a mesh that fits."""
    line: str
    """What inspect or the program said."""


def installed(program: str) -> bool:
    """Tell whether a program can be used here."""
    return importlib.util.find_spec(program) is not None


def trips(programs: Sequence[str] = PROGRAMS) -> Iterator[Trip]:
    """Yield every program with every kind of file in and out, near the origin and in UTM."""
    for place, program in itertools.product(PLACES, programs):
        for source, target in itertools.product(KINDS, KINDS):
            yield Trip(program, source, target, place)


class Traveller:
    """A photographed scene whose mesh goes through other programs.

    Args:
        folder: Where the scene goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built = faults.textured()
        faults.write(self.built, folder / "base")

    def back(self, trip: Trip) -> Back:
        """Export the mesh, let the program open and save it, and look at the scene with it."""
        root = self.folder / "-".join(trip)
        shutil.copytree(self.folder / "base/images", root / "images")
        place = PLACES[trip.place]
        cameras = {
            name: replace(camera, t=camera.t - camera.R @ place)
            for name, camera in self.built.cameras.items()
        }
        points = self.built.points + place
        builders.write_model(replace(self.built, cameras=cameras, points=points), root / "sparse/0")
        saved = root / f"saved/mesh.{trip.target}"
        saved.parent.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _COPIES[trip.program], str(self._given(trip, root)), str(saved)],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode or not saved.is_file():
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            return Back("not saved", False, None, lines[-1] if lines else "")
        said, line, off = self._judged(root, saved, place)
        options = {} if said == "yes" else advised(line, root)
        if options:
            after, line_after, off = self._judged(root, saved, place, **options)
            return Back(after, True, off, line if after == "yes" else line_after)
        return Back(said, False, off, line)

    def _given(self, trip: Trip, root: Path) -> Path:
        """Write the mesh as the program gets it."""
        path = root / f"given/my mesh.{trip.source}"
        path.parent.mkdir()
        place, vertices = PLACES[trip.place], self.built.vertices
        if trip.source == "ply":
            path.write_bytes(encode_ply(vertices + place, self.built.faces))
            return path
        normals = np.tile(np.float32([0, 0, 1]), (len(vertices), 1))
        texel = ((vertices[:, :2] + 1.6) / 3.2 * 31).astype(np.float32)
        page = Page(vertices.astype(np.float32), normals, self.built.faces, texel, 32, 32)
        texture = np.full((32, 32, 3), 127, np.uint8)
        {"obj": write_obj, "glb": write_glb}[trip.source](path, [page], [texture], place)
        return path

    def _judged(
        self, root: Path, mesh: Path, place: np.ndarray, **options: object
    ) -> tuple[str, str, float | None]:
        try:
            scene = Scene.open(root, mesh=mesh, **options)
            found = examine(scene, measure=False)
        except XscaleError as error:
            return "refused", str(error), None
        verdict = found.facts["verdict"]
        lines = [f.line for f in found.findings if f.photo is None]
        here = scene.mesh.origin + np.asarray(scene.mesh.vertices, np.float64) - place
        off = max(float(np.linalg.norm(here - v, axis=1).min()) for v in self.built.vertices)
        return verdict["fits"], (lines or [verdict["line"]])[0], off


def main() -> None:
    """Print the table."""
    programs = [name for name in PROGRAMS if installed(name)]
    with tempfile.TemporaryDirectory(prefix="round-trips-") as folder:
        traveller = Traveller(Path(folder))
        print("| place | program | from | to | fits | after advice | off (m) |")  # noqa: T201
        print("| --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201
        for trip in trips(programs):
            if trip.place not in (sys.argv[1:] or PLACES):
                continue
            found = traveller.back(trip)
            off = "" if found.off is None else f"{found.off:.1e}"
            row = (trip.place, trip.program, trip.source, trip.target, found.said)
            print("|", " | ".join((*row, "yes" if found.advice else "", off)), "|",  # noqa: T201
                  "" if found.said == "yes" else found.line, flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

"""Blender add-on: the scene's camera animation as a camera path that `xscale render` reads.

In Blender: Edit > Preferences > Add-ons > Install from Disk, choose this file, enable it; then
File > Export > xscale camera path (.json). Without a window:

    blender SHOT.blend --background --python blender_camera_path.py -- path.json

after which `xscale render RUN --cameras path.json --out FOLDER` renders the shot. Every frame from
the scene's first to its last is written, with the camera that is active in it (markers may change
it), its lens, shift and sensor fit, and the output's size and rate.

Blender turns GLB and OBJ files on import so that their Y points up; the path is turned back into
the file's own axes, which are those of the scene that xscale was trained on. Where the scene came
in without that turn (PLY, or "Y forward, Z up"), give `--axes same`. Where it was moved near
Blender's origin, give what was subtracted, in the scene's axes: `--offset X Y Z`.
"""

# No `from __future__ import annotations`: Blender reads an operator's annotations as they are.
import argparse
import json
import math
import sys
from pathlib import Path

import bpy
from bpy_extras.io_utils import ExportHelper
from mathutils import Matrix, Vector

bl_info = {
    "name": "xscale camera path",
    "blender": (4, 2, 0),
    "category": "Import-Export",
    "location": "File > Export > xscale camera path (.json)",
    "description": "The camera animation for xscale render",
}

_FILE_FROM_BLENDER = {
    "turned": Matrix(((1, 0, 0), (0, 0, 1), (0, -1, 0))),
    "same": Matrix.Identity(3),
}


def camera_path(
    scene: bpy.types.Scene, axes: str = "turned", offset: tuple[float, float, float] = (0, 0, 0)
) -> dict:
    """Return the animation of a scene's camera as nerfstudio's camera-path JSON.

    Args:
        scene: Its frame is changed and set back.
        axes: "turned" where Blender turned the file on import, "same" where not.
        offset: Added to the positions, in the file's axes.

    Raises:
        ValueError: A frame has no camera, or one that is not a perspective one.
    """
    render = scene.render
    width, height = (
        max(1, round(edge * render.resolution_percentage / 100))
        for edge in (render.resolution_x, render.resolution_y)
    )
    shown, entries = scene.frame_current, []
    try:
        for frame in range(scene.frame_start, scene.frame_end + 1, scene.frame_step):
            scene.frame_set(frame)
            entries.append(_entry(scene, width, height, _FILE_FROM_BLENDER[axes], Vector(offset)))
    finally:
        scene.frame_set(shown)
    fps = render.fps / render.fps_base
    return {
        "camera_type": "perspective",
        "render_width": width,
        "render_height": height,
        "fps": fps,
        "seconds": len(entries) / fps,
        "camera_path": entries,
    }


def _entry(
    scene: bpy.types.Scene, width: int, height: int, turn: Matrix, offset: Vector
) -> dict[str, object]:
    camera = scene.camera
    if camera is None or camera.type != "CAMERA":
        raise ValueError(f"frame {scene.frame_current} has no active camera")
    if camera.data.type != "PERSP":
        raise ValueError(
            f"frame {scene.frame_current}: {camera.name} is {camera.data.type}, only perspective "
            "cameras are written (xscale render --projection gives fisheyes and panoramas)"
        )
    graph = bpy.context.evaluated_depsgraph_get()
    placed = camera.evaluated_get(graph)
    # A parent's scale must not stretch the picture; Blender's cameras have OpenGL's axes already.
    rotation = turn @ placed.matrix_world.to_quaternion().to_matrix()
    position = turn @ placed.matrix_world.to_translation()
    matrix = [[*rotation[row], float(position[row]) + float(offset[row])] for row in range(3)] + [
        [0.0, 0.0, 0.0, 1.0]
    ]
    lens = placed.calc_matrix_camera(
        graph,
        x=width,
        y=height,
        scale_x=scene.render.pixel_aspect_x,
        scale_y=scene.render.pixel_aspect_y,
    )
    fx, fy = lens[0][0] * width / 2, lens[1][1] * height / 2
    cx, cy = (1 - lens[0][2]) * width / 2, (1 + lens[1][2]) * height / 2
    entry: dict[str, object] = {
        "camera_to_world": [number for row in matrix for number in row],
        "fov": math.degrees(2 * math.atan(height / 2 / fy)),
        "aspect": width / height,
    }
    centred = abs(cx - width / 2) < 1e-3 and abs(cy - height / 2) < 1e-3
    if not centred or abs(fx / fy - 1) > 1e-5:
        # What the format cannot say by itself; other readers skip it.
        entry["xscale"] = {"model": "PINHOLE", "K": [fx, 0, cx, 0, fy, cy, 0, 0, 1]}
    return entry


def write(path: str, document: dict) -> None:
    """Write the path; errors of the file system are raised."""
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


class EXPORT_SCENE_OT_xscale_path(bpy.types.Operator, ExportHelper):  # noqa: N801
    """Write the camera animation for xscale render."""

    bl_idname = "export_scene.xscale_path"
    bl_label = "Export xscale camera path"
    filename_ext = ".json"
    axes: bpy.props.EnumProperty(
        name="Scene",
        items=(
            ("turned", "GLB or OBJ", "Imported with Blender's usual turn"),
            ("same", "Not turned", "PLY, or imported as it is"),
        ),
    )
    offset: bpy.props.FloatVectorProperty(name="Offset", size=3, subtype="XYZ")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file, or say what is wrong."""
        try:
            write(self.filepath, camera_path(context.scene, self.axes, tuple(self.offset)))
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(EXPORT_SCENE_OT_xscale_path.bl_idname, text="xscale camera path (.json)")


def register() -> None:
    """Add the menu entry."""
    bpy.utils.register_class(EXPORT_SCENE_OT_xscale_path)
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def unregister() -> None:
    """Take it away."""
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
    bpy.utils.unregister_class(EXPORT_SCENE_OT_xscale_path)


def main(words: list[str]) -> None:
    """Write the open scene's path, as the command line says."""
    parser = argparse.ArgumentParser(prog="blender_camera_path.py")
    parser.add_argument("out", help="the camera path to write (.json)")
    parser.add_argument("--axes", choices=sorted(_FILE_FROM_BLENDER), default="turned")
    parser.add_argument("--offset", type=float, nargs=3, default=(0, 0, 0))
    options = parser.parse_args(words)
    write(options.out, camera_path(bpy.context.scene, options.axes, tuple(options.offset)))


if __name__ == "__main__":
    if "--" in sys.argv:
        main(sys.argv[sys.argv.index("--") + 1 :])
    else:
        register()

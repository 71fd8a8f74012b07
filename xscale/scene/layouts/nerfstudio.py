"""``transforms.json`` of nerfstudio and instant-ngp.

Poses are camera to world in OpenGL axes (x right, y up, z backwards). ``applied_transform`` and
``applied_scale`` say what was done to the world before: they are undone, so that cameras and
sparse points lie in the frame of the program that made them, where the mesh is. Intrinsics stand
in each frame or once in the file; a frame's own win. ``scale``, ``offset`` and the like describe
the other program's box, not the cameras.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, InputError, MaskError, SceneError, UnsafePathError
from xscale.geometry.frames import OPENCV_FROM_OPENGL, nearest_rotation
from xscale.geometry.models import BY_NAME, supported_model
from xscale.io.mesh.ply_points import read_ply_points
from xscale.io.photo.images import image_size
from xscale.io.strict_json import matrix, number, read_json, text, whole
from xscale.scene.layouts.applied import applied_world
from xscale.scene.layouts.labels import join_labels, parts_of
from xscale.scene.layouts.nerfstudio_lens import BENDING, focal, lens
from xscale.scene.layouts.paths import is_address, path_below, with_suffix
from xscale.scene.layouts.views import Choice, PhotoView, Reading, beginning, some

LAYOUT = "nerfstudio"
FILE = "transforms.json"
_NO_CHOICE = Choice()
_SIZES = ("w", "h")
_FOCAL = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov")
_CENTRE = ("cx", "cy")
_INTRINSICS = (*_SIZES, *_FOCAL, *_CENTRE, *BENDING)
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
_MODELS = (*_PERSPECTIVE, "OPENCV_FISHEYE", "EQUIRECTANGULAR")
_REFUSED = {
    "rolling_shutter": "a rolling shutter",
    "ftheta_p0": "an f-theta lens",
    "latlong": "a latitude-longitude picture",
    "orthographic": "an orthographic camera",
    "from_na": "axes of its own (from_na)",
    "transform_matrix_start": "a camera that moves during the exposure",
    "fisheye_crop_radius": "a cropped fisheye",
}
_SPLITS = ("train_filenames", "val_filenames", "test_filenames")
_IGNORED = {
    *("frames", "applied_transform", "applied_scale", "ply_file_path", "camera_model"),
    *("aabb_scale", "scale", "offset", "aabb", "render_aabb", "render_aabb_to_local", "up"),
    *("orientation_override", "is_fisheye", "equirectangular", "n_extra_learnable_dims"),
    *("white_transparent", "black_transparent", "integer_depth_scale", "n_frames"),
    *("depth_unit_scale_factor", "fix_premult", "enable_ray_loading", "enable_depth_loading"),
    *("rolling_shutter", "latlong", "orthographic", "from_na", "fisheye_crop_radius"),
    *(f"ftheta_p{k}" for k in range(5)),
    *_INTRINSICS,
    *_SPLITS,
}
_FRAME_KEYS = {
    *("file_path", "transform_matrix", "mask_path", "depth_file_path", "colmap_im_id"),
    *("sharpness", "time", "rotation", "transform_matrix_start", "transform_matrix_end"),
    *("camera_model", "is_fisheye", "depth_path", "semantics_path", "normal_file_path"),
    *("rolling_shutter", "driver_parameters", "blur_score", "frame_id", "timestamp"),
    *_INTRINSICS,
}
_WIDEST_FOCAL = 0.05


def _file(root: Path, choice: Choice) -> Path | None:
    """Return the file to read, recognised by its content."""
    path = choice.cameras or root / FILE
    if not path.is_file():
        return None
    if choice.cameras is None:
        return path
    head = beginning(path).lstrip(b"\xef\xbb\xbf \t\r\n")
    return path if head.startswith(b"{") else None


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} with frames found"


def what_is_missing(root: Path) -> str | None:
    """Say what keeps a folder with files for each part of a split from being such a scene."""
    parts = sorted(path.name for path in root.glob("transforms_*.json"))
    return f"has {some(parts)} and no {FILE}" if parts else None


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read cameras, masks and sparse points.

    Raises:
        CameraError: A pose or calibration is impossible, or of a kind that is not supported; the
            JSON pointer names it.
        SceneError: The file is not JSON or has no frames, or a photo's name fits two files.
        UnsafePathError: A path leads out of the scene folder.
    """
    path = _file(root, choice)
    if path is None:
        raise SceneError(f"there is no {FILE}", where=root)
    return _Reader(path, choice).read()


class _Reader:
    """One file while it is read."""

    def __init__(self, path: Path, choice: Choice) -> None:
        self.path = path
        self.base = path.parent
        self.content = read_json(path)
        self.images, self.missing_size = choice.images, choice.missing_size
        self.warnings: list[str] = []
        self.overruled: Counter[str] = Counter()
        self.world = applied_world(self.content, path)

    def at(self, pointer: str) -> str:
        """Name a place in the file."""
        return f"{self.path}: {pointer}"

    def read(self) -> Reading:
        frames = self.content.get("frames")
        if not isinstance(frames, list) or not frames:
            raise SceneError("has no frames", where=self.path, advice="export the cameras again")
        for index, frame in enumerate(frames):
            if not isinstance(frame, dict):
                raise CameraError("is not an object", where=self.at(f"/frames/{index}"))
        folder, names = self._names(frames)
        views = [
            self._view(i, f, folder, n) for i, (f, n) in enumerate(zip(frames, names, strict=True))
        ]
        self._remark(frames)
        undone = {
            name: self.content[name]
            for name in ("applied_transform", "applied_scale")
            if name in self.content
        }
        kept = {
            name: self.content[name]
            for name in ("aabb_scale", "scale", "offset")
            if name in self.content
        }
        return Reading(
            LAYOUT,
            f"{self.path.name} with {len(frames)} frames found",
            folder,
            views,
            self._points(),
            self.warnings,
            provenance={
                **({"undone": undone} if undone else {}),
                **({"not_applied": kept} if kept else {}),
            },
            convention="camera-to-world-opengl",
            frames=self._frames(),
            advice=_ADVICE if undone else None,
        )

    def _names(self, frames: list[dict]) -> tuple[Path, list[str]]:
        """Return the photo folder and each photo's name in it.

        The photo folder is the first folder of all paths where they share one, as ``images/``.
        """
        paths, listed, outside = [], [], False
        for index, frame in enumerate(frames):
            where = self.at(f"/frames/{index}/file_path")
            listed.append(text(frame.get("file_path"), where))
            try:
                paths.append(path_below(listed[-1], self.base, where))
            except UnsafePathError:
                # Only the end of another computer's path can be found, in the folder named.
                if self.images is None or is_address(listed[-1]):
                    raise
                outside = True
        if outside:
            joined = join_labels(listed, self.images, self.path)
            self.warnings += joined.warnings
            return self.images, joined.names
        first = paths[0].split("/")[0]
        shared = all(path.startswith(f"{first}/") for path in paths)
        folder = self.images or (self.base / first if shared else self.base)
        names = [path[len(first) + 1 :] if shared else path for path in paths]
        return folder, [
            with_suffix(name, folder, self.at(f"/frames/{i}/file_path"))
            for i, name in enumerate(names)
        ]

    def _view(self, index: int, frame: dict, folder: Path, name: str) -> PhotoView:
        pointer = f"/frames/{index}"
        for owner in (self.content, frame):
            for key, what in _REFUSED.items():
                if owner.get(key) and np.any(np.asarray(owner[key], dtype=object) != 0):
                    raise CameraError(
                        f"{name} has {what}, which is not supported",
                        where=self.at(f"{pointer if owner is frame else ''}/{key}"),
                        advice="undistort the photos, for example through COLMAP",
                    )
        where = f"{self.at(pointer)} ({name})"
        model, K, distortion, size = self._intrinsics(frame, pointer, folder / name, where)
        R, t = self._pose(frame, f"{pointer}/transform_matrix")
        mask = None
        if frame.get("mask_path") is not None:
            place = self.at(f"{pointer}/mask_path")
            mask = self._mask(text(frame["mask_path"], place), place)
            if not mask.is_file():
                raise MaskError(
                    f"the mask {frame['mask_path']} is missing",
                    where=place,
                    advice="add it, or take mask_path out of the frame",
                )
        return PhotoView(name, where, model, K, R, t, distortion, size, mask)

    def _frames(self) -> list[tuple[str, np.ndarray]]:
        """Return the frames that the file names: its own, and instant-ngp's box."""
        whole = np.eye(4) if self.world is None else self.world.matrix()
        found = [] if self.world is None else [("the frame after applied_transform", whole)]
        scale, offset = self.content.get("scale"), self.content.get("offset")
        if isinstance(scale, int | float) and scale > 0:
            shift = np.zeros(3) if offset is None else np.broadcast_to(np.asarray(offset, float), 3)
            box = np.eye(4)
            box[:3] = np.column_stack([np.eye(3) / scale, -shift / scale])
            found.append(("the box that scale and offset describe", whole @ box))
        return found

    def _mask(self, given: str, place: str) -> Path:
        """Return a frame's mask; of a path of another computer, its end below ``masks/``."""
        try:
            return self.base / path_below(given, self.base, place)
        except UnsafePathError as error:
            parts = parts_of(given)
            for first in range(len(parts)):
                found = self.base.joinpath("masks", *parts[first:])
                if not is_address(given) and found.is_file():
                    return found
            raise UnsafePathError(
                error.what,
                where=place,
                advice="put the masks into masks/ beside the file, under the names that it has",
            ) from error

    def _pose(self, frame: dict, pointer: str) -> tuple[np.ndarray, np.ndarray]:
        """Return R and t of an OpenCV camera in the original world."""
        where = self.at(pointer)
        pose = matrix(frame.get("transform_matrix"), where)
        world_from_camera = nearest_rotation(pose[:3, :3], where)
        position = pose[:3, 3]
        if self.world is not None:
            world_from_camera, position = self.world.undo(world_from_camera, position)
        R = OPENCV_FROM_OPENGL @ world_from_camera.T
        return R, -R @ position

    def _value(self, frame: dict, key: str, pointer: str) -> float | None:
        """Return a frame's number, else the file's, else None."""
        if frame.get(key) is not None:
            own = number(frame[key], self.at(f"{pointer}/{key}"))
            common = self.content.get(key)
            if common is not None and common != frame[key]:
                self.overruled[key] += 1
            return own
        if self.content.get(key) is not None:
            return number(self.content[key], self.at(f"/{key}"))
        return None

    def _size(self, frame: dict, pointer: str) -> tuple[int, int] | None:
        """Return width and height where the file says both."""
        found = []
        for key in _SIZES:
            if self._value(frame, key, pointer) is not None:
                owner, place = (
                    (frame, pointer) if frame.get(key) is not None else (self.content, "")
                )
                found.append(whole(owner[key], self.at(f"{place}/{key}")))
        return (found[0], found[1]) if len(found) == len(_SIZES) else None

    def _intrinsics(
        self, frame: dict, pointer: str, photo: Path, where: str
    ) -> tuple[str, np.ndarray, np.ndarray, tuple[int, int]]:
        size = self._size(frame, pointer)
        if size is None:
            size = image_size(photo) if photo.exists() else self.missing_size
        values = {key: self._value(frame, key, pointer) for key in (*_FOCAL, *_CENTRE, *BENDING)}
        model = self._model(frame, pointer)
        if model == "EQUIRECTANGULAR":
            known = supported_model(BY_NAME[model], where)
            return model, *known.intrinsics(np.array(size, np.float64)), size
        fx = focal(values, "x", size[0], where)
        fy = focal(values, "y", size[1], where)
        if fx is None and fy is None:
            raise CameraError(
                "has no focal length (fl_x or camera_angle_x), in the frame or in the file",
                where=where,
                advice="export the cameras again",
            )
        fx, fy = fx if fx is not None else fy, fy if fy is not None else fx
        cx, cy = (size[k] / 2 if values[c] is None else values[c] for k, c in enumerate(_CENTRE))
        bending = {key: values[key] or 0.0 for key in BENDING}
        name, distortion = lens(model, bending, where)
        supported_model(BY_NAME[name], where)
        if model in _PERSPECTIVE and 0 < fx < _WIDEST_FOCAL * size[0]:
            raise CameraError(
                f"fl_x is {fx:g} for a picture {size[0]} pixels wide: it is not in pixels",
                where=where,
                advice="write focal lengths in pixels",
            )
        return name, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), distortion, size

    def _model(self, frame: dict, pointer: str) -> str:
        """Return the name of the camera model; default: OPENCV."""
        for owner, place in ((frame, pointer), (self.content, "")):
            if owner.get("camera_model") is not None:
                where = self.at(f"{place}/camera_model")
                name = text(owner["camera_model"], where)
                if name not in _MODELS:
                    raise CameraError(
                        f"camera model {name} is not supported (supported: {', '.join(_MODELS)})",
                        where=where,
                        advice="undistort the photos, for example through COLMAP",
                    )
                return name
            if owner.get("is_fisheye"):
                return "OPENCV_FISHEYE"
            if owner.get("equirectangular"):
                return "EQUIRECTANGULAR"
        return "OPENCV"

    def _points(self) -> np.ndarray | None:
        """Read the sparse points; they only serve checks, so unreadable ones are left out."""
        given = self.content.get("ply_file_path")
        if given is None:
            return None
        where = self.at("/ply_file_path")
        path = self.base / path_below(text(given, where), self.base, where)
        try:
            points = read_ply_points(path)
        except InputError as error:
            self.warnings.append(f"W-POINTS: sparse points are not used: {error}")
            return None
        good = np.isfinite(points).all(axis=1)
        if not good.all():
            self.warnings.append(
                f"W-POINTS-FINITE: {path.name}: {int((~good).sum())} sparse points are NaN or "
                "infinite and left out"
            )
        points = points[good]
        return points if self.world is None else self.world.undo_points(points)

    def _remark(self, frames: list[dict]) -> None:
        """Say what the file holds that has no effect."""
        unknown = sorted(set(self.content) - _IGNORED)
        unknown += sorted({key for frame in frames for key in frame} - _FRAME_KEYS)
        if unknown:
            self.warnings.append(
                f"W-TRANSFORMS-KEYS: {self.path.name} has keys without a meaning here: "
                f"{some(unknown, 8)}"
            )
        if self.overruled:
            self.warnings.append(
                f"W-TRANSFORMS-BOTH: {max(self.overruled.values())} frames have their own "
                f"{', '.join(sorted(self.overruled))}, other than the file's: the frames' are used"
            )
        listed = [name for name in _SPLITS if self.content.get(name)]
        if listed:
            self.warnings.append(
                f"W-TRANSFORMS-SPLIT: {self.path.name} has {', '.join(listed)}; the split is made "
                "by --test-every or --test-list"
            )


_ADVICE = (
    "the file's applied_transform was undone, so the mesh must be in the frame from before "
    "ns-process-data, for example COLMAP's; for a mesh in the file's frame take applied_transform "
    "out of a copy of the file and give it by --cameras"
)

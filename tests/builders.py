"""Small scenes made in code, and writers that put them into folders of every layout.

The asymmetric scene catches convention mistakes: fx and fy differ, the principal point is off
centre, pictures are 7:4, the texture is a mirrored letter F, the box is longer in one axis than in
the others, and one camera hangs upside down.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from xscale.geometry.camera import Camera
from xscale.geometry.models import BY_NAME
from xscale.io.mesh.ply import encode_ply

# Rows from top to bottom, as drawn on the quad seen from the front; the F reads mirrored.
MIRRORED_F = np.array(
    [[c == "#" for c in row] for row in (".......", ".#####.", ".....#.", "..####.", ".....#.",
                                         ".....#.", ".......")]
)  # fmt: skip
BACKGROUND = 40


@dataclass
class Built:
    """A scene in memory: mesh in the world frame, cameras by photo name."""

    vertices: np.ndarray
    faces: np.ndarray
    cameras: dict[str, Camera]
    colour: object
    """Function of world points [N, 3] giving sRGB uint8 [N, 3]."""
    points: np.ndarray
    """Sparse points on the surface, float64 [P, 3]."""
    outward: np.ndarray | None = None
    """Normals there, float64 [P, 3]: photos from behind do not see a point. None: all see it."""

    def moved(self, offset) -> Built:
        """The same scene with every coordinate shifted."""
        offset = np.asarray(offset, np.float64)
        colour = self.colour
        cameras = {n: replace(c, t=c.t - c.R @ offset) for n, c in self.cameras.items()}
        return Built(
            self.vertices + offset,
            self.faces,
            cameras,
            lambda points: colour(points - offset),
            self.points + offset,
            self.outward,
        )

    def photo(self, name: str) -> np.ndarray:
        """Render a photo: uint8 [H, W, 3]."""
        return render(self, self.cameras[name])


def look_at(position, target, down=(0.0, 0.0, -1.0)) -> tuple[np.ndarray, np.ndarray]:
    """R, t of an OpenCV camera at ``position`` whose picture's lower edge points ``down``."""
    position, target = np.asarray(position, float), np.asarray(target, float)
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(np.asarray(down, float), z)
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    return R, -R @ position


def checker_quad(size: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A square of two triangles in the plane z = 0, centred, facing +z."""
    h = size / 2
    vertices = np.array([[-h, -h, 0], [h, -h, 0], [h, h, 0], [-h, h, 0]], np.float64)
    return vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def one_triangle() -> tuple[np.ndarray, np.ndarray]:
    """A single triangle in the plane z = 0."""
    return np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]], np.int32)


def f_colour(points: np.ndarray) -> np.ndarray:
    """Texture of the asymmetric scene: the mirrored F over a gradient that tells x from y."""
    u, v = points[:, 0] / 3.0 + 0.5, 0.5 - points[:, 1] / 2.0
    row = np.clip((v * 7).astype(int), 0, 6)
    column = np.clip((u * 7).astype(int), 0, 6)
    letter = MIRRORED_F[row, column]
    ground = np.stack([60 + 150 * u, 210 - 140 * v, 120 + 60 * np.sin(9 * u)], axis=1)
    ground += 40 * (points[:, 2:3] > 0.05)
    return np.clip(np.where(letter[:, None], (250, 240, 30), ground), 0, 255).astype(np.uint8)


def asymmetric_scene(photos: int = 6, width: int = 112, height: int = 64) -> Built:
    """A 3 x 2 plate with a small roof on it, seen by cameras on one side."""
    plate = np.array([[-1.5, -1, 0], [1.5, -1, 0], [1.5, 1, 0], [-1.5, 1, 0]], np.float64)
    roof = np.array([[0.5, -0.9, 0.1], [1.2, -0.9, 0.1], [0.85, -0.2, 0.4]], np.float64)
    vertices = np.concatenate([plate, roof])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32)
    K = np.array([[95.0, 0, 49.0], [0, 88.0, 36.5], [0, 0, 1]])
    K[0] *= width / 112
    K[1] *= height / 64
    cameras = {}
    for k in range(photos):
        angle = 2 * np.pi * k / photos + 0.3
        position = (1.2 * np.cos(angle) + 0.2, 0.9 * np.sin(angle), 2.6 + 0.3 * (k % 3))
        # Downwards in the picture is -y of the world, but photo 1 hangs upside down.
        down = (0.1, 1.0, 0) if k == 1 else (0.1, -1.0, 0)
        R, t = look_at(position, (0.1 * k - 0.2, 0.05, 0), down)
        cameras[f"view_{k:02d}.png"] = Camera("PINHOLE", width, height, K, R, t)
    rng = np.random.default_rng(7)
    points = np.zeros((120, 3))
    points[:, :2] = rng.uniform((-1.5, -1), (1.5, 1), (120, 2))
    return Built(vertices, faces, cameras, f_colour, points)


def hits(vertices, faces, camera: Camera, pixel) -> tuple[np.ndarray, np.ndarray]:
    """Oracle by ray and triangle (Moeller-Trumbore): distance (inf = miss) and face id (-1)."""
    directions = camera.rays(pixel)
    nearest = np.full(len(pixel), np.inf)
    face_id = np.full(len(pixel), -1)
    for k, (a, b, c) in enumerate(np.asarray(vertices, np.float64)[faces]):
        p = np.cross(directions, c - a)
        det = p @ (b - a)
        det = np.where(np.abs(det) < 1e-14, np.nan, det)
        s = camera.position - a
        u = (p @ s) / det
        q = np.cross(s, b - a)
        v = (directions @ q) / det
        distance = (q @ (c - a)) / det
        good = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0) & (distance < nearest)
        nearest[good], face_id[good] = distance[good], k
    return nearest, face_id


def render(built: Built, camera: Camera, samples: int = 3) -> np.ndarray:
    """Photograph a scene with ``samples`` x ``samples`` rays a pixel: uint8 [H, W, 3]."""
    offset = (np.arange(samples) + 0.5) / samples
    v, u = np.meshgrid(
        (np.arange(camera.height)[:, None] + offset).reshape(-1),
        (np.arange(camera.width)[:, None] + offset).reshape(-1),
        indexing="ij",
    )
    pixel = np.stack([u, v], axis=-1).reshape(-1, 2)
    distance, _ = hits(built.vertices, built.faces, camera, pixel)
    seen = np.isfinite(distance)
    colour = np.full((len(pixel), 3), BACKGROUND, np.float64)
    colour[seen] = built.colour(camera.position + camera.rays(pixel[seen]) * distance[seen, None])
    fine = colour.reshape(camera.height, samples, camera.width, samples, 3)
    return np.rint(fine.mean(axis=(1, 3))).astype(np.uint8)


def save_photo(path: Path, rgb: np.ndarray) -> None:
    """Write PNG or JPEG by the name's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, quality=95)


def quaternion(R: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation, by the eigenvector of the largest eigenvalue."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = R
    N = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    return np.linalg.eigh(N)[1][:, -1]


def params_of(camera: Camera) -> list[float]:
    """COLMAP's parameter list of a camera."""
    known = {"w": camera.width, "h": camera.height}
    known |= {"f": camera.fx, "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    names = BY_NAME[camera.model].parameters
    bending = [float(v) for v in camera.distortion]
    return [float(known[name] if name in known else bending.pop(0)) for name in names]


def cameras_bin(cameras: list[Camera]) -> bytes:
    """``cameras.bin`` with ids 1, 2, ..."""
    out = struct.pack("<Q", len(cameras))
    for k, camera in enumerate(cameras, start=1):
        params = params_of(camera)
        model = BY_NAME[camera.model].colmap_id
        out += struct.pack("<IiQQ", k, model, camera.width, camera.height)
        out += struct.pack(f"<{len(params)}d", *params)
    return out


def observed(built: Built, camera: Camera) -> list[tuple[float, float, int]]:
    """Keypoints of a photo: (u, v, point id), ids from 1."""
    pixel, depth = camera.project(built.points)
    inside = (depth > 0) & ((pixel >= 0) & (pixel < (camera.width, camera.height))).all(axis=1)
    if built.outward is not None:
        inside &= ((camera.position - built.points) * built.outward).sum(axis=1) > 0
    return [(*pixel[i], int(i) + 1) for i in np.flatnonzero(inside)]


def images_bin(built: Built) -> bytes:
    """``images.bin``: photo k has camera id k."""
    out = struct.pack("<Q", len(built.cameras))
    for k, (name, camera) in enumerate(built.cameras.items(), start=1):
        out += struct.pack("<I7dI", k, *quaternion(camera.R), *camera.t, k)
        keypoints = observed(built, camera)
        out += name.encode() + b"\0" + struct.pack("<Q", len(keypoints))
        for u, v, point in keypoints:
            out += struct.pack("<ddq", u, v, point)
    return out


def points_bin(points: np.ndarray) -> bytes:
    """``points3D.bin`` with ids from 1 and tracks of two entries."""
    out = struct.pack("<Q", len(points))
    for k, point in enumerate(points, start=1):
        out += struct.pack("<Q3d3Bd", k, *point, 9, 8, 7, 0.5) + struct.pack("<Q4i", 2, 1, 0, 2, 0)
    return out


def write_model(built: Built, folder: Path, *, binary: bool = True) -> None:
    """Write cameras, images and points into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = list(built.cameras.values())
    if binary:
        (folder / "cameras.bin").write_bytes(cameras_bin(cameras))
        (folder / "images.bin").write_bytes(images_bin(built))
        (folder / "points3D.bin").write_bytes(points_bin(built.points))
        return
    lines = ["# Camera list"]
    for k, camera in enumerate(cameras, start=1):
        params = " ".join(repr(float(p)) for p in params_of(camera))
        lines.append(f"{k} {camera.model} {camera.width} {camera.height} {params}")
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:"]
    for k, (name, camera) in enumerate(built.cameras.items(), start=1):
        pose = " ".join(repr(float(v)) for v in (*quaternion(camera.R), *camera.t))
        lines.append(f"{k} {pose} {k} {name}")
        lines.append(" ".join(f"{u!r} {v!r} {p}" for u, v, p in _plain(observed(built, camera))))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = [
        f"{k} {' '.join(repr(float(v)) for v in point)} 9 8 7 0.5 1 0 2 0"
        for k, point in enumerate(built.points, start=1)
    ]
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def _plain(keypoints):
    return [(float(u), float(v), p) for u, v, p in keypoints]


def write_colmap(built: Built, root: Path, *, binary: bool = True, sub: str = "sparse/0") -> Path:
    """Write a whole COLMAP scene and return its folder."""
    write_model(built, root / sub, binary=binary)
    return write_photos_and_mesh(built, root)


def write_photos_and_mesh(built: Built, root: Path) -> Path:
    """Write a scene but for its cameras and return its folder."""
    for name in built.cameras:
        save_photo(root / "images" / name, built.photo(name))
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))
    return root


def with_one_focal_length(built: Built, cx: float, cy: float) -> Built:
    """Give the cameras square pixels of one focal length, as some layouts have no others."""
    K = np.array([[90.0, 0, cx], [0, 90, cy], [0, 0, 1]])
    built.cameras = {
        name: Camera("SIMPLE_PINHOLE", 112, 64, K, c.R, c.t) for name, c in built.cameras.items()
    }
    return built


def mutations(rng: np.random.Generator, data: bytes, values: list[int], count: int, begin: int = 0):
    """Yield copies of a file with one or two bytes changed, to one of ``values`` or any other."""
    for _ in range(count):
        bad = bytearray(data)
        for place in rng.integers(begin, len(bad), rng.integers(1, 3)):
            bad[place] = rng.choice([*values, rng.integers(256)])
        yield bytes(bad)


def half_masked() -> np.ndarray:
    """Return the mask of a photo whose upper half is left out, uint8 [64, 112]."""
    values = np.full((64, 112), 255, np.uint8)
    values[:32] = 0
    return values


def cam_txt(camera: Camera) -> str:
    """One camera file of the authors' layout."""
    rows = [" ".join(repr(float(v)) for v in row) for row in camera.camera_from_world]
    K = [" ".join(repr(float(v)) for v in row) for row in camera.K]
    return "\n".join(["extrinsic", *rows, "", "intrinsic", *K, "", "0.5 0.01 192 9.5", ""])


def write_mvsnet(built: Built, root: Path, *, k: int = 1) -> Path:
    """Write the authors' layout at photo size 1 / k (k must divide the size)."""
    for name, camera in built.cameras.items():
        small = camera.downscaled(k)
        save_photo(root / f"images_{k}" / name, render(built, small))
        cams = root / f"cams_{k}"
        cams.mkdir(parents=True, exist_ok=True)
        (cams / f"{Path(name).stem}_cam.txt").write_text(cam_txt(small))
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))
    return root

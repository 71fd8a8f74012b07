"""Cameras of a glTF or GLB file, as Blender and other programs export them.

A camera looks along the negative z of its node, y is up. An animated one gives a camera for each
time at which its node, or one above it, has a key: Blender writes a key a frame. The frame is the
file's own: a scene that was imported and exported again by Blender comes back to where it was.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, InputError
from xscale.geometry.camera import Camera
from xscale.geometry.frames import OPENCV_FROM_OPENGL, nearest_rotation
from xscale.io.mesh.gltf import node_matrix
from xscale.io.mesh.gltf_buffers import Buffers, item, natural, read_document
from xscale.io.strict_json import number
from xscale.render.foreign_cameras import Cameras, Known

_PATHS = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3"}
_LONG_SIDE = 1920
_MOST_KEYS = 1_000_000

_Keys = tuple[np.ndarray, np.ndarray, str]
"""Times [K], values [K, n] and the interpolation."""


def from_gltf(
    path: Path, size: tuple[int, int] | None, known: Known
) -> tuple[Cameras, float, tuple[str, ...]]:
    """Read the cameras of a glTF file.

    Args:
        path: The file.
        size: (width, height) of the pictures; else the photos' height and the camera's own ratio.
        known: What the run knows of its own photos.

    Returns:
        The cameras, the frames a second (24 where nothing moves), and coded remarks.

    Raises:
        MeshError: The file is damaged.
        InputError: It holds no camera.
        CameraError: A camera is not a perspective one, or impossible.
    """
    document, binary, warnings = read_document(path)
    parents = _parents(document, path)
    keys, skipped = _animated(document, Buffers(document, binary, path), path)
    if skipped:
        warnings.append(
            f"W-CAMERAS-FIELDS: {path}: animations of {', '.join(sorted(skipped))} are not followed"
        )
    found: Cameras = []
    rate = 24.0
    nodes = document.get("nodes", [])
    for index, node in enumerate(nodes):
        if not isinstance(node, dict) or "camera" not in node:
            continue
        line = [index]
        while line[-1] in parents:
            line.append(parents[line[-1]])
            if len(line) > len(nodes):
                raise InputError(f"node {index} is its own ancestor", where=path)
        name = str(node.get("name") or f"camera_{index}")
        shape = _shape(item(document, "cameras", node["camera"], path), size, known, path)
        times = _times([keys[k] for k in line if k in keys])
        if len(times) > 1:
            rate = 1 / float(np.median(np.diff(times)))
        for number_, time in enumerate(times if len(times) else [None]):
            pose = np.eye(4)
            for k in reversed(line):
                pose = pose @ _at(nodes[k], keys.get(k, {}), time, f"node {k}", path)
            label = name if time is None else f"{name}_{number_:05d}"
            found.append((label, _posed(shape, pose, f"{path}, {label}"), None))
    if not found:
        raise InputError(
            "holds no cameras", where=path, advice="in Blender, export with Include > Cameras"
        )
    return found, rate, tuple(warnings)


def _parents(document: dict, path: Path) -> dict[int, int]:
    """Return each node's parent."""
    found: dict[int, int] = {}
    for index, node in enumerate(document.get("nodes", [])):
        children = node.get("children", []) if isinstance(node, dict) else []
        for child in children if isinstance(children, list) else []:
            item(document, "nodes", child, path)
            if child in found:
                raise InputError(f"node {child} has two parents", where=path)
            found[child] = index
    return found


def _animated(
    document: dict, buffers: Buffers, path: Path
) -> tuple[dict[int, dict[str, _Keys]], set[str]]:
    """Return the keys by node and property, and properties that are not followed."""
    found: dict[int, dict[str, _Keys]] = {}
    skipped = set()
    animations = document.get("animations", [])
    for index in range(len(animations) if isinstance(animations, list) else 0):
        animation = item(document, "animations", index, path)
        for channel in animation.get("channels", []):
            target = channel.get("target", {})
            what, node = target.get("path"), target.get("node")
            if what not in _PATHS:
                skipped.add(str(what))
                continue
            if node is None:
                continue
            sampler = item(animation, "samplers", channel.get("sampler"), path)
            times = buffers.array(natural(sampler, "input", None, path), "SCALAR")[0][:, 0]
            values = _floats(*buffers.array(natural(sampler, "output", None, path), _PATHS[what]))
            how = sampler.get("interpolation", "LINEAR")
            if how == "CUBICSPLINE":
                values = values.reshape(-1, 3, values.shape[1])[:, 1]
            times = times.astype(np.float64)
            rising = len(times) == len(values) > 0 and (np.diff(times) > 0).all()
            if not rising or not np.isfinite(values).all():
                raise InputError(f"animations[{index}]: times and values do not match", where=path)
            found.setdefault(node, {})[what] = (times, values, how)
    return found, skipped


def _floats(values: np.ndarray, normalized: bool) -> np.ndarray:
    if not normalized:
        return values.astype(np.float64)
    return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)


def _times(animated: list[dict[str, _Keys]]) -> np.ndarray:
    """Return all times that have a key, float64."""
    every = [keys[0] for channels in animated for keys in channels.values()]
    times = np.unique(np.concatenate(every)) if every else np.zeros(0)
    if len(times) > _MOST_KEYS:
        raise InputError(f"has {len(times)} keys, at most {_MOST_KEYS} are read")
    return times


def _at(
    node: dict, keys: dict[str, _Keys], time: float | None, name: str, path: Path
) -> np.ndarray:
    """Return a node's matrix at a time."""
    if time is None or not keys:
        return node_matrix(node, name, path)
    moved = {k: v for k, v in node.items() if k != "matrix"}
    for what, (times, values, how) in keys.items():
        after = int(np.clip(np.searchsorted(times, time), 1, max(len(times) - 1, 1)))
        if len(times) == 1:
            value = values[0]
        else:
            a, b = values[after - 1], values[after]
            share = np.clip((time - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
            share = float(share >= 1) if how == "STEP" else share
            if what == "rotation" and a @ b < 0:
                b = -b
            value = (1 - share) * a + share * b
        if what == "rotation":
            value = value / max(float(np.linalg.norm(value)), 1e-30)
        moved[what] = value.tolist()
    return node_matrix(moved, name, path)


def _shape(entry: dict, size: tuple[int, int] | None, known: Known, path: Path) -> Camera:
    """Return the camera's lens and picture, at no place yet."""
    lens = entry.get("perspective")
    if entry.get("type") != "perspective" or not isinstance(lens, dict):
        raise CameraError(
            f"a camera is {entry.get('type')}, only perspective ones are rendered", where=path
        )
    fov = number(lens.get("yfov"), f"{path}, yfov")
    if not 0 < fov < math.pi:
        raise CameraError(f"yfov is {fov:g}, it must lie between 0 and pi", where=path)
    if size is None:
        ratio = number(lens.get("aspectRatio", 16 / 9), f"{path}, aspectRatio")
        if not 1e-3 < ratio < 1e3:
            raise CameraError(f"aspectRatio is {ratio:g}", where=path)
        like = known.like("")
        longest = _LONG_SIDE if like is None else max(like.width, like.height)
        wide, tall = (longest, longest / ratio) if ratio > 1 else (longest * ratio, longest)
        size = max(1, round(wide)), max(1, round(tall))
    width, height = size
    focal = height / 2 / math.tan(fov / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Camera("PINHOLE", width, height, K, np.eye(3), np.zeros(3))


def _posed(shape: Camera, pose: np.ndarray, where: str) -> Camera:
    """Place a camera; scales of its node and of those above do not matter."""
    axes = pose[:3, :3] / np.maximum(np.linalg.norm(pose[:3, :3], axis=0), 1e-30)
    R = OPENCV_FROM_OPENGL @ nearest_rotation(axes, where).T
    return Camera(shape.model, shape.width, shape.height, shape.K, R, -R @ pose[:3, 3])

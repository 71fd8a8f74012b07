"""Metashape's camera export (*Export Cameras*, Agisoft XML).

Poses are camera to chunk with OpenCV axes; the component's transform (in older files the chunk's)
takes the chunk to the world.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.frames import nearest_rotation
from xscale.io.budget import check_xml
from xscale.scene.layouts.cameras_file import find_cameras, photo_folder
from xscale.scene.layouts.labels import join_labels, parts_of
from xscale.scene.layouts.metashape_lens import Sensor, numbers, read_sensor
from xscale.scene.layouts.views import Choice, PhotoView, Reading, beginning, some

LAYOUT = "metashape"
_NO_CHOICE = Choice()
_MOST_BYTES = 64 << 20
_MOST_DEPTH = 32
_AGAIN = "export the cameras again"


class _Similarity(NamedTuple):
    """World from chunk: ``scale * R x + t``."""

    R: np.ndarray
    t: np.ndarray
    scale: float

    @property
    def matrix(self) -> np.ndarray:
        """float64 [4, 4]."""
        found = np.eye(4)
        found[:3] = np.column_stack([self.scale * self.R, self.t])
        return found


def _looks_right(path: Path) -> bool:
    """Tell by its beginning whether an XML file is a camera export."""
    head = beginning(path)
    return b"<document" in head and b"<chunk" in head


def _file(root: Path, choice: Choice) -> Path | None:
    return find_cameras(root, choice, ("*.xml",), _looks_right, "Metashape exports")


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} is a Metashape camera export"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read aligned cameras; disabled and unaligned ones are counted and named.

    Raises:
        CameraError: The file is cut, or a calibration has no exact counterpart here.
        SceneError: Photos are missing or ambiguous, or no camera is aligned.
    """
    path = _file(root, choice)
    if path is None:
        raise SceneError("there is no Metashape camera export", where=root)
    chunk = _chunk(path)
    sensors = {e.get("id", ""): e for e in chunk.findall("sensors/sensor")}
    worlds = _worlds(chunk, path)
    warnings: list[str] = []
    aligned = _aligned(chunk, path, warnings)
    folder = choice.images or photo_folder(path, root)
    groups = _groups(chunk)
    labels = [_label(camera, groups) for camera in aligned]
    joined = join_labels(labels, folder, path)
    warnings += joined.warnings
    calibrated: dict[str, Sensor] = {}
    views = []
    for camera, label, name in zip(aligned, labels, joined.names, strict=True):
        where = f"{path}: camera {label}"
        sensor_id = camera.get("sensor_id", "")
        if sensor_id not in sensors:
            raise CameraError(f"sensor {sensor_id!r} is missing", where=where, advice=_AGAIN)
        if sensor_id not in calibrated:
            calibrated[sensor_id] = read_sensor(sensors[sensor_id], path)
        sensor = calibrated[sensor_id]
        R, t = _pose(camera, worlds, where)
        views.append(
            PhotoView(name, where, sensor.model, sensor.K, R, t, sensor.distortion, sensor.size)
        )
    reference = _geographic(chunk)
    if reference:
        warnings.append(
            f"W-METASHAPE-CRS: the project is georeferenced ({reference}): the cameras stand in "
            "geocentric coordinates (EPSG:4978), and so must the mesh"
        )
    return Reading(
        LAYOUT,
        detect(root, choice) or "",
        folder,
        views,
        warnings=warnings,
        provenance={"coordinates": reference or "local"},
        convention="camera-to-world",
        frames=[
            ("the chunk's own frame, before its transform", world.matrix)
            for world in worlds.values()
            if world.scale != 1 or world.t.any() or not np.array_equal(world.R, np.eye(3))
        ],
        advice=_ADVICE if reference else None,
    )


_ADVICE = (
    "the cameras of a georeferenced Metashape project stand in geocentric coordinates: export the "
    "model with coordinate system WGS 84 geocentric (EPSG:4978) and no shift, or export cameras "
    "and model from a copy of the chunk whose reference is set to Local Coordinates"
)


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, refuses what can grow beyond the file, leaves covariances out."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.left_out = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse entities: they are how a small file fills the memory."""
        raise ValueError("has a DOCTYPE")

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element | None:
        """Open an element."""
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise ValueError(f"is nested deeper than {_MOST_DEPTH} levels")
        if self.left_out or "covariance" in tag:
            self.left_out += 1
            return None
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element | None:
        """Close an element."""
        self.depth -= 1
        if self.left_out:
            self.left_out -= 1
            return None
        return super().end(tag)

    def data(self, data: str) -> None:
        """Take text."""
        if not self.left_out:
            super().data(data)


def _chunk(path: Path) -> ElementTree.Element:
    """Parse the file and return its one chunk."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CameraError(f"is larger than {_MOST_BYTES >> 20} MiB", where=path, advice=_AGAIN)
        data = path.read_bytes()
        check_xml(data, path)
        parser = ElementTree.XMLParser(target=_Builder())
        parser.feed(data)
        root = parser.close()
    except ElementTree.ParseError as error:
        line, column = error.position
        raise CameraError(
            f"is not XML: {error.msg if hasattr(error, 'msg') else error}",
            where=f"{path}:{line}:{column + 1}",
            advice="the file is cut or was edited: " + _AGAIN,
        ) from error
    except (ValueError, LookupError) as error:
        raise CameraError(f"is refused: {error}", where=path, advice=_AGAIN) from error
    except OSError as error:
        raise CameraError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    chunks = root.findall("chunk")
    if root.tag != "document" or len(chunks) != 1:
        raise CameraError(
            f"has {len(chunks)} chunks, needs 1",
            where=path,
            advice="export the cameras of one chunk",
        )
    return chunks[0]


def _aligned(
    chunk: ElementTree.Element, path: Path, warnings: list[str]
) -> list[ElementTree.Element]:
    """Return the cameras with a pose, and remark on the others."""
    aligned, disabled, bare = [], [], []
    for camera in chunk.iterfind("cameras//camera"):
        label = camera.get("label", "")
        if not label:
            raise CameraError("a camera has no label", where=path, advice=_AGAIN)
        if camera.get("enabled", "true").lower() in ("false", "0"):
            disabled.append(label)
        elif camera.find("transform") is None:
            if camera.get("master_id") is not None:
                raise CameraError(
                    f"camera {label} belongs to a multi-camera system and has no pose of its own",
                    where=path,
                    advice="export in COLMAP format instead, which has rigs",
                )
            bare.append(label)
        else:
            aligned.append(camera)
    for names, what in ((disabled, "are disabled"), (bare, "are not aligned")):
        if names:
            warnings.append(
                f"W-METASHAPE-CAMERAS: {len(names)} cameras {what} and not used: {some(names)}"
            )
    if not aligned:
        raise SceneError("no camera is aligned", where=path, advice="align the photos first")
    return aligned


def _groups(chunk: ElementTree.Element) -> dict[ElementTree.Element, str]:
    """Return the label of each camera's group, where it is in one: mostly its photos' folder."""
    found = {}
    for group in chunk.iterfind("cameras//group"):
        for camera in group.iter("camera"):
            found[camera] = group.get("label", "")
    return found


def _label(camera: ElementTree.Element, groups: dict[ElementTree.Element, str]) -> str:
    """Return a camera's label, with its group's before it as a folder."""
    label, group = camera.get("label", ""), groups.get(camera, "")
    return f"{group}/{label}" if group and len(parts_of(label)) == 1 else label


def _similarity(transform: ElementTree.Element | None, where: str) -> _Similarity:
    """Read a component's or chunk's transform; what is missing changes nothing."""
    R, t, scale = np.eye(3), np.zeros(3), 1.0
    if transform is not None and len(transform):
        if (part := transform.find("rotation")) is not None:
            R = nearest_rotation(numbers(part, 9, where).reshape(3, 3), where)
        if (part := transform.find("translation")) is not None:
            t = numbers(part, 3, where)
        if (part := transform.find("scale")) is not None:
            scale = float(numbers(part, 1, where)[0])
    if not scale > 0:
        raise CameraError(f"the scale is {scale:g}", where=where, advice=_AGAIN)
    return _Similarity(R, t, scale)


def _worlds(chunk: ElementTree.Element, path: Path) -> dict[str | None, _Similarity]:
    """Return world from chunk by component id; None stands for cameras without a component."""
    common = chunk.find("transform")
    worlds: dict[str | None, _Similarity] = {None: _similarity(common, f"{path}: chunk transform")}
    for component in chunk.findall("components/component"):
        own = component.find("transform")
        where = f"{path}: component {component.get('id')}"
        worlds[component.get("id")] = (
            worlds[None] if own is None or not len(own) else _similarity(own, where)
        )
    return worlds


def _pose(
    camera: ElementTree.Element, worlds: dict[str | None, _Similarity], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return R and t, camera from world."""
    pose = numbers(camera.find("transform"), 16, where).reshape(4, 4)
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise CameraError(f"the last row is {pose[3].tolist()}", where=where, advice=_AGAIN)
    component = camera.get("component_id")
    if component not in worlds:
        raise CameraError(f"component {component!r} is missing", where=where, advice=_AGAIN)
    world = worlds[component]
    R = (world.R @ nearest_rotation(pose[:3, :3], where)).T
    position = world.scale * (world.R @ pose[:3, 3]) + world.t
    return R, -R @ position


def _geographic(chunk: ElementTree.Element) -> str | None:
    """Return the name of the project's coordinate system where its world is geocentric."""
    reference = chunk.findtext("reference") or ""
    kind, _, rest = reference.strip().partition("[")
    if not kind or kind.upper() == "LOCAL_CS":
        return None
    name = rest.partition('"')[2].partition('"')[0]
    return name or kind

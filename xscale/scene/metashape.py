"""Metashape's camera export (*Export Cameras*, Agisoft XML).

Poses are camera to chunk with OpenCV axes; the component's transform (in older files the chunk's)
takes the chunk to the world. Metashape's lens formulas are mapped to COLMAP's models where the two
are the same function: ``cx, cy`` count from the picture's centre, ``b1, b2`` go into K, its ``p1``
is OpenCV's ``p2`` and the other way round.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.camera import FARTHEST
from xscale.geometry.frames import nearest_rotation
from xscale.geometry.models import BY_NAME, supported_model
from xscale.scene.colmap_text import parse_number
from xscale.scene.labels import join_labels
from xscale.scene.views import Choice, Reading, View, some

LAYOUT = "metashape"
_NO_CHOICE = Choice()
_MOST_BYTES = 64 << 20
_HEAD_BYTES = 1 << 12
_MOST_DEPTH = 32
_PARAMETERS = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
_FISHEYES = ("fisheye", "equidistant_fisheye")
_AGAIN = "export the cameras again"


class _Sensor(NamedTuple):
    """A calibrated sensor."""

    model: str
    K: np.ndarray
    distortion: np.ndarray
    size: tuple[int, int]


class _Similarity(NamedTuple):
    """World from chunk: ``scale * R x + t``."""

    R: np.ndarray
    t: np.ndarray
    scale: float


def _looks_right(path: Path) -> bool:
    """Tell by its beginning whether an XML file is a camera export."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return b"<document" in head and b"<chunk" in head


def _file(root: Path, choice: Choice) -> Path | None:
    """Return the file to read, recognised by its content.

    Raises:
        SceneError: The folder has several.
    """
    if choice.cameras is not None:
        given = choice.cameras
        return given if given.is_file() and _looks_right(given) else None
    found = [p for p in sorted(root.glob("*.xml")) if p.is_file() and _looks_right(p)]
    if len(found) > 1:
        raise SceneError(
            f"has several Metashape exports: {some([p.name for p in found], 8)}",
            where=root,
            advice="choose one by --cameras",
        )
    return found[0] if found else None


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
    folder = choice.images or _photo_folder(path.parent)
    labels = [camera.get("label", "") for camera in aligned]
    names = join_labels(labels, folder, path)
    calibrated: dict[str, _Sensor] = {}
    views = []
    for camera, label in zip(aligned, labels, strict=True):
        where = f"{path}: camera {label}"
        sensor_id = camera.get("sensor_id", "")
        if sensor_id not in sensors:
            raise CameraError(f"sensor {sensor_id!r} is not there", where=where, advice=_AGAIN)
        if sensor_id not in calibrated:
            calibrated[sensor_id] = _sensor(sensors[sensor_id], path)
        sensor = calibrated[sensor_id]
        R, t = _pose(camera, worlds, where)
        views.append(
            View(names[label], where, sensor.model, sensor.K, R, t, sensor.distortion, sensor.size)
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
        parser = ElementTree.XMLParser(target=_Builder())
        parser.feed(path.read_bytes())
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


def _photo_folder(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root


def _numbers(element: ElementTree.Element | None, count: int, where: str) -> np.ndarray:
    """Return the numbers in an element's text."""
    tokens = (element.text or "").split() if element is not None else []
    if len(tokens) != count:
        name = "element" if element is None else element.tag
        raise CameraError(
            f"{name} has {len(tokens)} numbers, needs {count}", where=where, advice=_AGAIN
        )
    values = np.array([parse_number(token, where) for token in tokens])
    if count and np.abs(values).max() > FARTHEST:
        raise CameraError(
            f"{element.tag if element is not None else ''} has {np.abs(values).max():g}",
            where=where,
            advice=_AGAIN,
        )
    return values


def _similarity(transform: ElementTree.Element | None, where: str) -> _Similarity:
    """Read a component's or chunk's transform; what is missing changes nothing."""
    R, t, scale = np.eye(3), np.zeros(3), 1.0
    if transform is not None and len(transform):
        if (part := transform.find("rotation")) is not None:
            R = nearest_rotation(_numbers(part, 9, where).reshape(3, 3), where)
        if (part := transform.find("translation")) is not None:
            t = _numbers(part, 3, where)
        if (part := transform.find("scale")) is not None:
            scale = float(_numbers(part, 1, where)[0])
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
    pose = _numbers(camera.find("transform"), 16, where).reshape(4, 4)
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise CameraError(f"the last row is {pose[3].tolist()}", where=where, advice=_AGAIN)
    component = camera.get("component_id")
    if component not in worlds:
        raise CameraError(f"component {component!r} is not there", where=where, advice=_AGAIN)
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


def _sensor(sensor: ElementTree.Element, path: Path) -> _Sensor:
    """Map a sensor to one of COLMAP's models.

    Raises:
        CameraError: There is no model that is the same function.
    """
    where = f"{path}: sensor {sensor.get('label') or sensor.get('id')}"
    kind = sensor.get("type", "frame")
    found = sensor.findall("calibration")
    calibration = next((c for c in found if c.get("class") == "adjusted"), None)
    if calibration is None and found:
        calibration = found[-1]
    if calibration is not None:
        kind = calibration.get("type", kind)
    size = _size(calibration, sensor, where)
    if kind == "spherical":
        known = supported_model(BY_NAME["EQUIRECTANGULAR"], where)
        return _Sensor(known.name, *known.intrinsics(np.array(size, np.float64)), size)
    if calibration is None:
        raise CameraError("has no calibration", where=where, advice="align the photos first")
    values = dict.fromkeys(_PARAMETERS, 0.0)
    for child in calibration:
        if child.tag in values:
            values[child.tag] = float(_numbers(child, 1, where)[0])
    f = values["f"]
    if not f > 0:
        raise CameraError(f"the focal length is {f:g}", where=where, advice=_AGAIN)
    K = np.array(
        [
            [f + values["b1"], values["b2"], size[0] / 2 + values["cx"]],
            [0.0, f, size[1] / 2 + values["cy"]],
            [0.0, 0.0, 1.0],
        ]
    )
    name, distortion = _lens(kind, values, where)
    supported_model(BY_NAME[name], where)
    return _Sensor(name, K, distortion, size)


def _size(
    calibration: ElementTree.Element | None, sensor: ElementTree.Element, where: str
) -> tuple[int, int]:
    """Return the picture size that the calibration refers to."""
    element = calibration.find("resolution") if calibration is not None else None
    if element is None:
        element = sensor.find("resolution")
    found = [] if element is None else [element.get(k, "") for k in ("width", "height")]
    if len(found) != 2 or not all(v.isascii() and v.isdigit() and 0 < len(v) < 9 for v in found):
        raise CameraError("has no resolution", where=where, advice=_AGAIN)
    return int(found[0]), int(found[1])


def _lens(kind: str, values: dict[str, float], where: str) -> tuple[str, np.ndarray]:
    """Return COLMAP's name and parameters of Metashape's lens."""
    k1, k2, k3, k4 = (values[f"k{n}"] for n in range(1, 5))
    # Metashape: dx = P1 (r^2 + 2 x^2) + 2 P2 x y. OpenCV: dx = 2 p1 x y + p2 (r^2 + 2 x^2).
    p1, p2 = values["p2"], values["p1"]
    if values["p3"] or values["p4"]:
        raise CameraError(
            "the calibration has p3 or p4, which no model here has",
            where=where,
            advice="run Optimize Cameras without p3 and p4, or export undistorted photos",
        )
    if kind in _FISHEYES:
        if p1 or p2:
            return "THIN_PRISM_FISHEYE", np.array([k1, k2, p1, p2, k3, k4, 0.0, 0.0])
        return "OPENCV_FISHEYE", np.array([k1, k2, k3, k4])
    if kind != "frame":
        raise CameraError(
            f"sensors of type {kind} are not supported (frame, fisheye and spherical are)",
            where=where,
            advice="convert the photos to frame cameras in Metashape and export again",
        )
    if k4:
        raise CameraError(
            f"the calibration has k4 = {k4:g}, which no model of frame cameras here has",
            where=where,
            advice="run Optimize Cameras without k4, or export undistorted photos",
        )
    if k3:
        return "FULL_OPENCV", np.array([k1, k2, p1, p2, k3, 0.0, 0.0, 0.0])
    if k1 or k2 or p1 or p2:
        return "OPENCV", np.array([k1, k2, p1, p2])
    return "PINHOLE", np.zeros(0)

"""Sources of a window: a run, or a scene before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from xscale.errors import InputError, UsageError
from xscale.gbuffer.build import Rect, build_surface
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.model.background import Plain
from xscale.render.devices import pick_view_device
from xscale.render.frame import Frame
from xscale.render.job import check_model
from xscale.render.modes import MODES
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.render.run import Run
from xscale.render.scene_photos import find_photos
from xscale.render.sight import Sight, count, training_views
from xscale.run.folder import RESIDUALS, RunFolder
from xscale.scene.scene import Scene
from xscale_viewer.navigation import up_of

_SAMPLED = 200_000
_FEW = 2000
_NEIGHBOURS = 2000
_NOT_OF_A_SCENE = ("level", "uncertainty", "features")
GEOCENTRIC = "EPSG:4978"
"""Coordinates from the earth's centre: up is away from it."""
NO_MODES = ("photo", "render", "error")
"""Modes of the service that the wipe asks for by itself."""


@dataclass(eq=False)
class Source:
    """An opened run or scene. Only the render thread may use ``run`` once a service has it."""

    path: Path
    kind: str
    """run or scene."""
    run: Run | SceneRun
    cameras: dict[str, Camera]
    """The photos', world frame, by name."""
    tests: frozenset[str]
    """Names of the photos that were not trained on."""
    origin: np.ndarray
    """World position of the mesh's local origin, float64 [3]."""
    low: np.ndarray
    """Lower corner of the box of nearly all vertices, world."""
    high: np.ndarray
    """Upper corner."""
    up: np.ndarray
    modes: tuple[str, ...]
    near: float
    """Near plane of views, world units."""
    open_scene: Callable[..., Scene]
    """Opens the scene with the photos, or one in another folder; may take seconds, and fail."""
    georeference: str | None = None
    """Name of the coordinate system of positions, where the scene says it."""
    points: np.ndarray | None = None
    """Sparse points, float64 [P, 3], world."""
    sample: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """Some of the mesh's vertices, float64 [N, 3], world."""

    found_up: np.ndarray = field(init=False)
    """Upward direction found when the source was opened."""

    def __post_init__(self) -> None:
        self.found_up = self.up

    @cached_property
    def frustums(self) -> dict[str, float]:
        """Depth at which each camera's pyramid is drawn: a third of the way to the next photo."""
        largest = 0.03 * self.extent
        names = list(self.cameras)
        if not 2 <= len(names) <= _NEIGHBOURS:
            return dict.fromkeys(names, 0.3 * largest)
        centres = np.array([camera.position for camera in self.cameras.values()])
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        sizes = np.minimum(apart.min(1) / 3, largest)
        return dict(zip(names, np.maximum(sizes, 1e-3 * largest).tolist(), strict=True))

    @property
    def extent(self) -> float:
        """Diagonal of the box."""
        return float(np.linalg.norm(self.high - self.low))


def open_source(
    path: Path, device: str = "cpu", reading: Mapping[str, object] | None = None
) -> Source:
    """Open a run's or a scene's folder.

    Args:
        path: The folder.
        device: Where a run's pictures are computed: auto, cpu, webgpu or webgpu:N. Scenes are
            shown by the CPU.
        reading: Options of how a scene is read, by name.

    Raises:
        InputError: It is neither.
        XscaleError: Whatever is wrong with it.
    """
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise InputError(kind, where=path, advice="open a run's or a scene's folder")
    if RunFolder(path).is_run():
        return _of_run(path, device)
    return _of_scene(Scene.open(path, **(reading or {})))


def _of_run(path: Path, device: str) -> Source:
    run = Run.open(path, pick_view_device(device, path))
    stored = run.manifest.scene
    cameras = {name: run.camera(name) for name in run.names("all")}
    check_model(run)
    _ = run.renderer  # the first picture then comes at once, and faults show now
    modes = [name for name in MODES if name not in NO_MODES]
    if run.manifest.model.encoding not in ("hash", "volume"):
        modes = [name for name in modes if name != "level"]
    if not run.folder.has(RESIDUALS):
        modes = [name for name in modes if name != "uncertainty"]
    return _source(
        path, "run", run, cameras, frozenset(run.names("test")), run.origin, tuple(modes),
        partial(_scene_of, run),
        _georeference(stored.provenance, stored.warnings),
    )  # fmt: skip


def _scene_of(run: Run, folder: Path | None = None) -> Scene:
    """Open the scene that a run was trained on, where it is or in a folder."""
    found = find_photos(run, folder)
    if found.scene is None:
        raise InputError(found.line)
    return found.scene


def _of_scene(scene: Scene) -> Source:
    run = SceneRun(scene)
    _ = run.surface
    cameras = {photo.name: photo.camera for photo in scene.photos}
    modes = tuple(n for n in MODES if n not in (*_NOT_OF_A_SCENE, *NO_MODES))
    source = _source(
        scene.root, "scene", run, cameras, frozenset(), scene.origin, modes,
        lambda folder=None: scene,
        _georeference(scene.provenance, scene.warnings),
    )  # fmt: skip
    source.points = scene.points
    return source


def _source(
    path: Path,
    kind: str,
    run: Run | SceneRun,
    cameras: dict[str, Camera],
    tests: frozenset[str],
    origin: np.ndarray,
    modes: tuple[str, ...],
    open_scene: Callable[..., Scene],
    georeference: str | None,
) -> Source:
    vertices = run.surface.vertices
    low, high = _box(vertices, origin)
    sample = vertices[:: max(1, len(vertices) // _FEW)].cpu().numpy().astype(np.float64) + origin
    nears = [camera.near for camera in cameras.values() if camera.near > 0]
    near = min([*nears, float(np.linalg.norm(high - low)) * 1e-4])
    middle = (low + high) / 2
    if georeference == GEOCENTRIC:
        up = middle / max(float(np.linalg.norm(middle)), 1.0)
    else:
        up = up_of(list(cameras.values()), middle, z_is_up=georeference is not None)
    return Source(
        path, kind, run, cameras, tests, origin, low, high, up, modes, near, open_scene,
        georeference, sample=sample,
    )  # fmt: skip


def _box(vertices: Tensor, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of nearly all vertices: a few far ones would make everything small."""
    some = vertices[:: max(1, len(vertices) // _SAMPLED)].cpu().numpy().astype(np.float64)
    low, high = np.quantile(some, (0.01, 0.99), axis=0)
    room = (high - low) * 0.02 + 1e-9
    return low - room + origin, high + room + origin


def _georeference(provenance: Mapping[str, object], warnings: Sequence[str]) -> str | None:
    """Return what a scene says about its coordinate system, None where it says nothing."""
    system = provenance.get("coordinate_system")
    if isinstance(system, dict) and system.get("name"):
        return str(system["name"])[:80]
    geocentric = any(GEOCENTRIC in line for line in warnings)
    return GEOCENTRIC if geocentric else None


class SceneRun:
    """A scene in the shape of a run: its mesh in plain shading, for the render service."""

    def __init__(self, scene: Scene) -> None:
        self.path = scene.root
        self.device = torch.device("cpu")
        self.model = Clay()
        self.background = None
        self.source_photos = None
        self.folder = _NoFolder()
        self.manifest = SimpleNamespace(run=None)
        self.warnings: list[str] = []
        self._scene = scene
        self._renderers: dict[str, Renderer] = {}

    def names(self, views: str = "all") -> list[str]:
        """Return the photos' names; there is no split."""
        return [] if views == "test" else [photo.name for photo in self._scene.photos]

    def camera(self, name: str) -> Camera:
        """Return a photo's camera at its stored size."""
        return self._scene.photo(name).camera

    @property
    def origin(self) -> np.ndarray:
        """World position of the mesh's local origin."""
        return self._scene.origin

    @cached_property
    def surface(self) -> Surface:
        """The mesh, ready for the ops."""
        return build_surface(self._scene.mesh)

    @cached_property
    def views(self) -> list[Sight]:
        """Depths that the photos' cameras see of the mesh."""
        cameras = [photo.camera for photo in self._scene.photos]
        return training_views(self.surface, cameras, self.origin)

    @property
    def renderer(self) -> Renderer:
        """Renderer over white."""
        return self.renderer_on("run")

    def renderer_on(self, background: str = "run") -> Renderer:
        """Return a renderer; ``black`` is black, every other background is white."""
        if background not in self._renderers:
            plain = Plain(0.0) if background == "black" else None
            self._renderers[background] = Renderer(
                self.surface, self.model, self.origin, plain, fused=False,
                photos=lambda position: count(self.views, position),
            )  # fmt: skip
        return self._renderers[background]

    def render(
        self,
        camera: Camera,
        outputs: Sequence[str] = ("colour",),
        *,
        rect: Rect | None = None,
        samples: int = 1,
        background: str = "run",
    ) -> Frame:
        """Render one camera as ``Run.render`` does."""
        return render_resolved(self.renderer_on(background), camera, outputs, rect, samples)

    @property
    def residuals(self) -> Tensor:
        """Nothing is known before a training.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a scene has no residuals", advice="train first: xscale train")


class _NoFolder:
    """Stands for a run's folder: nothing is kept in a scene."""

    def has(self, name: str) -> bool:
        return False

    def write(self, name: str, arrays: Mapping[str, np.ndarray], run: str | None) -> None:
        return


@dataclass(eq=False)
class Clay:
    """A model that shades a surface by the angle to the eye, in one colour."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    settings: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            encoding="none", grid=SimpleNamespace(levels=1), photo_range=255
        )
    )

    def colour(self, samples: GBuffer, exposure: Tensor | None = None) -> Tensor:
        """Return sRGB float32 [N, 3]."""
        facing = (samples.normal * samples.direction).sum(1).abs()
        tint = torch.tensor([0.80, 0.79, 0.76])
        return (0.15 + 0.85 * facing)[:, None] * tint

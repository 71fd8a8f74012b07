"""Run: the folder of one training, opened for rendering; needs neither photos nor scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xscale.errors import InputError, IntegrityError, UsageError
from xscale.gbuffer.build import Rect
from xscale.gbuffer.displace import displaced
from xscale.gbuffer.gbuffer import Surface
from xscale.gbuffer.stored import stored_surface
from xscale.geometry.adjust import NUMBERS, adjusted
from xscale.geometry.camera import Camera
from xscale.io.checkpoints import Checkpoint
from xscale.io.hashing import fingerprint_of, sha256_file
from xscale.io.names import name_bytes
from xscale.model.background import Background, Plain
from xscale.model.model import Model
from xscale.render.feature_colours import FeatureColours
from xscale.render.frame import Frame
from xscale.render.new_run import new_model
from xscale.render.painter_renderer import PainterRenderer
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.render.sight import Sight, count, training_views
from xscale.render.source_photos import (
    ReadPhoto,
    SourcePhotos,
    read_source_photos,
    source_photo_arrays,
)
from xscale.render.uncertainty import expected_error, read_residuals
from xscale.run.folder import BACKGROUND, MESH, PHOTOS, RESIDUALS, RunFolder
from xscale.run.manifest import Manifest
from xscale.webgpu.device import Adapter, find_adapter, shared_device
from xscale.webgpu.painter import Painter

BACKGROUNDS = ("run", "learned", "white", "black")
"""Backgrounds of uncovered pixels: as the run was trained, or one of these."""


@dataclass(eq=False)
class Run:
    """A training's folder, opened for rendering: cameras and pictures.

    Raises (on opening):
        InputError: The folder is not a run.
        IntegrityError: The manifest or every checkpoint is damaged.
    """

    folder: RunFolder
    device: torch.device
    uses_source_photos: bool = False
    """Whether colours are corrected by the training photos that the run keeps."""
    two_sided: bool = False
    """Whether both sides of every face are surface, whatever photos say."""
    adapter: Adapter | None = None
    """Graphics chip that pictures are drawn by, through WebGPU; None: by ``device``."""
    _read: Checkpoint | None = field(default=None, init=False)
    _step: int = field(default=0, init=False)
    warnings: list[str] = field(default_factory=list, init=False)
    """Coded one-line remarks about the folder: an older checkpoint was used, and the like."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        device: str = "cpu",
        *,
        source_photos: bool = False,
        two_sided: bool = False,
        newest: tuple[Checkpoint | None, list[str]] | None = None,
    ) -> Run:
        """Open a run folder; nothing large is read until it is needed.

        Args:
            path: The folder.
            device: Where to render: cpu, cuda, cuda:N, webgpu or webgpu:N.
            source_photos: Whether colours are corrected by the training photos that it keeps.
            two_sided: Whether both sides of every face are surface, whatever the photos say.
            newest: What ``RunFolder.load_newest`` gave, where it is read already.

        Raises:
            UsageError: WebGPU does not draw this run.
            SetupError: wgpu is not installed.
            DeviceError: There is no such adapter.
        """
        folder = RunFolder(path)
        encoding = folder.manifest.model.encoding
        adapter = None
        if device.startswith("webgpu"):
            if encoding != "hash":
                raise UsageError(
                    f"WebGPU draws hash grids, and this run has model.encoding={encoding}",
                    where=path,
                    advice="use --device cpu",
                )
            number = device.partition(":")[2]
            adapter = find_adapter(int(number) if number else None)
        on = torch.device("cpu" if adapter else device)
        run = cls(folder, on, source_photos, two_sided, adapter)
        if newest is not None:
            run._read, run.warnings = newest
        return run

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def manifest(self) -> Manifest:
        """The manifest: scene, settings, split and cameras of the training."""
        return self.folder.manifest

    @property
    def where(self) -> str:
        """Device that pictures come from: cpu, cuda, cuda:N or webgpu:N."""
        return f"webgpu:{self.adapter.number}" if self.adapter else str(self.device)

    @property
    def origin(self) -> np.ndarray:
        """World position of the mesh's local origin, float64 [3]."""
        return self.manifest.origin_array

    @property
    def downscale(self) -> float:
        """Factor by which the photos were reduced for training and scoring."""
        return self.manifest.scene.downscale

    def names(self, views: str = "test") -> list[str]:
        """Return the names of the "test", "train" or "all" photos."""
        split = self.manifest.split
        if views == "all":
            return sorted((*split.train, *split.test), key=name_bytes)
        return list(split.train if views == "train" else split.test)

    def camera(self, name: str) -> Camera:
        """Return a photo's camera in the scene's frame, at training size.

        Where cameras were refined, a training photo's is the refined one.
        """
        camera = self.manifest.cameras[name].downscaled(self.downscale)
        numbers = self.adjustments.get(name)
        return camera if numbers is None else adjusted(camera, numbers)

    @cached_property
    def adjustments(self) -> dict[str, np.ndarray]:
        """Refinements of the training photos' cameras (``xscale.geometry.adjust``), by name."""
        names = self.names("train")
        rows = self._refined("cameras", "cameras.adjustments", (len(names), NUMBERS))
        return {} if rows is None else dict(zip(names, rows, strict=True))

    def _refined(self, what: str, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return what a checkpoint holds of a refinement; None where there was none."""
        if not self.manifest.refines(what):
            return None
        checkpoint = self._newest()
        if checkpoint is None:
            return None
        found = checkpoint.tensors.get(name)
        if found is None or found.shape != shape or found.dtype.kind != "f":
            raise IntegrityError(
                f"tensor {name} is missing or has another shape than the run's settings imply",
                where=self.folder.checkpoints,
            )
        return found

    def _newest(self) -> Checkpoint | None:
        """Read what pictures need; cameras and mesh are those that the model was trained with."""
        if self._read is None:
            # The optimizer's numbers are neither read nor checked.
            self._read, self.warnings = self.folder.load_newest()
        return self._read

    @cached_property
    def _heights(self) -> np.ndarray | None:
        if not self.manifest.refines("surface"):
            return None
        return self._refined("surface", "mesh.heights", (len(self.mesh.vertices),))

    @cached_property
    def surface(self) -> Surface:
        """The mesh, ready for the ops, as the model was trained on it.

        Mapped from the file, unless vertices were moved.
        """
        heights = self._heights
        return self.mesh if heights is None else displaced(self.mesh, torch.from_numpy(heights))

    @cached_property
    def mesh(self) -> Surface:
        """The mesh as the scene had it, mapped from the file and checked."""
        arrays = self.folder.read(MESH)
        if self.two_sided:
            arrays = {name: array for name, array in arrays.items() if name != "sides"}
        return stored_surface(arrays, self.device, self.path / MESH, self.origin)

    @cached_property
    def model(self) -> Model:
        """The model at the newest good checkpoint, its table in float16: half the bytes to read."""
        # Tensors beside the model are taken from this checkpoint before it is let go of.
        checkpoint, _ = self._newest(), (self.adjustments, self._heights)
        self._read = None
        if checkpoint is None:
            raise InputError(
                "has no checkpoint yet", where=self.path, advice="let xscale train save one"
            )
        self._step = checkpoint.step
        tensors = {name: torch.from_numpy(a) for name, a in checkpoint.tensors.items()}
        table = tensors.get("field.table", torch.zeros(1))
        most = torch.finfo(torch.float16).max
        fits = not table.numel() or bool(torch.stack(table.aminmax()).abs().max() <= most)
        surface = self.surface if self.manifest.model.encoding != "hash" else None
        model = new_model(self.manifest, self.device, frozen=fits, surface=surface)
        model.load(tensors)
        return model

    @cached_property
    def background(self) -> Background | None:
        """The learned background; None where it is white."""
        if self.manifest.model.background != "learned":
            return None
        arrays = self.folder.read(BACKGROUND)
        try:
            return Background.load(
                {name: torch.from_numpy(array) for name, array in arrays.items()}, self.device
            )
        except (KeyError, ValueError, IndexError, RuntimeError) as error:
            raise IntegrityError(
                f"does not hold a background: {error}", where=self.path / BACKGROUND
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the pixels: mesh, checkpoint, background, photos, residuals."""
        _ = self.model
        there = {
            MESH: True,
            BACKGROUND: self.background is not None,
            RESIDUALS: self.folder.has(RESIDUALS),
            PHOTOS: self.source_photos is not None,
        }
        parts = [self.folder.checkpoint_hash(self._step)]
        parts += [sha256_file(self.path / name) for name, counts in there.items() if counts]
        parts += ["two-sided"] if self.two_sided else []
        return fingerprint_of(parts)

    @cached_property
    def renderer(self) -> Renderer:
        """Renderer of this run."""
        return self._renderer(self.background)

    def renderer_on(self, background: str = "run") -> Renderer:
        """Return a renderer whose uncovered pixels show one of ``BACKGROUNDS``.

        Raises:
            UsageError: There is none of that name, or the run has not learned any.
        """
        if background not in BACKGROUNDS:
            raise UsageError(f"no background {background!r}; there are {', '.join(BACKGROUNDS)}")
        if background == "learned" and self.background is None:
            raise UsageError(
                "the run has learned no background",
                where=self.path,
                advice="train with --background learned, or take --background white",
            )
        if background in ("run", "learned"):
            return self.renderer
        return self._renderer(None if background == "white" else Plain(0.0))

    def _renderer(self, background: Background | Plain | None) -> Renderer:
        make = Renderer if self.adapter is None else partial(PainterRenderer, self._painter)
        return make(
            self.surface,
            self.model,
            self.manifest.origin,
            background,
            photos=lambda position: count(self.views, position),
            uncertainty=lambda face_id, position: expected_error(
                self.surface, self.residuals, face_id, position, count(self.views, position)
            ),
            source_photos=self.source_photos,
            features=FeatureColours(self.model, self.surface, self._local_cameras).of,
        )

    @cached_property
    def _painter(self) -> Painter:
        return Painter(
            shared_device(self.adapter.number),
            self.surface,
            self.model.field.frame_grid(),
            self.model.shader.frame_shader(),
            photo_range=self.model.settings.photo_range,
        )

    def exposure(self, photo: str) -> Tensor | None:
        """Return a training photo's exposure, as ``Renderer.render`` takes it.

        None for test photos: an exposure is fitted to training photos only, so the mean of those
        stands for all others.

        Raises:
            UsageError: The run has no photo of that name.
        """
        names = self.names("train")
        if photo in names:
            return self.model.shader.exposure[names.index(photo)]
        if photo not in self.manifest.cameras:
            raise UsageError(f"the run has no photo {photo}", where=self.path)
        return None

    @cached_property
    def residuals(self) -> torch.Tensor:
        """Residuals of the training at vertices (``xscale.render.uncertainty``), float32 [V]."""
        return read_residuals(self.folder, len(self.mesh.vertices), self.device)

    @cached_property
    def source_photos(self) -> SourcePhotos | None:
        """The training photos that colours are corrected by, where that was asked for."""
        if not self.uses_source_photos:
            return None
        _ = self.model
        cameras = self._local_cameras()
        stored = read_source_photos(self.folder, self._step, len(cameras))
        return SourcePhotos(stored, self.surface, self.views, cameras)

    def _local_cameras(self) -> list[Camera]:
        """Return the training photos' cameras in the mesh's local frame."""
        return [self.camera(name).recentred(self.origin) for name in self.names("train")]

    def write_source_photos(self, read: ReadPhoto) -> None:
        """Write the training photos into the run, so that it can be opened with them.

        Args:
            read: Gives a training photo's pixels and mask by its name, at training size.
        """
        names = self.names("train")

        def render(number: int, own: bool) -> Tensor:
            exposure = self.model.shader.exposure[number] if own else None
            camera = self.camera(names[number])
            return self.renderer.render(camera, ("srgb",), exposure=exposure).srgb

        _ = self.model
        arrays = source_photo_arrays(names, render, read, self._step)
        self.folder.write(PHOTOS, arrays, self.manifest.run)

    @cached_property
    def views(self) -> list[Sight]:
        """Views of the training cameras; made when first asked for."""
        cameras = [self.camera(name) for name in self.names("train")]
        return training_views(self.surface, cameras, self.origin)

    def model_bytes(self) -> int:
        """Return the memory that model and mesh take."""
        tensors = [*self.model.tensors().values(), *self.surface.tensors().values()]
        if self.background is not None:
            tensors += self.background.tensors().values()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def render(
        self,
        camera: Camera,
        outputs: Sequence[str] = ("colour",),
        *,
        rect: Rect | None = None,
        samples: int = 1,
        background: str = "run",
        photo: str | None = None,
        smooth: bool = True,
    ) -> Frame:
        """Render one camera, or a part of its picture.

        Args:
            camera: World-frame camera; its size is the picture's.
            outputs: Names of ``xscale.render.outputs.TABLE``, which explains them.
            rect: (left, top, width, height) in pixels; None is the whole picture.
            samples: Samples along a pixel's edge; values are means of those that hit the mesh.
            background: What uncovered pixels show, one of ``BACKGROUNDS``.
            photo: Name of the photo whose exposure is taken (:meth:`exposure`); None takes the mean
                of the training.
            smooth: Whether colours of one sample take more where the surface breaks off.

        Returns:
            Tensors [H, W, ...] on the run's device.

        Raises:
            UsageError: An output or background is not known, or the rectangle leaves the picture.
        """
        exposure = None if photo is None else self.exposure(photo)
        on = self.renderer_on(background)
        return render_resolved(on, camera, outputs, rect, samples, exposure, smooth=smooth)

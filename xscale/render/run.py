"""Run: the folder of one training, opened for rendering; needs neither photos nor scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xscale.config import from_dict
from xscale.errors import InputError, IntegrityError, UsageError
from xscale.gbuffer.build import Rect, build_surface
from xscale.gbuffer.displace import displaced
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.adjust import adjusted
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.checkpoints import PICTURES, Checkpoint, load_newest
from xscale.io.hashing import fingerprint_of, sha256_file
from xscale.io.storage import write_json
from xscale.io.tensors import write_tensors
from xscale.model.background import Background, Plain
from xscale.model.encodings import ON_THE_MESH
from xscale.model.field import Box
from xscale.model.model import Model
from xscale.model.settings import ModelSettings
from xscale.render import photos_at_hand
from xscale.render.frame import Frame
from xscale.render.photos_at_hand import PhotosAtHand
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.render.sight import View, count, training_views
from xscale.render.uncertainty import FILE as RESIDUALS
from xscale.render.uncertainty import expected_error, read_residuals

FORMAT = 1
BACKGROUNDS = ("run", "learned", "white", "black")
"""What uncovered pixels may show: as the run was trained, or one of these."""


@dataclass(eq=False)
class Run:
    """A training's folder: manifest, mesh and newest good checkpoint.

    Raises (on opening):
        InputError: The folder is no run.
        IntegrityError: The manifest or every checkpoint is damaged.
    """

    path: Path
    manifest: dict
    device: torch.device
    photos_at_render: bool = False
    """Whether colours are corrected by the training photos that the run keeps."""
    _read: Checkpoint | None = None
    _step: int = field(default=0, init=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        device: str = "cpu",
        *,
        photos_at_render: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> Run:
        """Open a run folder; nothing large is read until it is needed.

        Args:
            path: The folder.
            device: Where to render.
            photos_at_render: Whether colours are corrected by the training photos that it keeps.
            checkpoint: Its newest one, at least what ``PICTURES`` names, where it is read already.
        """
        path = Path(path)
        file = path / "manifest.json"
        try:
            manifest = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise InputError(
                "is no run: it has no manifest.json", where=path, advice="xscale train makes one"
            ) from None
        except (OSError, ValueError) as error:
            raise IntegrityError(f"cannot be read: {error}", where=file) from error
        if manifest.get("format") != FORMAT:
            raise IntegrityError(
                f"has format {manifest.get('format')}, this version reads {FORMAT}", where=file
            )
        return cls(path, manifest, torch.device(device), photos_at_render, checkpoint)

    @property
    def downscale(self) -> float:
        """Factor by which the photos were reduced for training and scoring."""
        return self.manifest["scene"]["downscale"]

    def names(self, views: str = "test") -> list[str]:
        """Return the names of the "test", "train" or "all" photos."""
        split = self.manifest["split"]
        if views == "all":
            return sorted(split["train"] + split["test"], key=lambda name: name.encode())
        return list(split[views])

    def camera(self, name: str) -> Camera:
        """Return a photo's camera in the scene's frame, at training size.

        Where cameras were refined, a training photo's is the refined one.
        """
        c = self.manifest["cameras"][name]
        camera = Camera(
            model=c["model"],
            width=c["width"],
            height=c["height"],
            K=np.array(c["K"]),
            R=np.array(c["R"]),
            t=np.array(c["t"]),
            distortion=np.array(c.get("distortion", [])),
            near=c["near"],
        )
        camera = camera.downscaled(self.downscale)
        numbers = self.adjustments.get(name)
        return camera if numbers is None else adjusted(camera, numbers)

    @cached_property
    def adjustments(self) -> dict[str, np.ndarray]:
        """By which the training photos' cameras were refined (``xscale.geometry.adjust``)."""
        rows = self._refined("cameras", "cameras.adjustments")
        return {} if rows is None else dict(zip(self.names("train"), rows, strict=True))

    def _refined(self, what: str, name: str) -> np.ndarray | None:
        """Return what a checkpoint holds of a refinement; None where there was none."""
        if self.manifest["settings"].get("refine", {}).get(what, "off") == "off":
            return None
        checkpoint = self._newest()
        return None if checkpoint is None else checkpoint.tensors[name]

    def _newest(self) -> Checkpoint | None:
        """Read what pictures need; cameras and mesh are those that the model was trained with."""
        if self._read is None:
            # The optimizer's numbers are neither read nor checked.
            self._read, _ = load_newest(self.path / "checkpoints", PICTURES)
        return self._read

    @cached_property
    def _heights(self) -> np.ndarray | None:
        return self._refined("surface", "mesh.heights")

    @cached_property
    def surface(self) -> Surface:
        """The mesh, ready for the ops, as the model was trained on it.

        Mapped from the file, so that only what is seen is read, unless vertices were moved.
        """
        heights = self._heights
        return self.mesh if heights is None else displaced(self.mesh, torch.from_numpy(heights))

    @cached_property
    def mesh(self) -> Surface:
        """The mesh as the scene had it, mapped from the file."""
        file = self.path / "mesh.safetensors"
        try:
            with safe_open(file, "pt") as stored:
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if "cluster_points" in arrays:
                return Surface(**{name: a.to(self.device) for name, a in arrays.items()})
            # A run of version 0.1.0 before clusters with their points were kept.
            mesh = Mesh(
                vertices=arrays["vertices"].numpy(),
                faces=arrays["faces"].numpy(),
                origin=np.array(self.manifest["origin"]),
            )
        except FileNotFoundError as error:
            raise InputError(
                "is missing", where=file, advice="copy the whole run folder, or train again"
            ) from error
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise IntegrityError(f"cannot be read: {error}", where=file) from error
        return build_surface(mesh, self.device)

    @cached_property
    def model(self) -> Model:
        """The model at the newest good checkpoint, its table in float16: half the bytes to read."""
        # What goes with this checkpoint is taken from it before it is let go of.
        checkpoint, _ = self._newest(), (self.adjustments, self._heights)
        self._read = None
        if checkpoint is None:
            raise InputError(
                "has no checkpoint yet", where=self.path, advice="let xscale train save one"
            )
        self._step = checkpoint.step
        tensors = {name: torch.from_numpy(a) for name, a in checkpoint.tensors.items()}
        table = tensors.get("field.table", torch.zeros(1))
        fits = bool(torch.stack(table.aminmax()).abs().max() <= torch.finfo(torch.float16).max)
        encoding = self.manifest["settings"]["model"].get("encoding", "hash")
        surface = self.surface if encoding in ON_THE_MESH else None
        model = new_model(self.manifest, self.device, frozen=fits, surface=surface)
        model.load(tensors)
        return model

    @cached_property
    def background(self) -> Background | None:
        """What uncovered pixels show; None where that is white."""
        if self.manifest["settings"]["model"].get("background") != "learned":
            return None
        file = self.path / "background.safetensors"
        try:
            with safe_open(file, "pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return Background.load(tensors, self.device)
        except (OSError, SafetensorError, KeyError) as error:
            raise IntegrityError(f"cannot be read: {error}", where=file) from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the pixels: mesh, checkpoint, background, photos, residuals."""
        _ = self.model
        file = self.path / "checkpoints" / f"step_{self._step:08d}.json"
        tensors = json.loads(file.read_bytes())["sha256"]
        parts = [tensors, sha256_file(self.path / "mesh.safetensors")]
        if self.background is not None:
            parts.append(sha256_file(self.path / "background.safetensors"))
        if (self.path / RESIDUALS).exists():
            parts.append(sha256_file(self.path / RESIDUALS))
        if self.at_hand is not None:
            parts.append(sha256_file(self.path / photos_at_hand.FILE))
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
        return Renderer(
            self.surface,
            self.model,
            self.manifest["origin"],
            background,
            photos=lambda position: count(self.views, position),
            uncertainty=lambda face_id, position: expected_error(
                self.surface, self.residuals, face_id, position, count(self.views, position)
            ),
            at_hand=self.at_hand,
        )

    @cached_property
    def residuals(self) -> torch.Tensor:
        """What the training left unexplained, see ``xscale.render.uncertainty``; float32 [V]."""
        return read_residuals(self.path, self.device)

    @cached_property
    def at_hand(self) -> PhotosAtHand | None:
        """The training photos that colours are corrected by, where that was asked for."""
        if not self.photos_at_render:
            return None
        _ = self.model
        stored = photos_at_hand.read_photos(self.path, self._step)
        origin = np.array(self.manifest["origin"])
        cameras = [self.camera(name).recentred(origin) for name in self.names("train")]
        return PhotosAtHand(stored, self.surface, self.views, cameras)

    def keep_photos(self, read: photos_at_hand.Read) -> None:
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
        photos_at_hand.write_photos(self.path, names, render, read, self._step)

    @cached_property
    def views(self) -> list[View]:
        """What the training cameras see; made when first asked for."""
        cameras = [self.camera(name) for name in self.names("train")]
        return training_views(self.surface, cameras, np.array(self.manifest["origin"]))

    def model_bytes(self) -> int:
        """Return the memory that model and mesh take."""
        tensors = [*self.model.tensors().values(), *vars(self.surface).values()]
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
    ) -> Frame:
        """Render one camera, or a part of its picture.

        Args:
            camera: World-frame camera; its size is the picture's.
            outputs: Any of "colour", "coverage", "depth", "normal", "footprint", "position",
                "face", "level", "photos", "uncertainty" and "srgb", which ``Frame`` explains.
            rect: (left, top, width, height) in pixels; None is the whole picture.
            samples: Samples along a pixel's edge; values are means of those that hit the mesh.
            background: What uncovered pixels show, one of ``BACKGROUNDS``.

        Returns:
            Tensors [H, W, ...] on the run's device.

        Raises:
            UsageError: An output or background is not known, or the rectangle leaves the picture.
        """
        return render_resolved(self.renderer_on(background), camera, outputs, rect, samples)


def new_model(
    manifest: dict,
    device: torch.device,
    *,
    frozen: bool = False,
    surface: Surface | None = None,
) -> Model:
    """Make the untrained model that a manifest describes; see ``Model`` for the arguments."""
    return Model(
        from_dict(ModelSettings, manifest["settings"]["model"]),
        Box(tuple(manifest["box"]["centre"]), tuple(manifest["box"]["extent"])),
        photos=len(manifest["split"]["train"]),
        device=device,
        seed=manifest["seed"],
        frozen=frozen,
        surface=surface,
    )


def write_run(path: Path, manifest: dict, surface: Surface) -> None:
    """Write what makes a folder a run: the mesh with its clusters first, the manifest last."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in vars(surface).items()}
    write_tensors(path / "mesh.safetensors", arrays, overwrite=True)
    write_json(path / "manifest.json", manifest)


def write_background(path: Path, background: Background) -> None:
    """Write a run's background; it must be there when the first checkpoint is."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in background.tensors().items()}
    write_tensors(path / "background.safetensors", arrays, overwrite=True)

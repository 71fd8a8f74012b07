"""The run folder's record of its scene: written at the start, completed by the first steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from xscale.errors import DamagedPhotoError
from xscale.gbuffer.gbuffer import Surface
from xscale.io.storage import remove_folder
from xscale.model.background import Background
from xscale.render.new_run import write_background, write_run
from xscale.render.run import Run
from xscale.run.folder import RunFolder
from xscale.run.manifest import Manifest
from xscale.training.background import LaterBackground, fit_background
from xscale.training.left_out import LeftOutPhotos
from xscale.training.prepare import Prepared


class Record:
    """Manifest, mesh and background of a run.

    The first step does not wait for the background, nor for all photos to be decoded: both are
    there, and in the manifest what decoding brought to light, before the first checkpoint is.

    Args:
        prepared: The training's scene.
        mesh: Its mesh as it came.
        left_out: Photos found damaged.
        out: The run folder.
        seed: Of the pixels by which the background is fitted.
        begun: Whether the run is in the folder already.
        trained: Whether it has a checkpoint.
    """

    def __init__(
        self,
        prepared: Prepared,
        mesh: Surface,
        left_out: LeftOutPhotos,
        out: Path,
        seed: int,
        *,
        begun: bool,
        trained: bool,
    ) -> None:
        self._prepared = prepared
        self._mesh = mesh
        self._left_out = left_out
        self._folder = RunFolder(out)
        self._begun = begun
        self._written: dict = {}
        self._remarks: list[str] = []
        self._background: LaterBackground | None = None
        if not trained and prepared.manifest.model.background == "learned":
            photos, cameras = prepared.photos, prepared.local_cameras
            self._background = LaterBackground(
                lambda on_damage: fit_background(
                    prepared.surface, photos, cameras, seed, on_damage
                ),
                partial(write_background, self._folder, prepared.manifest.run),
                left_out.add,
            )

    def write(self) -> None:
        """Make the folder a run, with what is known by now."""
        if not self._begun:
            manifest = self._manifest()
            self._written = manifest.to_json()
            write_run(self._folder, manifest, self._mesh)
        if self._mesh.vertices.device.type != "cpu":
            # A GPU's streams are being recorded in the first steps: nothing is fitted beside them.
            self.finish_background()

    def start_background(self) -> None:
        """Begin to fit the background, beside what is done next."""
        if self._background is not None:
            self._background.start()

    def finish_background(self) -> None:
        """Wait for the background, where one is fitted."""
        if self._background is not None:
            self._background.finish()

    def background(self) -> Background | None:
        """Return what uncovered pixels show, waited for if need be; None where that is white."""
        if self._background is not None:
            return self._background.finish()
        return Run.open(self._folder.path, str(self._mesh.vertices.device)).background

    def remark(self, line: str) -> None:
        """Keep a coded line of the training; the manifest has it from the next checkpoint on."""
        self._remarks.append(line)

    def complete(self) -> None:
        """Write what the steps have brought to light."""
        self.finish_background()
        if self._begun and not self._remarks:
            return
        manifest = self._resumed() if self._begun else self._manifest()
        if manifest.to_json() != self._written:
            self._folder.write_manifest(manifest, overwrite=True)
            self._written = manifest.to_json()

    @contextmanager
    def withdrawn_on_damage(self) -> Iterator[None]:
        """Leave no new run where the first steps find too many photos damaged to go on."""
        try:
            yield
        except DamagedPhotoError:
            if not self._begun and not any(self._folder.checkpoints.glob("*.json")):
                with suppress(DamagedPhotoError):
                    self.finish_background()
                remove_folder(self._folder.path)
            raise

    def _resumed(self) -> Manifest:
        """Return the manifest of a run that was begun earlier, with new remarks alone."""
        manifest = self._folder.manifest
        known = manifest.scene.warnings
        new = tuple(line for line in self._remarks if line not in known)
        return replace(manifest, scene=replace(manifest.scene, warnings=known + new))

    def _manifest(self) -> Manifest:
        manifest = self._prepared.manifest
        left_out, remarks = self._left_out.found()
        warnings = (*manifest.scene.warnings, *remarks, *self._prepared.scene.notes.lines())
        warnings += tuple(self._remarks)
        scene = replace(manifest.scene, left_out=left_out, warnings=warnings)
        return replace(manifest, scene=scene)

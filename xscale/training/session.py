"""A training of a scene into a run folder, from its preparation to its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from xscale import memory
from xscale.errors import NumericsError, StorageError
from xscale.gbuffer.gbuffer import Surface
from xscale.io.checkpoints import Checkpoint
from xscale.io.run_lock import RunLock
from xscale.io.storage import free_bytes, new_folder
from xscale.render.new_run import new_model
from xscale.render.run import Run
from xscale.run.folder import RESIDUALS, RunFolder
from xscale.scene.checks.agree import quick_check
from xscale.scene.checks.duplicates import check_leaks
from xscale.scene.scene import Scene
from xscale.training.board import Board
from xscale.training.divergence import (
    MOST_RETURNS,
    RATE_FACTOR,
    StepWatch,
    report_of,
    returns_of,
    stopped_for_good,
)
from xscale.training.left_out import LeftOutPhotos, check_test_photos
from xscale.training.loop import Goal, Progress, run_loop
from xscale.training.memory import pool_device
from xscale.training.pool import TilePool
from xscale.training.prepare import Prepared, prepare
from xscale.training.preview import previewer
from xscale.training.probe import HardwareProbe
from xscale.training.record import Record
from xscale.training.refine import Refinement
from xscale.training.request import Request, enough
from xscale.training.residuals import vertex_residuals
from xscale.training.resume import as_begun, newest_checkpoint
from xscale.training.settings import RefineSettings, Settings
from xscale.training.timing import shares_of, timing_of
from xscale.training.trainer import Trainer

_CHECKPOINTS = 3
"""Checkpoints on the disk at most: two that stay, and one that is being written."""


class Session:
    """One start of a training: a new run, or one that goes on.

    Args:
        scene: The scene.
        request: The training's options, checked.
        settings: The preset with what was set.
        device: Where to compute.
        say: Called with a line when a stage begins.
        start: ``time.monotonic()`` at the start, which the minutes count from.
        deterministic: As for ``xscale.train``, like ``use_repaired``.
        use_repaired: Whether photos that were left out earlier are used again.
    """

    def __init__(
        self,
        scene: Scene,
        request: Request,
        settings: Settings,
        device: torch.device,
        say: Callable[[str], None],
        *,
        start: float,
        deterministic: bool,
        use_repaired: bool,
    ) -> None:
        self.folder = RunFolder(request.out)
        self.begun = request.resume and not self.folder.never_begun()
        """Whether the run is in the folder already."""
        if self.begun:
            scene = as_begun(scene, self.folder.path, use_repaired)
        self.scene = scene
        self.request = request
        self.settings = settings
        self.device = device
        self.say = say
        self._start = start
        self._deterministic = deterministic
        self._use_repaired = use_repaired

    def prepare(
        self, test_every: int | None, test_list: str | Path | None, allow_leak: bool
    ) -> None:
        """Look at the scene, and make or load everything that the first step needs.

        Args:
            test_every: As for ``xscale.train``, like the others.
            test_list: File with the names of the held-out photos.
            allow_leak: Whether test photos may be training photos too.
        """
        scene, request, chosen = self.scene, self.request, self.settings
        out = self.folder.path
        split = scene.split(test_every=test_every, test_list=test_list)
        self.say("looking at the scene")
        check_leaks(scene.photos, split.test, allow_leak, self.say)
        if not self.begun:
            self.say(quick_check(scene))
        # The run's own mesh is mapped, clusters and all; that it is the scene's is checked below.
        held = Run.open(out, str(self.device)).mesh if self.begun else None
        prepared = prepare(
            scene,
            split,
            chosen,
            request.downscale,
            request.seed,
            request.preset,
            self.device,
            held,
            self.folder.manifest.run if self.begun else None,
        )
        checkpoint = newest_checkpoint(prepared, out, self.say) if self.begun else None
        self.left_out = LeftOutPhotos(scene, self.say)
        if checkpoint is None:
            check_test_photos(scene, split, request.downscale)
        elif not self._use_repaired:
            self.left_out.take_up(checkpoint.state.get("left_out", {}))
        self._as_it_came = prepared, prepared.cameras.clone()
        self._returns = 0 if checkpoint is None else returns_of(checkpoint)
        self._goal_before = None if checkpoint is None else checkpoint.state.get("goal")
        self._take_up(checkpoint)
        self._noted = self._say_notes(())
        self._check_room()
        # Only now: damage inside the first photos shows when they are decoded.
        if not self.begun and not request.resume:
            new_folder(out)
        self.record = self._record(prepared.surface, trained=checkpoint is not None)
        self.record.write()

    def _check_room(self) -> None:
        """Refuse a training whose checkpoints the disk cannot hold.

        Raises:
            StorageError: It has not the room for two, and for the next while it is written.
        """
        needed = _CHECKPOINTS * self.trainer.state_bytes()
        free = free_bytes(self.folder.path)
        if free is not None and needed > free:
            raise StorageError(
                f"the checkpoints take {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free",
                where=self.folder.path,
                advice="choose another folder, or a smaller --set model.grid.log2_table_size",
            )

    def run(
        self,
        goal: Goal,
        on_progress: Callable[[Progress], None] | None,
        source_photos: bool,
    ) -> Run:
        """Train to the goal, write what belongs beside the checkpoints, open the run.

        Args:
            goal: When to stop.
            on_progress: Called every two seconds.
            source_photos: Whether the run keeps the training photos.
        """
        folder, out = self.folder, self.folder.path
        with self.record.withdrawn_on_damage(), RunLock(out) as lock:
            folder.lock = lock
            folder.clean()
            self.left_out.log_to(folder, lambda: self.trainer.step)
            million = self.prepared.covered_pixels / 1e6
            self.say(f"training on about {million:.3g} million covered pixels")
            goal = goal.at_most(self.settings.optim, self.prepared.covered_pixels)
            seconds = self._train_to(goal, on_progress)
            if goal.had_enough(self.trainer.step):
                self.say(enough(self.settings.optim.visits, seconds))
            self._say_notes(self._noted)
            timing = timing_of(self.trainer, self._before, seconds)
            self.say(f"where the time went: {shares_of(timing)}")
            line = {"step": self.trainer.step, "time": round(seconds, 3)}
            folder.log({**line, "where_time_went": timing})
            if source_photos:
                self.say("keeping the training photos")
                made = Run.open(out, str(self.device))
                made.write_source_photos(lambda name: self.scene.photo(name).load(made.downscale))
        return Run.open(out)

    def _take_up(self, checkpoint: Checkpoint | None) -> None:
        """Make everything that moves as a checkpoint has it, or as at the beginning."""
        prepared, cameras = self._as_it_came
        prepared.cameras.copy_(cameras)
        self.refinement = _refinement(prepared, self.settings.refine, checkpoint, self.left_out)
        self.prepared = replace(prepared, surface=self.refinement.surface)
        self._make_trainer(checkpoint)

    def _make_trainer(self, checkpoint: Checkpoint | None) -> None:
        """Make model, pool and trainer; of a run that goes on they are as it was saved."""
        prepared, chosen = self.prepared, self.settings
        model = new_model(prepared.manifest, self.device, surface=prepared.surface)
        if not self.begun:
            model.field.begin(self.say)
        self.say("filling the tile pool")
        self.pool = TilePool(
            prepared.surface,
            prepared.photos,
            chosen.pool,
            self.request.seed + (self._returns << 32),  # other rays after a return
            chosen.optim.batch,
            first_step=checkpoint.step if checkpoint else 0,
            device=pool_device(self.device, chosen.pool),
            left_out=self.left_out.reasons,
            on_damage=self.left_out.add,
        )
        self.trainer = Trainer(
            model,
            self.pool,
            prepared.cameras,
            chosen.optim,
            chosen.patch,
            jitter=prepared.jitter,
            deterministic=self._deterministic,
            on_notice=self.say,
        )
        self.trainer.kept_beside = self.refinement.tensors
        self.trainer.rate_factor = RATE_FACTOR**self._returns
        self._before = time.monotonic() - self._start
        if checkpoint is not None:
            self.trainer.load(checkpoint.step, checkpoint.tensors)
            self._before = checkpoint.state["seconds"]

    def _record(self, mesh: Surface, *, trained: bool) -> Record:
        return Record(
            self.prepared,
            mesh,
            self.left_out,
            self.folder.path,
            self.request.seed,
            begun=self.begun,
            trained=trained,
        )

    def _train_to(self, goal: Goal, on_progress: Callable[[Progress], None] | None) -> float:
        """Take the steps, from an earlier checkpoint again where they diverge; return the seconds.

        Raises:
            NumericsError: They diverge after every return too.
        """
        self._goal = goal
        self._say_goal()
        start = time.monotonic() - self._before
        while True:
            try:
                return self._train(goal, on_progress)
            except NumericsError as error:
                self._return(error)
                self._before = time.monotonic() - start

    def _return(self, error: NumericsError) -> None:
        """Go back to the newest checkpoint, or to the beginning, with lower rates and other rays.

        Raises:
            NumericsError: That was done often enough.
        """
        report = report_of(error, self.trainer.step, self.trainer.state(copy=False))
        with suppress(StorageError):
            self.folder.write_divergence(report)
        if self._returns >= MOST_RETURNS:
            raise stopped_for_good(error, self._returns) from error
        checkpoint, _ = self.folder.load_newest(None)
        self._returns += 1
        step = 0 if checkpoint is None else checkpoint.step
        self._remark(
            f"W-NUMERICS: {error.what}: back to step {step}, with {RATE_FACTOR**self._returns:g} "
            "of the learning rates"
        )
        self._take_up(checkpoint)

    def _remark(self, line: str) -> None:
        """Say a coded line, and keep it in the manifest, where scores and report find it."""
        self.say(line)
        self.record.remark(line)

    def _state(self) -> dict:
        """Return what checkpoints keep beside tensors."""
        state: dict = {"left_out": dict(self.left_out.reasons), "goal": str(self._goal)}
        return state | ({"returns": self._returns} if self._returns else {})

    def _say_goal(self) -> None:
        """Say what a resumed training's goal changes, and what other versions may."""
        if self.begun:
            ours, theirs = self.prepared.manifest.versions, self.folder.manifest.versions
            changed = [
                f"{name} {theirs[name]} -> {ours[name]}"
                for name in theirs
                if name in ours and ours[name] != theirs[name]
            ]
            if changed:
                self._remark(f"W-VERSIONS: the last bits may differ: {', '.join(changed)}")
        step, before = self.trainer.step, self._goal_before
        if self._goal.share(step, self._before) >= 1:
            self.say(f"all {self._goal} are already done")
        elif before is not None and before != str(self._goal):
            self._remark(
                f"W-SCHEDULE: learning rates follow {self._goal} from here on; before it was "
                f"{before}"
            )

    def _train(self, goal: Goal, on_progress: Callable[[Progress], None] | None) -> float:
        """Take the steps; return the training time in seconds."""
        preview = previewer(self.prepared, self.trainer, self.folder, self.record.background)
        board = Board(self.folder.tensorboard) if self.request.tensorboard else None
        probe = HardwareProbe(self.trainer, self._remark)

        def begun() -> None:
            memory.give_back()  # what the preparation and the first step freed
            self.record.start_background()

        def before_save() -> None:
            probe.check()
            self.record.complete()
            memory.give_back()  # what the background took aside

        try:
            seconds = run_loop(
                self.trainer,
                self.folder,
                goal,
                StepWatch(self._remark),
                self._remark,
                seconds_before=self._before,
                on_progress=on_progress,
                on_preview=preview and partial(preview, board=board),
                on_log=board.line if board else lambda line: None,
                on_begun=begun,
                before_save=before_save,
                state=self._state,
                before_step=self._refine,
            )
            for line in self.refinement.report(self.folder.refined_file):
                self.say(line)
            shader = self.trainer.model.settings.shader
            if shader.kind == "relu" and shader.exposure == "affine":
                self.record.refit_background(self.trainer.model.shader.exposure)
            residuals = vertex_residuals(self.trainer).cpu().numpy()
            self.folder.write(RESIDUALS, {"residual": residuals}, self.folder.manifest.run)
        finally:
            self.pool.close()
            if board is not None:
                board.close()
        return seconds

    def _refine(self, share: float) -> None:
        """Move cameras and mesh where that is due."""
        if self.refinement.due(share):
            self.record.finish_background()  # which is fitted to them as they came
            start = time.perf_counter()
            self.refinement.refine(self.trainer)
            self.trainer.seconds["refinement"] += time.perf_counter() - start

    def _say_notes(self, known: Sequence[str]) -> list[str]:
        """Say what decoding photos brought to light and is not known yet; return all of it."""
        lines = self.scene.notes.lines()
        for line in lines:
            if line not in known:
                self.say(line)
        return lines


def _refinement(
    prepared: Prepared,
    settings: RefineSettings,
    checkpoint: Checkpoint | None,
    left_out: LeftOutPhotos,
) -> Refinement:
    """Return what moves cameras and mesh; they are moved already where a run goes on."""
    manifest = prepared.manifest
    refinement = Refinement(
        settings,
        prepared.surface,
        [prepared.scene.photo(name) for name in manifest.split.train],
        prepared.local_cameras,
        prepared.cameras,
        manifest.scene.downscale,
        left_out.reasons,
        left_out.add,
    )
    if checkpoint is not None:
        refinement.load(checkpoint.tensors)
    return refinement

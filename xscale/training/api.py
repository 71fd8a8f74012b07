"""train: the one entry to training, for the command line and for Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from xscale import ops
from xscale.config import override
from xscale.errors import InputError, OutputExistsError, UsageError
from xscale.io.checkpoints import Checkpoint
from xscale.io.run_lock import RunLock
from xscale.io.storage import new_folder
from xscale.model.encodings import TextureField
from xscale.model.model import Model
from xscale.render.run import Run, new_model
from xscale.run.folder import RESIDUALS, RunFolder
from xscale.scene.checks.duplicates import check_leaks
from xscale.scene.scene import Scene
from xscale.training.board import Board, require_tensorboard
from xscale.training.left_out import LeftOutPhotos, check_test_photos
from xscale.training.loop import Goal, Progress, run_loop
from xscale.training.memory import pool_device
from xscale.training.pool import TilePool
from xscale.training.prepare import Prepared, prepare
from xscale.training.preview import previewer
from xscale.training.record import Record
from xscale.training.refine import Refinement
from xscale.training.residuals import vertex_residuals
from xscale.training.resume import as_begun, newest_checkpoint
from xscale.training.settings import RefineSettings, Settings
from xscale.training.settings import preset as preset_named
from xscale.training.trainer import Trainer, trains_fused


def train(
    scene: Scene,
    *,
    out: str | Path,
    preset: str = "default",
    minutes: float | None = None,
    steps: int | None = None,
    downscale: float = 1,
    test_every: int | None = None,
    test_list: str | Path | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    deterministic: bool = False,
    allow_leak: bool = False,
    requarantine: bool = False,
    tensorboard: bool = False,
    photos_at_render: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Run:
    """Train a scene into a run folder.

    Args:
        scene: An opened scene.
        out: The run folder; must not exist or be empty, unless ``resume``.
        preset: Name of the settings to start from.
        minutes: Stop after this much time, preparation included. With neither this nor ``steps``:
            10 minutes.
        steps: Stop after this many steps; a resumed run then ends with the same bits.
        downscale: Factor by which photos are reduced (exact area average).
        test_every: Photos 0, N, 2N, ... are held out; default 7 above 14 photos, else 4.
        test_list: File with the names of the held-out photos; wins.
        seed: Of the initial weights and of the rays.
        settings: Assignments like "optim.batch=65536".
        resume: Go on with the run in ``out``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        deterministic: Whether a GPU's result must repeat to the last bit on the same kind of GPU,
            at the price of slower sums and more memory. The CPU's always does.
        allow_leak: Whether test photos may be training photos too, under another name.
        requarantine: Whether a resumed run may use photos again that it left out because they
            could not be decoded; its bits are then not those of a run that went through.
        tensorboard: Whether to write event files into ``out/tensorboard`` too.
        photos_at_render: Whether the run keeps the training photos, so that it can be rendered with
            them: ``Run.open(out, photos_at_render=True)``.
        on_progress: Called every two seconds with a ``Progress``.
        on_stage: Called with a line when a stage begins.

    Returns:
        The run, opened for rendering.

    Raises:
        UsageError: Settings make no sense, or the run to resume has others.
        DeviceError: The device is not there or cannot train.
        SetupError: ``tensorboard`` or ``patch.features`` was asked for and is not there.
        OutputExistsError: ``out`` holds something and ``resume`` was not asked for.
        ListError: A test photo is a training photo too.
        PhotoError: A test photo is damaged, or too many photos are; a few damaged training photos
            are left out, said by ``on_stage`` and listed in the manifest, or in metrics.jsonl where
            they were found later.
        InterruptedRunError: SIGINT or SIGTERM came; a checkpoint was written first.
    """
    start = time.monotonic()
    folder = RunFolder(out)
    out = folder.path
    say = on_stage or (lambda line: None)
    goal = _goal(minutes, steps)
    where = ops.pick_device(device, say)
    if tensorboard:
        require_tensorboard()
    chosen = override(preset_named(preset), list(settings))
    if deterministic and where.type != "cpu":
        _check_deterministic(chosen, where)
    _check_output(folder, resume)
    begun = resume and not folder.never_begun()
    scene = as_begun(scene, out, requarantine) if begun else scene
    split = scene.split(test_every=test_every, test_list=test_list)
    say("looking at the scene")
    check_leaks(scene.photos, split.test, allow_leak, say)
    # The run's own mesh is mapped, clusters and all; that it is the scene's is checked below.
    held = Run.open(out, str(where)).mesh if begun else None
    known = folder.manifest.run if begun else None
    prepared = prepare(scene, split, chosen, downscale, seed, preset, where, held, known)
    checkpoint = newest_checkpoint(prepared, out, say) if begun else None
    left_out = LeftOutPhotos(scene, say)
    if checkpoint is None:
        check_test_photos(scene, split, downscale)
    elif not requarantine:
        left_out.take_up(checkpoint.state.get("left_out", {}))
    refinement = _refinement(prepared, chosen.refine, checkpoint, left_out)
    mesh = prepared.surface
    prepared = replace(prepared, surface=refinement.surface)
    model = new_model(prepared.manifest, where, surface=prepared.surface)
    _lay_out(model, begun, say)
    say("filling the tile pool")
    pool = TilePool(
        prepared.surface,
        prepared.photos,
        chosen.pool,
        seed,
        chosen.optim.batch,
        first_step=checkpoint.step if checkpoint else 0,
        device=pool_device(where, chosen.pool),
        left_out=left_out.reasons,
        on_damage=left_out.add,
    )
    trainer = Trainer(
        model,
        pool,
        prepared.cameras,
        chosen.optim,
        chosen.patch,
        deterministic=deterministic,
        on_notice=say,
    )
    trainer.kept_beside = refinement.tensors
    before = time.monotonic() - start
    if checkpoint is not None:
        trainer.load(checkpoint.step, checkpoint.tensors)
        before = checkpoint.state["seconds"]
    noted = _say_notes(scene, (), say)
    # Only now: damage inside the first photos shows when they are decoded.
    if not begun and not resume:
        new_folder(out)
    record = Record(
        prepared, mesh, left_out, out, seed, begun=begun, trained=checkpoint is not None
    )
    record.write()
    preview = previewer(prepared, trainer, folder, record.background)
    with record.withdrawn_on_damage(), RunLock(out):
        folder.clean()
        left_out.log_to(folder, lambda: trainer.step)
        say(f"training on about {prepared.covered_pixels / 1e6:.3g} million covered pixels")
        board = Board(folder.tensorboard) if tensorboard else None
        try:
            seconds = run_loop(
                trainer,
                folder,
                goal,
                seconds_before=before,
                on_progress=on_progress,
                on_preview=preview and partial(preview, board=board),
                on_log=board.line if board else None,
                on_begun=record.start_background,
                before_save=record.complete,
                left_out=left_out.reasons,
                before_step=partial(_refine, refinement, trainer, record),
            )
            for line in refinement.report(out):
                say(line)
            residuals = vertex_residuals(trainer).cpu().numpy()
            folder.write(RESIDUALS, {"residual": residuals}, folder.manifest.run)
        finally:
            pool.close()
            if board is not None:
                board.close()
        _say_notes(scene, noted, say)
        timing = _timing(trainer, pool, before, seconds)
        say(f"where the time went: {_shares(timing)}")
        folder.log({"step": trainer.step, "time": round(seconds, 3), "where_time_went": timing})
        made = Run.open(out, str(where))
        _keep_photos(made, scene, photos_at_render, say)
    return Run.open(out)


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


def _refine(refinement: Refinement, trainer: Trainer, record: Record, share: float) -> None:
    """Move cameras and mesh where that is due."""
    if refinement.due(share):
        record.finish_background()  # which is fitted to them as they came
        start = time.perf_counter()
        refinement.refine(trainer)
        trainer.seconds["refinement"] += time.perf_counter() - start


def _keep_photos(run: Run, scene: Scene, wanted: bool, say: Callable[[str], None]) -> None:
    """Put the training photos into a run that is to be rendered with them."""
    if wanted:
        say("keeping the training photos")
        run.keep_photos(lambda name: scene.photo(name).load(run.downscale))


def _lay_out(model: Model, begun: bool, say: Callable[[str], None]) -> None:
    """Make the charts of a texture of features; a run that goes on has them."""
    if isinstance(model.field, TextureField) and not begun:
        say("laying out charts")
        model.field.unwrap()


def _check_deterministic(settings: Settings, device: torch.device) -> None:
    """Refuse what has no deterministic steps on a GPU."""
    if not trains_fused(settings.optim, device, settings.model):
        raise UsageError(
            "--deterministic on a GPU needs steps that fused_step takes",
            advice="leave optim.dense_table, optim.robust, model.encoding and model.shader.latent "
            "as they are, or use --device cpu",
        )
    if settings.optim.precision == "mixed":
        raise UsageError(
            "--deterministic on a GPU does not go with optim.precision=mixed",
            advice="leave one of them out",
        )
    if settings.patch.share:
        raise UsageError(
            "--deterministic on a GPU does not go with patch.share",
            advice="leave one of them out, or use --device cpu",
        )


def _timing(trainer: Trainer, pool: TilePool, before: float, seconds: float) -> dict[str, float]:
    """Return what the seconds since the start went to; steps wait for tiles inside the draw."""
    spent = {"preparation and earlier": before, **trainer.seconds}
    spent["draw"] = max(spent.get("draw", 0.0) - pool.seconds_waited, 0.0)
    spent["waiting for tiles"] = pool.seconds_waited
    spent["everything else"] = max(seconds - sum(spent.values()), 0.0)
    return {name: round(value, 3) for name, value in spent.items()}


def _shares(timing: dict[str, float]) -> str:
    """Write times as people read them: longest first, each with its share."""
    total = max(sum(timing.values()), 1e-9)
    ordered = sorted(timing.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:.1f} s ({value / total:.0%})" for name, value in ordered)


def _check_output(folder: RunFolder, resume: bool) -> None:
    """Refuse before any work what would be refused after it."""
    out = folder.path
    if resume and not folder.is_run() and not folder.never_begun():
        raise InputError("holds no run to resume", where=out, advice="leave --resume out")
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            "already exists", where=out, advice="choose another folder, or --resume"
        )


def _goal(minutes: float | None, steps: int | None) -> Goal:
    """Return when to stop."""
    if minutes is not None and steps is not None:
        raise UsageError("--minutes and --steps exclude each other", advice="give one of them")
    return Goal(steps, None if steps is not None else 60 * (10.0 if minutes is None else minutes))


def _say_notes(scene: Scene, known: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """Say what decoding photos brought to light and is not known yet; return all of it."""
    lines = scene.notes.lines()
    for line in lines:
        if line not in known:
            say(line)
    return lines

"""train: the one entry to training, for the command line and for Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from xscale import ops
from xscale.render.run import Run
from xscale.scene.scene import Scene
from xscale.training.loop import Progress
from xscale.training.request import Request
from xscale.training.session import Session
from xscale.training.steps import check_deterministic


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
    use_repaired: bool = False,
    tensorboard: bool = False,
    source_photos: bool = False,
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
        test_every: Photos 0, N, 2N, ... are held out; 0: none; default 7 above 14, else 4.
        test_list: File with the names of the held-out photos; wins.
        seed: Seed of the initial weights and of the rays.
        settings: Assignments like "optim.batch=65536".
        resume: Go on with the run in ``out``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        deterministic: Whether a GPU's result must repeat to the last bit on the same kind of GPU,
            at the price of slower sums and more memory. The CPU's always does.
        allow_leak: Whether test photos may be training photos too, under another name.
        use_repaired: Whether a resumed run may use photos again that it left out because they
            could not be decoded; its bits are then not those of a run that went through.
        tensorboard: Whether to write event files into ``out/tensorboard`` too.
        source_photos: Whether the run keeps the training photos, so that it can be rendered with
            them: ``Run.open(out, source_photos=True)``.
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
    say = on_stage or (lambda line: None)
    request = Request(
        out=out,
        preset=preset,
        minutes=minutes,
        steps=steps,
        downscale=downscale,
        seed=seed,
        settings=settings,
        resume=resume,
        device=device,
        tensorboard=tensorboard,
    )
    chosen, goal = request.check()
    where = ops.pick_device(device, say)
    if deterministic and where.type != "cpu":
        check_deterministic(chosen, where)
    session = Session(
        scene,
        request,
        chosen,
        where,
        say,
        start=start,
        deterministic=deterministic,
        use_repaired=use_repaired,
    )
    session.prepare(test_every, test_list, allow_leak)
    return session.run(goal, on_progress, source_photos)

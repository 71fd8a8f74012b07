"""``xscale train``: a run from a scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from xscale.cli._ahead import importing
from xscale.cli._console import parse, progress_bar, result, say, warn
from xscale.cli._scene import SceneArguments

if TYPE_CHECKING:
    from xscale.render.run import Run
    from xscale.scene.scene import Scene
    from xscale.training.loop import Progress
    from xscale.training.request import Request


Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Options(SceneArguments):
    """Learn the look of a scene from its photos; the result is a run folder, for xscale render."""

    out: Path
    """The run folder to make."""
    preset: str = "default"
    """Settings to start from."""
    device: str = "auto"
    """Device to compute on; auto takes the GPU if this build can train on it."""
    rasterizer: str = "auto"
    """Rasterizer: auto, xscale, or nvdiffrast if it is installed (GPU only)."""
    encoding: str = "auto"
    """Hash grid lookup: auto, xscale, or tcnn (tiny-cuda-nn, GPU only)."""
    deterministic: bool = False
    """On a GPU: make results repeat to the last bit, with slower steps. The CPU's always repeat."""
    minutes: float | None = None
    """Stop after this many minutes, preparation included; default: 10, unless --steps is given."""
    steps: int | None = None
    """Stop after this many steps instead of minutes; a resumed run then ends with the same bits."""
    downscale: float = 1.0
    """Reduce the photos by this factor (exact area average)."""
    test_every: int | None = None
    """Hold out photos 0, N, 2N, ... for scoring; 0 holds out none; default: 7 for more than 14
    photos, else 4."""
    test_list: Path | None = None
    """File with the names of the photos to hold out, one a line."""
    seed: int = 0
    """Seed of the initial weights and of the rays."""
    background: Literal["auto", "learned", "white"] | None = None
    """Background of pixels that the mesh does not cover: learned from the photos, or white. auto
    learns it if the photos see more than the mesh and have no masks. Short for --set
    model.background=..."""
    set: Annotated[list[str], tyro.conf.arg(metavar="KEY=VALUE ...")] = field(default_factory=list)
    """Change single settings, for example --set optim.batch=65536 model.grid.levels=12."""
    allow_leak: bool = False
    """Train even if test photos are also training photos under another name."""
    resume: bool = False
    """Continue the run in the --out folder."""
    use_repaired: bool = False
    """With --resume: use photos that were left out as damaged and have been repaired since."""
    source_photos: bool = False
    """Keep the training photos in the run. xscale render and score --source-photos then correct
    colours with them. With --resume they are added to an existing run."""
    tensorboard: bool = False
    """Also write TensorBoard event files into RUN/tensorboard."""
    settings: bool = False
    """List the settings that --set takes, with type, default and meaning, and train nothing."""


def run(argv: list[str]) -> int:
    """Parse the options and train."""
    if "--settings" in argv:
        return _list_settings(argv)
    options = parse(Options, argv, "train")
    # What would be refused later is refused before the scene is opened and PyTorch is loaded.
    request = _request(options)
    request.check()
    from xscale.io.photo.decode_apart import start_ahead

    # The processes that decode photos start while this one loads PyTorch.
    start_ahead()
    with importing("xscale.training.api"):
        scene = options.open()
        if not options.resume:
            from xscale.training.ahead import look_ahead

            look_ahead(
                scene,
                test_every=options.test_every,
                test_list=options.test_list,
                downscale=options.downscale,
            )
    from xscale import ops

    if not ops.built():
        warn("W-SETUP: the compiled module is missing: the slow PyTorch references run")
    for warning in scene.warnings:
        warn(warning)
    say(
        f"{options.scene}: {len(scene.photos)} photos ({scene.layout}), "
        f"{len(scene.mesh.faces):,} faces; {ops.isa()} kernels",
    )
    with ops.use_peers(options.rasterizer, options.encoding):
        made = train_with_bar(
            scene,
            **vars(request),
            test_every=options.test_every,
            test_list=options.test_list,
            deterministic=options.deterministic,
            allow_leak=options.allow_leak,
            use_repaired=options.use_repaired,
            source_photos=options.source_photos,
        )
    result(made.path)
    say(f"next: xscale score {made.path}")
    return 0


def _assignments(options: Options) -> list[str]:
    """Return the settings that were given, by --set and by options of their own."""
    if options.background is None:
        return options.set
    return [*options.set, f"model.background={options.background}"]


def _request(options: Options) -> Request:
    """Return what the options ask for, but for what only an opened scene can answer."""
    from xscale.training.request import Request

    return Request(
        out=options.out,
        preset=options.preset,
        minutes=options.minutes,
        steps=options.steps,
        downscale=options.downscale,
        seed=options.seed,
        settings=_assignments(options),
        resume=options.resume,
        device=options.device,
        tensorboard=options.tensorboard,
    )


@dataclass(frozen=True)
class _Listing:
    """List the settings of a preset: what --set takes, with type, default and meaning."""

    preset: str = "default"
    """Preset whose values are shown."""
    set: Annotated[list[str], tyro.conf.arg(metavar="KEY=VALUE ...")] = field(default_factory=list)
    """Settings to change in the list too."""
    settings: bool = False
    """This list."""


def _list_settings(argv: list[str]) -> int:
    """Print every setting with its type, its value in the preset and its meaning."""
    import textwrap

    from xscale.config import list_settings, override
    from xscale.training.settings import preset

    known = {"--preset", "--set"}
    # Other options of a training do not change the list.
    kept: list[str] = ["--settings"]
    for at, word in enumerate(argv):
        if word.partition("=")[0] in known:
            kept.append(word)
            for value in argv[at + 1 :]:
                if value.startswith("--"):
                    break
                kept.append(value)
    options = parse(_Listing, kept, "train")
    for setting in list_settings(override(preset(options.preset), options.set)):
        result(f"{setting.key}  {setting.kind}  (default: {_shown(setting.value)})")
        result(textwrap.indent(textwrap.fill(setting.meaning, 84), "    "))
    return 0


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def train_with_bar(scene: Scene, **options: object) -> Run:
    """Train with a progress bar; the options are those of ``xscale.train``."""
    from xscale.training.api import train

    return with_bar(partial(train, scene, **options))


def with_bar(work: Callable[..., Result]) -> Result:
    """Do something that trains, its ``on_progress`` shown as a bar, its ``on_stage`` as lines."""
    with progress_bar() as bar:
        task = bar.add_task("training", total=1.0)

        def show(progress: Progress) -> None:
            text = (
                f"step {progress.step}  loss {progress.loss:.4f}  PSNR {progress.psnr:.2f} dB  "
                f"{progress.rays_per_second / 1e6:.2f} Mrays/s"
            )
            bar.update(task, completed=progress.share, description=text)

        return work(on_progress=show, on_stage=say)

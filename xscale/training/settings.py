"""Training settings and the presets. Every field is read by the code."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from xscale.errors import ConfigError
from xscale.model.settings import GridSettings, ModelSettings, ShaderSettings


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """How the weights move."""

    batch: int = 32768
    """Rays a step."""
    visits: float = 400.0
    """How often a training of so many minutes takes each covered pixel of its photos at most, on
    average: that more helps was never measured. 0 sets no limit; --steps has none."""
    loss: Literal["l1", "charbonnier", "l2"] = "l1"
    """Distance between colour and photo, in sRGB."""
    robust: float = 0.0
    """Mean distance from the photo, in sRGB, at which a ray counts half: what moved, or stands
    before a mesh that lacks it, is then not averaged in (steps are slower); 0 counts all alike."""
    table_rate: float = 1e-2
    """Learning rate of the hash grid at its peak."""
    shader_rate: float = 1e-2
    """Learning rate of the shader at its peak."""
    exposure_rate: float = 1e-3
    """Learning rate of the photos' exposures at its peak."""
    warmup: float = 0.01
    """Share of the training in which rates rise from nothing."""
    final_rate: float = 0.01
    """Rates fall along a cosine to this share of their peak."""
    exposure_prior: float = 1e-2
    """Pull of the exposures towards the identity."""
    direction_decay: float = 0.004
    """Share of themselves that the shader's weights of the view direction lose at most at a step
    (relu). Where the mesh lacks much, photos are otherwise learned by heart one by one."""
    direction_error: float = 0.001
    """Mean squared error of a batch from which on all of direction_decay is taken; below it less,
    by the cube: where mesh and photos agree, what changes with the view is there to be learned."""
    jitter_after: float = 20.0
    """Visits of each covered pixel after which rays begin to move (the two settings below); after
    as many more they move as far as set. Before, moves would only blur."""
    pixel_jitter: float = 0.5
    """Edge of the square, in pixels, in which steps move each ray around its pixel's centre: what
    lies between the centres is learned too, and not left to chance."""
    direction_jitter: float = 0.25
    """Standard deviation by which steps turn each view direction, in units of the angle between
    its photo and the next one: what lies between photos is learned too."""
    beta1: float = 0.9
    """Decay of Adam's running mean."""
    beta2: float = 0.99
    """Decay of Adam's running mean square."""
    table_epsilon: float = 1e-15
    """Adam's epsilon for the hash grid."""
    precision: Literal["float32", "mixed"] = "float32"
    """Precision of a GPU's fused steps: mixed multiplies half floats in the shader and sums half
    floats for the table's rows; weights, sums and moments stay float32, and loss scaling keeps the
    gradients in range."""
    graph: bool = True
    """Whether a GPU's fused steps are recorded once as a CUDA graph and played again."""
    dense_table: bool = False
    """Whether every row of the table moves at every step (PyTorch's rule, published) or only those
    that have gradient."""

    def rate(self, progress: float) -> float:
        """Return the share of the peak rates: linear warm-up, then a cosine."""
        if progress < self.warmup:
            return max(progress / self.warmup, 0.01)
        along = (min(progress, 1.0) - self.warmup) / (1 - self.warmup)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * along))

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"optim.batch must be at least 1, got {self.batch}")
        for name in ("table_rate", "shader_rate", "exposure_rate", "final_rate", "exposure_prior"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"optim.{name} must be 0 or more and below 1, got {getattr(self, name)}"
                )
        if self.table_epsilon <= 0:
            raise ConfigError(f"optim.table_epsilon must be above 0, got {self.table_epsilon}")
        for name in ("robust", "visits", "pixel_jitter", "direction_jitter", "jitter_after"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.direction_decay < 1:
            raise ConfigError(
                f"optim.direction_decay must be 0 or more and below 1, got {self.direction_decay}"
            )
        if self.direction_error <= 0:
            raise ConfigError(f"optim.direction_error must be above 0, got {self.direction_error}")


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """The pool of photo tiles from which rays are drawn."""

    tile: int = 256
    """Edge of a tile in pixels, at most 256."""
    budget_mb: int = 2048
    """Memory for tiles; if all fit, nothing is ever replaced."""
    run: int = 1
    """Pixels that a draw takes together, neighbours along a space-filling curve: rows of the table
    are then shared within a step, which makes steps faster; 1 draws every pixel for itself."""
    draw: Literal["even", "random"] = "even"
    """Which pixels a step takes: even visits all about equally often, as the published training
    does; random draws every step afresh, and misses some by chance."""
    edges: float = 1.0
    """Share of the pixels that straddle an edge, where the surface breaks off, that are drawn from:
    they show two things at once; 1 draws from all, 0 from none."""
    refresh_steps: int = 16
    """Steps between replacements of the oldest tiles."""
    refresh_ratio: float = 1.0
    """Pixels that enter the pool for each ray drawn, where not all fit: what is decoded then keeps
    pace with what is learned."""

    def __post_init__(self) -> None:
        if not 16 <= self.tile <= 256:
            raise ConfigError(f"pool.tile must be 16 to 256, got {self.tile}")
        for name in ("budget_mb", "run", "refresh_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"pool.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.edges <= 1:
            raise ConfigError(f"pool.edges must be 0 to 1, got {self.edges}")
        if self.refresh_ratio <= 0:
            raise ConfigError(f"pool.refresh_ratio must be above 0, got {self.refresh_ratio}")


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """The last stage: squares of photos in place of single pixels, so that structure counts."""

    share: float = 0.0
    """Last share of the training that draws squares; 0 leaves the stage out."""
    size: int = 32
    """Edge of a square in pixels; at most a tile's."""
    colour: float = 1.0
    """Weight of the pixels' own loss (`optim.loss`)."""
    ssim: float = 0.2
    """Weight of 1 - SSIM."""
    features: float = 0.0
    """Weight of the distance between features of a network trained on photographs; needs the
    weights that scoring uses (docs/scoring.md)."""
    network: Literal["vgg", "alex"] = "vgg"
    """Which network gives the features."""
    features_every: int = 4
    """One square in so many is compared by its features, which take most of a step's time."""
    rate: float = 1.0
    """Factor of the learning rates in this stage."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"patch.share must be 0 to 1, got {self.share}")
        for name in ("colour", "ssim", "features", "rate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"patch.{name} must be 0 or more, got {getattr(self, name)}")
        if not 16 <= self.size <= 256:
            raise ConfigError(f"patch.size must be 16 to 256, got {self.size}")
        if self.features_every < 1:
            raise ConfigError(f"patch.features_every must be at least 1, got {self.features_every}")
        if self.features and self.size < 32:
            raise ConfigError(f"patch.features needs patch.size of 32 or more, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class RefineSettings:
    """Whether cameras and mesh may move while the scene is learned."""

    cameras: Literal["off", "pose", "all"] = "off"
    """Parts of cameras that may move: none, pose, or also the focal length and principal
    point of a camera that took at least 4 photos. Cameras of test photos stay as they are."""
    surface: Literal["off", "learned"] = "off"
    """Whether the mesh's vertices may move along their normals; the run keeps by how much, and the
    mesh as it was."""
    rounds: int = 5
    """How often all photos are compared with the model's pictures, between 25 and 70 % of the
    training; each takes about as long as decoding and rendering them."""
    prior: float = 1.0
    """Pixels by which cameras are expected to be off; photos that say little move less."""
    most: float = 8.0
    """Pixels; a camera that would have to move its picture by more is left where it is, and
    named."""
    reach: float = 1.0
    """How far a vertex may move, in units of its edges' mean length."""
    slope: float = 0.3
    """By what share of an edge's length the moves of its ends are expected to differ."""

    def __post_init__(self) -> None:
        for name in ("rounds", "prior", "most", "reach", "slope"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"refine.{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a training; the outcome stands in the run's manifest."""

    model: ModelSettings = field(default_factory=ModelSettings)
    """Grid and shader."""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """Optimizer and schedule."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    """Tile pool."""
    patch: PatchSettings = field(default_factory=PatchSettings)
    """The last stage."""
    refine: RefineSettings = field(default_factory=RefineSettings)
    """Refinement of cameras and mesh."""

    def __post_init__(self) -> None:
        if self.patch.share and self.patch.size > self.pool.tile:
            raise ConfigError(
                f"patch.size ({self.patch.size}) must be at most pool.tile ({self.pool.tile})"
            )


# The published configuration (XScale-NVS, CVPR 2024, and its released code). Its step has up to
# 1.57 M rays, which a CPU takes for many seconds; at an equal number of rays smaller steps only
# favour it, so ours has 65,536: --set optim.batch=1572864 is the published step.
PAPER = Settings(
    model=ModelSettings(
        photo_range=256,
        background="white",
        sides="both",
        grid=GridSettings(
            levels=16,
            features_per_level=8,
            log2_table_size=22,
            coarsest_resolution=16,
            per_level_scale=1.4768261459394993,
            interpolation="smoothstep",
            per_axis_box=True,
            footprint_scale=0.0,
        ),
        shader=ShaderSettings(kind="film", exposure="code"),
    ),
    optim=OptimSettings(
        batch=65536,
        visits=0.0,
        table_rate=2e-4,
        shader_rate=2e-4,
        exposure_rate=2e-4,
        warmup=0.0,
        final_rate=1.0,
        exposure_prior=0.0,
        direction_decay=0.0,
        pixel_jitter=0.0,
        direction_jitter=0.0,
        beta2=0.999,
        table_epsilon=1e-8,
        dense_table=True,
    ),
)

PRESETS: dict[str, Settings] = {"default": Settings(), "paper": PAPER}


def preset(name: str) -> Settings:
    """Return a preset by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]

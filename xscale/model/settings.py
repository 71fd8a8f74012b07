"""Settings of the learned part. Every field is read by the code; presets are in xscale.training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from xscale import plugins
from xscale.errors import ConfigError

ENCODINGS = "xscale.encodings"
"""Group of the plug-ins that ``model.encoding`` names."""


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """Multi-resolution hash grid, looked up on the surface only (Müller et al. 2022, section 3)."""

    levels: int = 16
    """Number of grids (L)."""
    features_per_level: Literal[1, 2, 4, 8] = 4
    """Trainable numbers a grid vertex has at each level (F)."""
    log2_table_size: int = 0
    """Base-2 logarithm of the most rows a level may have (T); 0 takes it from the photos: about a
    row for eight covered pixels, 2^14 to 2^21."""
    coarsest_resolution: int = 16
    """Cells along the box's longest side at the first level (N_min)."""
    finest_resolution: int = 0
    """Cells along the box's longest side at the last level (N_max); 0 takes it from the photos:
    the cell becomes `finest_cell` times the 5th-percentile pixel footprint."""
    finest_cell: float = 1.0
    """Finest cell in units of the 5th-percentile footprint, where finest_resolution is 0."""
    per_level_scale: float = 0.0
    """How much finer each level is than the one before; 0 takes it from finest_resolution."""
    interpolation: Literal["smoothstep", "linear"] = "linear"
    """How values between grid vertices are blended."""
    per_axis_box: bool = False
    """Whether each axis is scaled by its own extent (published) or all by the longest."""
    footprint_scale: float = 0.5
    """How strongly levels finer than a pixel's footprint fade (k of method section 6); 0 is off."""
    initial_range: float = 1e-4
    """Rows start uniform in plus or minus this."""

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 32:
            raise ConfigError(f"grid.levels must be 2 to 32, got {self.levels}")
        if self.log2_table_size and not 8 <= self.log2_table_size <= 28:
            raise ConfigError(
                f"grid.log2_table_size must be 8 to 28, or 0 for automatic, "
                f"got {self.log2_table_size}"
            )
        if self.per_level_scale and not 1 < self.per_level_scale <= 16:
            raise ConfigError(
                f"grid.per_level_scale must be above 1 and at most 16, or 0 for automatic, "
                f"got {self.per_level_scale}"
            )
        if self.finest_resolution and self.finest_resolution <= self.coarsest_resolution:
            raise ConfigError(
                f"grid.finest_resolution ({self.finest_resolution}) must be above "
                f"grid.coarsest_resolution ({self.coarsest_resolution}), or 0 for automatic"
            )


@dataclass(frozen=True, kw_only=True)
class ShaderSettings:
    """The deferred shader: feature and view direction to colour."""

    kind: Literal["relu", "film"] = "relu"
    """relu: two ReLU layers with spherical harmonics of the direction. film: the published
    FiLM-SIREN."""
    hidden: int = 64
    """Width of the hidden layers (relu; film is always 64)."""
    exposure: Literal["affine", "code", "none"] = "affine"
    """Exposure model of each training photo: an affine colour transform in linear light
    (relu), or a learned code of 4 numbers (film)."""

    latent: int = 0
    """Numbers that each training photo has of its own beside its exposure, as inputs of the network
    (relu; a multiple of 4; steps are slower with them). Pictures take their mean."""

    def __post_init__(self) -> None:
        if self.latent % 4 or not 0 <= self.latent <= 64:
            raise ConfigError(f"shader.latent must be a multiple of 4, 0 to 64, got {self.latent}")
        if self.kind == "film" and self.latent:
            raise ConfigError("shader.latent belongs to shader.kind=relu; use exposure=code")
        if self.kind == "relu" and self.exposure == "code":
            raise ConfigError(
                "shader.exposure=code belongs to shader.kind=film; use affine or none"
            )
        if self.kind == "film" and self.exposure == "affine":
            raise ConfigError(
                "shader.exposure=affine belongs to shader.kind=relu; use code or none"
            )


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Grid and shader together."""

    photo_range: Literal[255, 256] = 255
    """Divisor that makes 8-bit photo values the targets of training, and factor
    when pictures are written; 256 is the published rule."""

    encoding: str = "hash"
    """Where features are kept: in a hash grid looked up on the surface (hash), or, to compare it
    with, at the mesh's vertices (vertex), in a texture (texture), or in the grid looked up at
    points of the ray around the surface (volume); or by another package's plug-in. All have the
    grid's numbers of parameters; what is not hash is slow."""
    background: Literal["auto", "learned", "white"] = "auto"
    """Background where the mesh covers nothing: a picture of all directions that is learned
    from the training photos, or white (published). auto is learned where photos see anything but
    the mesh, and white where most have masks: what surrounds the object is then left out."""
    grid: GridSettings = field(default_factory=GridSettings)
    """The hash grid."""
    shader: ShaderSettings = field(default_factory=ShaderSettings)
    """The shader."""

    def __post_init__(self) -> None:
        if self.encoding != "hash" and self.encoding not in plugins.names(ENCODINGS):
            known = ", ".join(("hash", *plugins.names(ENCODINGS)))
            raise ConfigError(f"model.encoding must be one of {known}, got {self.encoding!r}")

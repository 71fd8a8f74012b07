"""The ops: every one a public function with a PyTorch reference and compiled bodies behind it."""

from __future__ import annotations

from xscale.ops._control import FIELDS as CONTROL_FIELDS
from xscale.ops._control import decide, step_control
from xscale.ops._devices import own_stream, pick_device, pinned, unusable_advice, why_unusable
from xscale.ops._dispatch import OPS, choice, use_backend
from xscale.ops._ext import (
    built,
    cuda_built,
    has_body,
    import_failure,
    isa,
    limit_threads,
    module_path,
)
from xscale.ops._memory import table_zeros, touched_bits
from xscale.ops._peers import encoding, use_peers
from xscale.ops._rays import camera_rays
from xscale.ops.adam import adam
from xscale.ops.breaks import NOT_NEEDED, breaks
from xscale.ops.encode import (
    GridLayout,
    encode,
    encode_backward,
    encode_backward_position,
    grid_layout,
)
from xscale.ops.fused_frame import FrameGrid, FrameShader, fused_frame
from xscale.ops.fused_step import StepGrid, StepRays, StepResult, StepShader, fused_step, turned
from xscale.ops.interpolate import SurfacePoints, interpolate
from xscale.ops.rasterize import rasterize
from xscale.ops.reproject import BACKDROP_STEP, KeyFrames, Reprojected, backdrop_size, reproject
from xscale.ops.shade import ShadeGradients, shade, shade_backward, shade_train
from xscale.ops.shade_film_codes import (
    FilmCodeLayout,
    film_code_init,
    film_codes_init,
    film_exposure,
    film_light,
    film_mapping,
    limit_code_norm,
)
from xscale.ops.shade_layouts import (
    FilmShaderLayout,
    ReluShaderLayout,
    ShaderLayout,
    film_shader_init,
    identity_exposure,
    relu_shader_init,
)
from xscale.ops.shade_math import linear_to_srgb, shade_loss, spherical_harmonics, srgb_to_linear
from xscale.ops.sides import BACK, BOTH, FRONT, sides

__all__ = [
    "BACK",
    "BACKDROP_STEP",
    "BOTH",
    "CONTROL_FIELDS",
    "FRONT",
    "NOT_NEEDED",
    "OPS",
    "FilmCodeLayout",
    "FilmShaderLayout",
    "FrameGrid",
    "FrameShader",
    "GridLayout",
    "KeyFrames",
    "ReluShaderLayout",
    "Reprojected",
    "ShadeGradients",
    "ShaderLayout",
    "StepGrid",
    "StepRays",
    "StepResult",
    "StepShader",
    "SurfacePoints",
    "adam",
    "backdrop_size",
    "breaks",
    "built",
    "camera_rays",
    "choice",
    "cuda_built",
    "decide",
    "encode",
    "encode_backward",
    "encode_backward_position",
    "encoding",
    "film_code_init",
    "film_codes_init",
    "film_exposure",
    "film_light",
    "film_mapping",
    "film_shader_init",
    "fused_frame",
    "fused_step",
    "grid_layout",
    "has_body",
    "identity_exposure",
    "import_failure",
    "interpolate",
    "isa",
    "limit_code_norm",
    "limit_threads",
    "linear_to_srgb",
    "module_path",
    "own_stream",
    "pick_device",
    "pinned",
    "rasterize",
    "relu_shader_init",
    "reproject",
    "shade",
    "shade_backward",
    "shade_loss",
    "shade_train",
    "sides",
    "spherical_harmonics",
    "srgb_to_linear",
    "step_control",
    "table_zeros",
    "touched_bits",
    "turned",
    "unusable_advice",
    "use_backend",
    "use_peers",
    "why_unusable",
]

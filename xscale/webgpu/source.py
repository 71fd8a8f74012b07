"""The WGSL of a picture: package files put together, with a run's sizes as constants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Number = Literal["float32", "float16", "snorm8"]
"""How a table's numbers are stored."""

_BLOCK = re.compile(
    r"^//\{ \$([a-z]) in ([A-Z]+)\n((?:(?!^//\{).)*?)^//\}\n", re.DOTALL | re.MULTILINE
)
"""Innermost lines that stand between //{ $x in NAME and //}, once for every item of a list."""
_CONSTANT = re.compile(r"\$([A-Z][A-Z0-9_]*)")
_LANES = 64

_VALUES: Mapping[tuple[Number, int], tuple[str, str]] = {
    ("float32", 1): ("f32", "return vec4f($T[row], 0.0, 0.0, 0.0);"),
    ("float32", 2): ("vec2f", "return vec4f($T[row], 0.0, 0.0);"),
    ("float32", 4): ("vec4f", "return $T[row];"),
    ("float32", 8): ("vec4f", "return $T[2u * row + part];"),
    ("float16", 1): (
        "u32",
        "let pair = unpack2x16float($T[row >> 1u]); "
        "return vec4f(select(pair.x, pair.y, (row & 1u) != 0u), 0.0, 0.0, 0.0);",
    ),
    ("float16", 2): ("u32", "return vec4f(unpack2x16float($T[row]), 0.0, 0.0);"),
    ("float16", 4): (
        "vec2u",
        "let bits = $T[row]; return vec4f(unpack2x16float(bits.x), unpack2x16float(bits.y));",
    ),
    ("float16", 8): (
        "vec2u",
        "let bits = $T[2u * row + part]; "
        "return vec4f(unpack2x16float(bits.x), unpack2x16float(bits.y));",
    ),
    ("snorm8", 1): (
        "u32",
        "return vec4f(unpack4x8snorm($T[row >> 2u] >> (8u * (row & 3u))).x, 0.0, 0.0, 0.0);",
    ),
    ("snorm8", 2): (
        "u32",
        "return vec4f(unpack4x8snorm($T[row >> 1u] >> (16u * (row & 1u))).xy, 0.0, 0.0);",
    ),
    ("snorm8", 4): ("u32", "return unpack4x8snorm($T[row]);"),
    ("snorm8", 8): ("u32", "return unpack4x8snorm($T[2u * row + part]);"),
}
"""Element of the table's array and body of the function that reads four numbers, by number type
and features a level."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and choices that the text of a picture's shaders depends on."""

    levels: int
    width: int
    """Features a level: 1, 2, 4 or 8."""
    hidden: int
    shader: Literal["relu", "film"]
    sh_degree: int
    smoothstep: bool
    number: Number
    groups: tuple[int, ...]
    """One past the last level of each binding of the table."""
    weights: Literal["uniform", "storage"]
    half: bool = False
    """Whether the network computes in float16 (needs the feature shader-f16)."""
    lens: bool = False
    """Whether rays come from a texture, for lenses that bend them."""
    floats: bool = False
    """Whether colours are written as float32 and depths beside them, in place of bytes."""
    depth: bool = False
    """Whether depths are written beside bytes."""

    @property
    def lanes(self) -> int:
        """Threads of a workgroup: their layers share 16 KiB, which every adapter grants."""
        return _LANES if self.hidden <= 64 else _LANES // 2

    @property
    def planes(self) -> int:
        """Words a pixel."""
        return 4 if self.floats else 2 if self.depth else 1


@cache
def text(name: str) -> str:
    """Return a WGSL file of the package."""
    return (files("xscale.webgpu") / "wgsl" / name).read_text("utf-8")


def draw_source() -> str:
    """Return the module that draws face ids: ``draw_vertex`` and ``draw_fragment``."""
    return "".join(text(f"{name}.wgsl") for name in ("camera", "mesh", "draw"))


def choose_source() -> str:
    """Return the module that chooses the faces of bent rays: ``choose``."""
    return "".join(text(f"{name}.wgsl") for name in ("camera", "mesh", "probe", "choose"))


def walk_source() -> str:
    """Return the module that finds the faces of rays that no candidate settled: ``walk``."""
    return "".join(text(f"{name}.wgsl") for name in ("camera", "mesh", "probe", "walk"))


def reproject_source() -> str:
    """Return the module that takes colours from key frames: ``reproject``."""
    return "".join(text(f"{name}.wgsl") for name in ("camera", "mesh", "points", "reproject"))


def page_sources() -> dict[str, str]:
    """Return the modules that only pages need: background, several samples, canvas."""
    camera = text("camera.wgsl")
    return {
        "sky": camera + text("sky.wgsl"),
        "gather": camera + text("gather.wgsl"),
        "present": text("present.wgsl"),
    }


def paint_source(sizes: Sizes) -> str:
    """Return the module that turns face ids into colours: ``paint``."""
    quads = sizes.hidden // 4
    harmonics = -(-(sizes.sh_degree**2) // 4)
    row, value = _VALUES[sizes.number, sizes.width]
    begins = (0, *sizes.groups[:-1])
    lists: dict[str, Sequence[Mapping[str, object]]] = {
        "HIDDEN": [{} for _ in range(quads)],
        "HARMONICS": [{} for _ in range(harmonics)],
        "TABLES": [
            {"BEGIN": begin, "END": end, "VALUE": value.replace("$T", f"table{g}")}
            for g, (begin, end) in enumerate(zip(begins, sizes.groups, strict=True))
        ],
    }
    constants = {
        "ROW": row,
        "WEIGHT": "t * t * (3.0 - 2.0 * t)" if sizes.smoothstep else "t",
        "WIDTH": sizes.width,
        "PARTS": max(sizes.width // 4, 1),
        "PRODUCT": _product(sizes.width),
        "LEVELS": sizes.levels,
        "QUADS": quads,
        "INPUTS2": quads + harmonics,
        "MATRIX1": -(-sizes.levels * sizes.width // 4) * quads,
        "MATRIX2": quads * (quads + harmonics),
        "SQUARE": quads * quads,
        "TWO_QUADS": 2 * quads,
        "TWO_SQUARES": 2 * quads * quads,
        "CODES_QUADS": 4 * quads,
        "CODES": 4 * quads * quads,
        "SPACE": "uniform" if sizes.weights == "uniform" else "storage, read",
        "LANES": sizes.lanes,
        "KEPT": sizes.lanes * quads,
        "WORK_ROWS": sizes.lanes // 8,
        "RAYS": "@group(0) @binding(7) var rays: texture_2d<f32>;\n" if sizes.lens else "",
        "RAY": "texture_ray(pixel)" if sizes.lens else "pinhole_ray(frame, pixel)",
        "MISS": _store(sizes, None),
        "STORE": _store(sizes, "colour"),
    }
    first = _filled(text("first_layer.wgsl"), lists, constants)
    names = ["camera", "mesh", "points", "encode", "head", f"shade_{sizes.shader}", "frame"]
    whole = _numbers(sizes.half) + "".join(text(f"{name}.wgsl") for name in names)
    if sizes.lens:
        whole += text("lens.wgsl")
    return _filled(whole, lists, {**constants, "FIRST_LAYER": first.rstrip("\n")})


def _numbers(half: bool) -> str:
    """Return the names of the network's numbers."""
    if half:
        return (
            "enable f16;\nalias Real = f16;\nalias Quad = vec4<f16>;\nalias Block = mat4x4<f16>;\n"
        )
    return "alias Real = f32;\nalias Quad = vec4f;\nalias Block = mat4x4f;\n"


def _product(width: int) -> str:
    """Return the product of a block of the first matrix with the features of a part."""
    if width >= 4:
        return "net.matrix1[w + $qu] * f"
    columns = [
        f"net.matrix1[w + $qu][(c & 3u) + {i}u] * f.{axis}" for i, axis in enumerate("xy"[:width])
    ]
    return " + ".join(columns)


def _store(sizes: Sizes, colour: str | None) -> str:
    """Return the statements that write a pixel; without a colour those of a miss."""
    if sizes.floats:
        planes = [f"bitcast<u32>({colour}.{axis})" for axis in "rgb"] if colour else ["0u"] * 3
    elif colour:
        planes = [f"pack4x8unorm(vec4f({colour}, 1.0))"]
    else:
        planes = ["0x00ffffffu"]
    if sizes.floats or sizes.depth:
        planes.append("bitcast<u32>(hit.depth)" if colour else "0u")
    return " ".join(
        f"picture[{f'{i}u * plane + ' if i else ''}place] = {value};"
        for i, value in enumerate(planes)
    )


def _filled(
    body: str,
    lists: Mapping[str, Sequence[Mapping[str, object]]],
    constants: Mapping[str, object],
) -> str:
    """Return a text with its blocks repeated and its constants written out."""

    def repeated(found: re.Match) -> str:
        variable, name, block = found.groups()
        return "".join(
            _constants(block.replace(f"${variable}", str(i)), values)
            for i, values in enumerate(lists[name])
        )

    body = _constants(body, {"PRODUCT": constants["PRODUCT"]})
    while (inner := _BLOCK.sub(repeated, body)) != body:
        body = inner
    return _constants(body, constants)


def _constants(body: str, values: Mapping[str, object]) -> str:
    """Write constants out; those without a value stay."""

    def written(found: re.Match) -> str:
        name = found.group(1)
        return str(values[name]) if name in values else found.group(0)

    return _CONSTANT.sub(written, body)

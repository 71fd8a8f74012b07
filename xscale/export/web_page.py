"""A run as a web page: one file that opens from disk, or a folder for a web server."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import simplejpeg

from xscale.errors import ResourceError, UsageError
from xscale.export.page_quality import Quality, compare
from xscale.export.page_views import limited, photo_views, places, plain
from xscale.geometry.camera import Camera
from xscale.io import storage
from xscale.io.file_sets import atomic_folder
from xscale.model.background import Background
from xscale.ops import FilmShaderLayout
from xscale.render.run import Run
from xscale.webgpu import codec, layout, source
from xscale.webgpu.device import WEB_LIMITS
from xscale.webgpu.pieces import mesh_pieces

SCRIPTS = ("data", "maths", "gpu", "painter", "control", "ui", "main")
"""Parts of the page's script, in order: what stands first is used by what follows."""
_POSTER = 1280
_JAVASCRIPT_LIMITS = {
    "maxStorageBufferBindingSize": "max-storage-buffer-binding-size",
    "maxBufferSize": "max-buffer-size",
    "maxStorageBuffersPerShaderStage": "max-storage-buffers-per-shader-stage",
}


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Choices of a page."""

    table: codec.TableKind | None = None
    """Form of the table; None takes 8bit, or 6bit where only that keeps to the size."""
    size_limit: float | None = None
    """Megabytes (10^6 bytes) that the page may have."""
    folder: bool = False
    """Whether files for a web server are written in place of one file."""
    title: str | None = None
    """Title; None takes the scene folder's name."""
    credit: str = ""
    """Line below the title."""
    unit: str | None = None
    """Name of the scene's unit of length, for measurements."""
    path: Sequence[Camera] | None = None
    """Camera path of the world frame; None circles around what the photos show."""


@dataclass(frozen=True)
class WrittenPage:
    """A finished page."""

    table: codec.TableKind
    size: int
    """Bytes of all its files."""
    parts: Mapping[str, int]
    """Compressed bytes of mesh, table, and the rest."""
    quality: Quality


def write_page(
    run: Run, out: Path, options: PageOptions, *, overwrite: bool = False
) -> WrittenPage:
    """Write a run as a web page.

    Args:
        run: The run.
        out: The file, or with ``options.folder`` the folder.
        options: Choices.
        overwrite: Whether existing files are replaced.

    Raises:
        UsageError: WebGPU does not draw this run, or the limit makes no sense.
        NumericsError: The model has NaN or infinite numbers.
        ResourceError: The page does not keep to the limit, or does not fit a browser's limits.
        StorageError: It cannot be written.
    """
    encoding = run.manifest.model.encoding
    if encoding != "hash":
        raise UsageError(
            f"pages draw hash grids, and this run has model.encoding={encoding}",
            where=run.path,
            advice="export a mesh or points",
        )
    if options.size_limit is not None and not options.size_limit > 0:
        raise UsageError(f"--size-limit must be above 0, got {options.size_limit:g}")
    kinds = [options.table] if options.table else ["8bit", "6bit"]
    if options.size_limit is None:
        kinds = kinds[:1]
    mesh = page_mesh(run)
    for kind in kinds:
        page = _Page(run, mesh, kind, options)
        documents = page.documents()
        size = sum(len(data) for data in documents.values())
        if options.size_limit is None or size <= options.size_limit * 1e6:
            break
    else:
        raise ResourceError(
            f"the page takes {size / 1e6:.1f} MB with --table {kind}, more than --size-limit "
            f"{options.size_limit:g}",
            advice="train with a smaller grid.log2_table_size, or raise the limit",
        )
    if options.folder:
        with atomic_folder(out, overwrite=overwrite) as folder:
            for name, data in documents.items():
                storage.write_bytes(folder / name, data)
    else:
        storage.write_bytes(out, documents["index.html"], overwrite=overwrite)
    return WrittenPage(kind, size, page.sizes(), page.quality())


def page_mesh(run: Run) -> codec.PackedMesh:
    """Return the mesh that a run's page has."""
    surface = run.surface
    grid = run.model.field.layout
    sides = getattr(surface, "sides", None)
    return codec.packed_mesh(
        surface.vertices.cpu().numpy(),
        surface.faces.cpu().numpy(),
        surface.cluster_face_ids.cpu().numpy(),
        grid.scales[-1] + 1,
        None if sides is None else 3 - sides.cpu().numpy(),
    )


class _Page:
    """The parts of a page, and its document."""

    def __init__(
        self, run: Run, mesh: codec.PackedMesh, kind: codec.TableKind, options: PageOptions
    ) -> None:
        self._run, self._mesh, self._options = run, mesh, options
        grid = run.model.field.frame_grid()
        self._grid = grid
        self._table = codec.quantised(grid, kind)
        self._shader = run.model.shader.frame_shader()
        film = isinstance(self._shader.layout, FilmShaderLayout)
        net = layout.net_bytes(self._shader, self._table.steps)
        levels = grid.layout.levels
        small = len(net) + layout.LEVEL_BYTES * levels <= layout.UNIFORM_LIMIT
        binding = WEB_LIMITS["max-storage-buffer-binding-size"]
        free = WEB_LIMITS["max-storage-buffers-per-shader-stage"] - 3 - (not small)
        try:
            self._groups = layout.table_groups(grid.layout, self._table.number, binding, free)
        except ResourceError as error:
            raise ResourceError(f"pages: {error.what}", advice="give --table 8bit") from error
        if len(mesh_pieces(mesh.vertices, mesh.faces, binding)) > 1:
            raise ResourceError(
                f"the mesh of {len(mesh.faces):,} faces is too large for a page: browsers grant "
                f"{binding / 2**20:.0f} MiB, about {binding // 12 / 1e6:.0f} million faces",
                advice="train on a simplified mesh",
            )
        self._sizes = source.Sizes(
            levels=levels,
            width=grid.layout.features_per_level,
            hidden=self._shader.layout.hidden,
            shader="film" if film else "relu",
            sh_degree=4 if film else self._shader.layout.sh_degree,
            smoothstep=grid.interpolation == "smoothstep",
            number=self._table.number,
            groups=self._groups,
            weights="uniform" if small else "storage",
        )
        raw = {"mesh": mesh.data, "net": layout.level_bytes(grid.layout, self._groups) + net}
        background = run.background
        self._sky = background if isinstance(background, Background) else None
        if mesh.hidden is not None:
            raw["sides"] = mesh.hidden.tobytes()
        if self._sky is not None:
            raw["sky"] = self._sky.texture.cpu().numpy().tobytes()
        for number, data in enumerate(codec.level_parts(self._table, grid.layout)):
            raw[f"level-{number}"] = data
        self._raw = {name: len(data) for name, data in raw.items()}
        self._parts = {name: codec.packed(data) for name, data in raw.items()}

    def sizes(self) -> dict[str, int]:
        """Return the compressed bytes of the mesh, the table and the rest."""
        found = {"mesh": 0, "table": 0, "rest": 0}
        for name, data in self._parts.items():
            kind = name if name == "mesh" else "table" if name.startswith("level") else "rest"
            found[kind] += len(data)
        return found

    def documents(self) -> dict[str, bytes]:
        """Return the page's files by name."""
        style = _text("page.css")
        script = (
            '(() => {\n"use strict";\n' + "".join(_text(f"{s}.js") for s in SCRIPTS) + "})();\n"
        )
        folder = self._options.folder
        policy = (
            "default-src 'none'; img-src data: blob:; "
            f"style-src '{_digest(style)}'; "
            f"script-src '{_digest(script)}'; connect-src '{'self' if folder else 'none'}'; "
            "base-uri 'none'; form-action 'none'"
        )
        title = self._title()
        body = (
            _text("body.html")
            .replace(
                "$POSTER", "data:image/jpeg;base64," + base64.b64encode(self._poster()).decode()
            )
            .replace("$TITLE", html.escape(title))
            .replace("$CREDIT", html.escape(plain(self._options.credit)))
        )
        # No text of a run can end the element: JSON keeps its meaning without "<".
        meta = json.dumps(self._meta(), allow_nan=False).replace("<", "\\u003c")
        head = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1, '
            'viewport-fit=cover">\n<meta name="generator" content="xscale">\n'
            f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        )
        text = head + body + f'<script id="meta" type="application/json">{meta}</script>\n'
        text += f"<script>{script}</script>\n"
        if folder:
            found = {f"{name}.gz": data for name, data in self._parts.items()}
            return {"index.html": (text + "</body>\n</html>\n").encode(), **found}
        texts = [text]
        for name, data in self._parts.items():
            texts.append(
                f'<script type="text/plain" id="part-{name}">{codec.as_text(data)}</script>\n'
            )
        texts.append('<script type="text/plain" id="part-end"></script>\n</body>\n</html>\n')
        return {"index.html": "".join(texts).encode("utf-8")}

    def quality(self) -> Quality:
        """Compare pictures of some views with the run's own."""
        return compare(self._run, self._mesh, self._table)

    def _poster(self) -> bytes:
        camera = limited(photo_views(self._run)[0][1], _POSTER)
        colour = self._run.render(camera).colour.cpu().numpy()
        return simplejpeg.encode_jpeg(np.ascontiguousarray(colour), quality=82)

    def _title(self) -> str:
        name = Path(self._run.manifest.scene.root).name or self._run.path.name
        return plain(name if self._options.title is None else self._options.title)

    def _meta(self) -> dict[str, object]:
        """Return what the page's script needs to know."""
        grid, mesh, sky = self._grid, self._mesh, self._sky
        box = grid.box.cpu().double().numpy()
        texts = {"draw": source.draw_source(), "paint": source.paint_source(self._sizes)}
        background: dict[str, object] = {
            "learned": False, "box": False, "rows": 1, "grey": 1.0,
            "low": [0.0] * 3, "high": [0.0] * 3, "axis": 2, "places": [],
        }  # fmt: skip
        if sky is not None:
            background |= {
                "learned": True, "box": sky.kind == "box", "rows": sky.texture.shape[-3],
                "low": sky.low.tolist(), "high": sky.high.tolist(), "axis": getattr(sky, "axis", 2),
                "places": _places_of(sky),
            }  # fmt: skip
        return {
            "folder": self._options.folder,
            "limits": {js: WEB_LIMITS[name] for js, name in _JAVASCRIPT_LIMITS.items()},
            "wgsl": {**texts, **source.page_sources()},
            "weights": self._sizes.weights,
            "lanes": self._sizes.lanes // 8,
            "mesh": {
                "vertices": len(mesh.vertices), "faces": len(mesh.faces),
                "low": mesh.low.tolist(), "step": mesh.step,
            },
            **self._levels(),
            "parts": {n: {"packed": len(d), "size": self._raw[n]} for n, d in self._parts.items()},
            "centre": box[0].tolist(),
            "unit": box[1].tolist(),
            "range": self._run.manifest.model.photo_range / 255,
            "fade": float(box[1].min()) * max(grid.footprint_scale, 0.0),
            "sky": background,
            "unit_name": None if self._options.unit is None else plain(self._options.unit),
            **places(self._run, mesh.vertices, self._options.path),
        }  # fmt: skip

    def _levels(self) -> dict[str, object]:
        """Return the bytes of each binding of the table, and where each level lies in them."""
        grid = self._grid.layout
        row = self._table.data.itemsize * grid.features_per_level
        levels, sizes, begin = [], [], 0
        for group, end in enumerate(self._groups):
            first = grid.offsets[begin]
            levels += [
                {"group": group, "begin": (grid.offsets[level] - first) * row}
                for level in range(begin, end)
            ]
            sizes.append(-(-(grid.offsets[end] - first) * row // 4) * 4)
            begin = end
        return {"levels": levels, "groups": sizes}


def _places_of(sky: Background) -> list[list[float]]:
    """Return the places that a background has pictures for; none where one serves for all."""
    places = getattr(sky, "places", None)
    return [] if places is None else places.tolist()


def _text(name: str) -> str:
    return (files("xscale.webgpu") / "page" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

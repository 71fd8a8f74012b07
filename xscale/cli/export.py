"""``xscale export``: a run as files for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from xscale.cli._console import parse, progress_bar, result, say, warn

if TYPE_CHECKING:
    from xscale.render.options import RenderOptions
    from xscale.render.run import Run

_MOST_TEXELS = 1 << 28
_PREVIEW = 64
_USUAL_PAGE = 4096
_ONE_COLOUR = (".las", ".laz")
"""Formats without room for harmonics."""


@dataclass(frozen=True)
class Options:
    """Write a run for other programs: a textured mesh, a point cloud, depth maps or a web page."""

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    kind: tyro.conf.Positional[Literal["mesh", "points", "maps", "page"]]
    """mesh: .glb or .obj with textures; points: .ply, .las or .laz; maps: a folder with depth and
    normals of every photo's view; page: an .html file that shows the run in any browser with WebGPU
    and needs no server."""
    out: Path
    """The file, or the folder for maps and for page --folder."""
    texel: float | None = None
    """mesh: length of a texel in world units; default: as fine as the photos resolve."""
    page: int = 4096
    """mesh: edge of a texture in texels; there are as many textures as needed."""
    udim: bool = False
    """mesh as .obj: name and lay out textures as UDIM tiles, with a material each."""
    colour: Literal["auto", "single", "sh"] = "auto"
    """mesh, points: single writes one colour per point, which every program shows. sh adds
    spherical harmonics of the view direction: textures NAME.sh_*.png with NAME.sh.json, or the
    fields f_dc_* and f_rest_* of a .ply. auto adds them if the format can hold them (not .las,
    .laz)."""
    degree: Literal[1, 2] = 1
    """sh: degree of the harmonics."""
    points: int = 1_000_000
    """points: number of points, spread evenly over the surface."""
    data: Literal["npy", "exr", "tiff"] = "exr"
    """maps: format of depth and normals."""
    table: Literal["8bit", "6bit", "f16"] | None = None
    """page: form of the hash table; 6bit is smaller, f16 exact; default: 8bit, or 6bit if 8bit is
    too large for --size-limit."""
    size_limit: float | None = None
    """page: largest size in megabytes."""
    folder: bool = False
    """page: write a folder for a web server; a first picture shows before everything is loaded."""
    title: str | None = None
    """page: its title; default: the name of the scene folder."""
    credit: str = ""
    """page: the line below the title."""
    unit: str | None = None
    """page: name of the scene's unit of length, for measurements."""
    path: Path | None = None
    """page: camera path to play, made by xscale path; default: a circle around what the photos
    show, unless it goes through the mesh."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    overwrite: bool = False
    """Replace existing files."""


def run(argv: list[str]) -> int:
    """Parse the options and export."""
    options = parse(Options, argv, "export")
    if options.kind == "maps":
        maps = _map_options(options)
        maps.validate(options.out, overwrite=options.overwrite, run=options.run)
    elif options.kind == "page":
        _check_page(options)
    else:
        _check_target(options)
    from xscale.render.run import Run

    opened = Run.open(options.run)
    if options.kind == "maps":
        _maps(options, opened)
    elif options.kind == "page":
        _page(options, opened)
    elif options.kind == "points":
        _points(options, opened)
    else:
        _mesh(options, opened)
    result(options.out)
    return 0


def _map_options(options: Options) -> RenderOptions:
    """Return what is rendered: depth and normals are outputs like any other."""
    from xscale.render.options import RenderOptions

    return RenderOptions(
        views=("all",),
        outputs=("depth", "normal", "depth_map", "normal_map"),
        data=options.data,
        samples=1,
    )


def _maps(options: Options, opened: Run) -> None:
    from xscale.cli._bars import bars
    from xscale.render.render_job import render_job

    maps = _map_options(options)
    with bars("rendering") as (show,):
        render_job(opened, maps, options.out, overwrite=options.overwrite, on_frame=show)


def _page(options: Options, opened: Run) -> None:
    from xscale.export.web_page import PageOptions, write_page
    from xscale.render.camera_files import read_cameras
    from xscale.render.known import known_to

    path = None
    if options.path is not None:
        found = read_cameras(options.path, None, known_to(opened)).cameras
        path = [named.camera for named in found if named.camera is not None]
    choices = PageOptions(
        table=options.table,
        size_limit=options.size_limit,
        folder=options.folder,
        title=options.title,
        credit=options.credit,
        unit=options.unit,
        path=path,
    )
    page = write_page(opened, options.out, choices, overwrite=options.overwrite)
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in page.parts.items())
    say(f"{page.size / 1e6:.1f} MB ({parts} MB compressed), table {page.table}")
    say(
        f"against the run's own pictures: {page.quality.psnr:.1f} dB, "
        f"{page.quality.within:.2%} of the pixels within a step of the byte"
    )


def _points(options: Options, opened: Run) -> None:
    import numpy as np

    from xscale.export.colour import SurfaceColour
    from xscale.export.points import spread, write_points
    from xscale.export.unwrap import surface_area

    surface = opened.surface
    vertices, faces, normals = (
        t.cpu().numpy() for t in (surface.vertices, surface.faces, surface.normals)
    )
    position, normal = spread(vertices, faces, normals, options.points)
    size = float(np.sqrt(surface_area(vertices, faces).sum() / options.points))
    colour, harmonics = SurfaceColour(opened, _degree(options)).fit(position, normal, size)
    write_points(
        options.out,
        position,
        normal,
        colour,
        np.array(opened.manifest.origin),
        harmonics=harmonics if _follows(options) else None,
        overwrite=options.overwrite,
    )


def _follows(options: Options) -> bool:
    """Whether harmonics are written beside the one colour."""
    if options.colour == "auto":
        return options.out.suffix.lower() not in _ONE_COLOUR
    return options.colour == "sh"


def _degree(options: Options) -> int:
    return options.degree if _follows(options) else 0


def _mesh(options: Options, opened: Run) -> None:
    import numpy as np

    from xscale.errors import UsageError
    from xscale.export.bake import bake
    from xscale.export.colour import SurfaceColour
    from xscale.export.mesh_files import (
        write_glb,
        write_harmonics,
        write_harmonics_index,
        write_obj,
    )
    from xscale.export.unwrap import LARGEST_PAGE, surface_area, unwrap
    from xscale.io.file_sets import atomic_files

    if not 64 <= options.page <= LARGEST_PAGE:
        raise UsageError(f"--page is 64 to {LARGEST_PAGE}, got {options.page}")
    if options.texel is not None and not 0 < options.texel < float("inf"):
        raise UsageError(f"--texel must be above 0, got {options.texel:g}")
    surface = opened.surface
    vertices, faces, normals = (
        t.cpu().numpy() for t in (surface.vertices, surface.faces, surface.normals)
    )
    area = float(surface_area(vertices, faces).sum())
    least = (area / _MOST_TEXELS) ** 0.5
    texel = options.texel or max(_resolved(opened), least)
    if texel < least:
        raise UsageError(
            f"--texel {texel:g} makes {area / texel**2:.3g} texels, at most {_MOST_TEXELS:.3g}",
            advice=f"give at least {least * 1.001:.4g}",
        )
    say(f"{len(faces):,} faces, {area / texel**2 / 1e6:.1f} million texels of {texel:.4g} units")
    colour = SurfaceColour(opened, _degree(options))
    pages, textures = [], []
    with atomic_files(options.out, overwrite=options.overwrite) as folder:
        out = folder / options.out.name
        with progress_bar() as bar:
            task = bar.add_task("unwrapping and baking", total=len(faces))
            for page in unwrap(vertices, faces, normals, texel, options.page):
                texture, harmonics = bake(page, colour, texel)
                if _follows(options):
                    write_harmonics(out, len(pages), harmonics)
                pages.append(page)
                textures.append(texture)
                bar.advance(task, len(page.faces))
        if _follows(options):
            write_harmonics_index(out, options.degree, len(pages))
        origin = np.array(opened.manifest.origin)
        if options.out.suffix.lower() == ".glb":
            write_glb(out, pages, textures, origin)
        else:
            write_obj(out, pages, textures, origin, udim=options.udim)
    sizes = ", ".join(f"{page.width} x {page.height}" for page in pages[:4])
    say(f"{len(pages)} textures: {sizes}{' ...' if len(pages) > 4 else ''}")
    largest = max(max(page.width, page.height) for page in pages)
    if largest > _USUAL_PAGE:
        warn(
            f"W-EXPORT-PAGE: textures of up to {largest} texels along an edge: some viewers and "
            f"phones take {_USUAL_PAGE} at most; --page {_USUAL_PAGE} keeps to that"
        )


def _check_page(options: Options) -> None:
    from xscale.errors import UsageError

    if options.folder == (options.out.suffix.lower() in (".html", ".htm")):
        kind = "a folder" if options.folder else "an .html file"
        raise UsageError(f"page needs {kind} as --out, got {options.out}")
    _refuse_existing(options, [options.out])


def _check_target(options: Options) -> None:
    """Refuse a file that cannot be written before the run is read."""
    from xscale.errors import UsageError
    from xscale.export.mesh_files import MESHES, targets
    from xscale.export.points import CLOUDS
    from xscale.io.file_sets import take_back

    endings = MESHES if options.kind == "mesh" else CLOUDS
    if options.out.suffix.lower() not in endings:
        raise UsageError(
            f"--out must end in {' or '.join(endings)} for {options.kind}, "
            f"got {options.out.suffix or 'no extension'}"
        )
    if options.colour == "sh" and options.out.suffix.lower() in _ONE_COLOUR:
        raise UsageError("LAS and LAZ hold one colour a point", advice="take .ply for --colour sh")
    take_back(options.out)
    wanted = [options.out]
    if options.kind == "mesh":
        wanted = targets(options.out, options.udim, _follows(options))
    _refuse_existing(options, wanted)


def _refuse_existing(options: Options, wanted: list[Path]) -> None:
    from xscale.errors import OutputExistsError

    there = [path for path in wanted if path.exists()]
    if there and not options.overwrite:
        raise OutputExistsError(
            "already exists", where=there[0], advice="choose another name or give --overwrite"
        )


def _resolved(opened: Run) -> float:
    """Return the median footprint of the training photos' pixels, world units."""
    import torch

    from xscale.errors import UsageError

    found = []
    for name in opened.names("train"):
        camera = opened.camera(name)
        small = camera.scaled(_PREVIEW, _PREVIEW)
        footprint = opened.render(small, outputs=("footprint",)).footprint
        shrunk = (camera.width * camera.height) ** 0.5 / _PREVIEW
        found.append(footprint[footprint > 0].cpu() / shrunk)
    seen = torch.cat(found) if found else torch.zeros(0)
    if not len(seen):
        raise UsageError("no training photo sees the mesh", advice="give --texel")
    return float(seen.median())

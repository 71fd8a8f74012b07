"""Textured meshes as files: GLB through trimesh, OBJ with one material a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from xscale.errors import SetupError
from xscale.export.bake import HARMONICS_RANGE
from xscale.export.unwrap import Page
from xscale.io import storage
from xscale.io.photo.images import encode_png
from xscale.io.photo.png_rows import PngRows

MESHES = (".glb", ".obj")
"""Endings of textured meshes."""
_UDIM_COLUMNS = 10
_BASIS = (
    "0.28209479177387814",
    "-0.48860251190291987 * y",
    "0.48860251190291987 * z",
    "-0.48860251190291987 * x",
    "1.0925484305920792 * x * y",
    "-1.0925484305920792 * y * z",
    "0.94617469575755997 * z * z - 0.31539156525251999",
    "-1.0925484305920792 * x * z",
    "0.54627421529603959 * (x * x - y * y)",
)
"""``ops.spherical_harmonics`` in words."""


def write_glb(
    path: Path, pages: Sequence[Page], textures: Sequence[np.ndarray], origin: np.ndarray,
    *, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write binary glTF: a primitive and a texture a page, in the scene's own axes.

    Vertices stay in the local frame and a node moves them by ``origin``, so that float32 keeps
    their detail far from the world's origin.

    Raises:
        SetupError: trimesh is not installed.
        StorageError: It cannot be written, or it already exists.
    """
    try:
        import trimesh
    except ImportError as error:
        raise SetupError("a GLB needs trimesh", advice="pip install xscale[export]") from error
    scene = trimesh.Scene()
    move = np.eye(4)
    move[:3, 3] = origin
    for number, (page, texture) in enumerate(zip(pages, textures, strict=True)):
        material = trimesh.visual.material.PBRMaterial(
            name=f"page_{number}",
            baseColorTexture=Image.fromarray(texture),
            metallicFactor=0.0,
            roughnessFactor=1.0,
            doubleSided=True,
        )
        uv = page.texel / (page.width, page.height)
        uv[:, 1] = 1 - uv[:, 1]  # trimesh counts v upwards, as OBJ does
        mesh = trimesh.Trimesh(
            page.vertices,
            page.faces,
            vertex_normals=page.normals,
            visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
            process=False,
        )
        scene.add_geometry(mesh, node_name=f"page_{number}", transform=move)
    storage.write_bytes(path, scene.export(file_type="glb"), overwrite=overwrite)


def plain_stem(path: Path) -> str:
    """Return a file's stem without blanks and signs, which readers of OBJ cut names at."""
    return re.sub(r"[^\w.+-]", "_", path.stem)


def texture_names(path: Path, count: int, udim: bool) -> list[str]:
    """Return the names of an OBJ's textures."""
    stem = plain_stem(path)
    return [f"{stem}.{1001 + k}.png" if udim else f"{stem}_{k:03d}.png" for k in range(count)]


def targets(path: Path, udim: bool, harmonics: bool) -> list[Path]:
    """Return the files that an export surely writes, to be checked before the work."""
    names = [path.name]
    if path.suffix.lower() == ".obj":
        names += [f"{plain_stem(path)}.mtl", *texture_names(path, 1, udim)]
    if harmonics:
        names += [f"{path.stem}.sh.json", *_harmonics_names(path, 0, 1)]
    return [path.with_name(name) for name in names]


def _digits(pages: Sequence[Page], origin: np.ndarray) -> int:
    """Return the digits that keep float32 detail of the local frame in world coordinates."""
    local = max((float(np.abs(page.vertices).max()) for page in pages if len(page.vertices)),
                default=1.0)  # fmt: skip
    largest = local + float(np.abs(origin).max())
    step = max(local, 1e-30) * 2**-24
    return int(np.clip(np.ceil(np.log10(max(largest, 1e-30) / step)) + 1, 9, 17))


def write_obj(
    path: Path, pages: Sequence[Page], textures: Sequence[np.ndarray], origin: np.ndarray,
    *, udim: bool = False, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write NAME.obj, NAME.mtl and a PNG a page, the OBJ last.

    Args:
        path: NAME.obj.
        pages: Parts of the mesh.
        textures: One for each.
        origin: Added to the vertices, in float64.
        udim: Textures as UDIM tiles (NAME.1001.png, ...), each in its own unit square. Every
            tile has a material that names its file: no program follows a pattern in an MTL.
        overwrite: Replace existing files.

    Raises:
        StorageError: They cannot be written, or they already exist.
    """
    names = texture_names(path, len(pages), udim)
    stem = plain_stem(path)
    for name, texture in zip(names, textures, strict=True):
        storage.write_bytes(path.with_name(name), encode_png(texture), overwrite=overwrite)
    listed = zip((f"page_{k}" for k in range(len(pages))), names, strict=True)
    materials = "".join(
        f"newmtl {name}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture}\n\n"
        for name, texture in listed
    )
    storage.write_text(path.with_name(f"{stem}.mtl"), materials, overwrite=overwrite)
    place = f"v %.{_digits(pages, origin)}g %.{_digits(pages, origin)}g %.{_digits(pages, origin)}g"
    with storage.open_atomic(path, overwrite=overwrite) as file:
        file.write(f"mtllib {stem}.mtl\n".encode())
        first = 1
        for number, page in enumerate(pages):
            uv = page.texel.astype(np.float64) / (page.width, page.height)
            uv[:, 1] = 1 - uv[:, 1]
            if udim:
                uv += np.array([number % _UDIM_COLUMNS, number // _UDIM_COLUMNS])
            faces = np.repeat(page.faces.astype(np.int64) + first, 3, axis=1)
            name = f"page_{number}"
            file.write(_lines(place, page.vertices.astype(np.float64) + origin))
            file.write(_lines("vt %.9g %.9g", uv))
            file.write(_lines("vn %.6g %.6g %.6g", page.normals))
            file.write(f"usemtl {name}\n".encode())
            file.write(_lines("f %d/%d/%d %d/%d/%d %d/%d/%d", faces))
            first += len(page.vertices)


def write_harmonics(
    path: Path, number: int, harmonics: np.ndarray, *, overwrite: bool = False
) -> None:
    """Write a page's harmonics, a 16-bit PNG a term: STEM.sh_PPP_T.png, beside the mesh.

    Args:
        path: The mesh's file.
        number: Of the page.
        harmonics: Uint16 [terms, H, W, 3], see ``bake.coded``.
        overwrite: Replace existing files.

    Raises:
        StorageError: They cannot be written, or they already exist.
    """
    for name, texture in zip(
        _harmonics_names(path, number, len(harmonics)), harmonics, strict=True
    ):
        height, width = texture.shape[:2]
        with storage.open_atomic(path.with_name(name), overwrite=overwrite) as file:
            png = PngRows(file, width, height, 3, np.dtype(np.uint16))
            png.write(texture)
            png.finish()


def write_harmonics_index(path: Path, degree: int, pages: int, *, overwrite: bool = False) -> None:
    """Write STEM.sh.json, which says how the harmonics' textures are to be read.

    Args:
        path: The mesh's file.
        degree: Of the harmonics.
        pages: How many textures the mesh has.
        overwrite: Replace an existing file.
    """
    terms = (degree + 1) ** 2
    document = {
        "format": 1,
        "degree": degree,
        "range": HARMONICS_RANGE,
        "colour": "sRGB = 0.5 + sum over terms of (value / 65535 * 2 - 1) * range * basis(d)",
        "direction": "d: unit, from camera to point, in the axes of the mesh's file",
        "basis": [_BASIS[k] for k in range(terms)],
        "pages": [_harmonics_names(path, k, terms) for k in range(pages)],
    }
    storage.write_json(path.with_name(f"{path.stem}.sh.json"), document, overwrite=overwrite)


def _harmonics_names(path: Path, number: int, terms: int) -> list[str]:
    return [f"{path.stem}.sh_{number:03d}_{term}.png" for term in range(terms)]


def _lines(form: str, rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savetxt(buffer, rows, fmt=form)
    return buffer.getvalue()

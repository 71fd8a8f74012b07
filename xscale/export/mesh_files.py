"""Textured meshes as files: GLB through trimesh, OBJ with one material a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from xscale.errors import SetupError
from xscale.export.unwrap import Page
from xscale.io import storage
from xscale.io.images import encode_png

MESHES = (".glb", ".obj")
"""Endings of textured meshes."""
_UDIM_COLUMNS = 10


def write_glb(
    path: Path, pages: Sequence[Page], textures: Sequence[np.ndarray], origin: np.ndarray,
    *, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write binary glTF: a primitive and a texture a page, in the scene's own axes.

    Vertices stay in the local frame and a node moves them by ``origin``, so that float32 keeps
    their detail far from the world's origin.

    Raises:
        SetupError: trimesh is not installed.
        StorageError: It cannot be written, or is there already.
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
        udim: Pages as UDIM tiles (NAME.1001.png, ...), each in its own unit square of one
            material, instead of a material each.
        overwrite: Replace existing files.

    Raises:
        StorageError: They cannot be written, or are there already.
    """
    names = [
        f"{path.stem}.{1001 + k}.png" if udim else f"{path.stem}_{k:03d}.png"
        for k in range(len(pages))
    ]
    for name, texture in zip(names, textures, strict=True):
        storage.write_bytes(path.with_name(name), encode_png(texture), overwrite=overwrite)
    listed = [("udim", f"{path.stem}.<UDIM>.png")] if udim else list(
        zip((f"page_{k}" for k in range(len(pages))), names, strict=True)
    )  # fmt: skip
    materials = "".join(
        f"newmtl {name}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture}\n\n"
        for name, texture in listed
    )
    storage.write_text(path.with_suffix(".mtl"), materials, overwrite=overwrite)
    with storage.open_atomic(path, overwrite=overwrite) as file:
        file.write(f"mtllib {path.stem}.mtl\n".encode())
        first = 1
        for number, page in enumerate(pages):
            uv = page.texel.astype(np.float64) / (page.width, page.height)
            uv[:, 1] = 1 - uv[:, 1]
            if udim:
                uv += np.array([number % _UDIM_COLUMNS, number // _UDIM_COLUMNS])
            faces = np.repeat(page.faces.astype(np.int64) + first, 3, axis=1)
            name = "udim" if udim else f"page_{number}"
            file.write(_lines("v %.9g %.9g %.9g", page.vertices.astype(np.float64) + origin))
            file.write(_lines("vt %.9g %.9g", uv))
            file.write(_lines("vn %.6g %.6g %.6g", page.normals))
            file.write(f"usemtl {name}\n".encode())
            file.write(_lines("f %d/%d/%d %d/%d/%d %d/%d/%d", faces))
            first += len(page.vertices)


def _lines(form: str, rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savetxt(buffer, rows, fmt=form)
    return buffer.getvalue()

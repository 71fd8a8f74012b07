"""Simplified mesh that stands for a very large one while the camera moves.

It is made once, by quadric error metrics (package fast-simplification), and kept in the run's
folder; at rest the whole mesh is rendered.

Source: Garland and Heckbert, "Surface Simplification Using Quadric Error Metrics", 1997.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from xscale import ops
from xscale.errors import IntegrityError, StorageError
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.gbuffer.stored import stored_surface
from xscale.geometry.mesh import Mesh
from xscale.render.run import Run
from xscale.render.sinks import module
from xscale.run.folder import SIMPLIFIED

HEAVY_FACES = 5_000_000
"""Faces above which a mesh is simplified for moving pictures."""
PROXY_FACES = 1_000_000
"""Faces that it is then simplified to."""
_SOURCE = "source_faces"


def proxy_surface(run: Run, faces: int = PROXY_FACES) -> Surface:
    """Return a run's mesh with about so many faces, from the run's folder or made now.

    A folder that cannot be written keeps nothing; the proxy is then made again the next time.

    Args:
        run: The opened run.
        faces: How many.

    Raises:
        SetupError: The package is missing.
    """
    surface = run.surface
    stored = _stored(run, len(surface.faces))
    if stored is not None:
        return _sided(stored, surface)
    made = simplified(surface.two_sided(), faces)
    arrays = {name: tensor.cpu().numpy() for name, tensor in made.tensors().items()}
    arrays[_SOURCE] = np.array([len(surface.faces)], np.int64)
    try:
        run.folder.write(SIMPLIFIED, arrays, run.manifest.run)
    except StorageError as error:
        run.warnings.append(f"W-PROXY: the simplified mesh was not kept: {error}")
    return _sided(made, surface)


def _sided(proxy: Surface, surface: Surface) -> Surface:
    """Return the proxy with the sides that nearly all faces of the mesh itself have."""
    if surface.sides is None:
        return proxy
    usual = int(torch.bincount(surface.sides.cpu(), minlength=ops.BOTH + 1).argmax())
    return replace(proxy, sides=proxy.faces.new_full((len(proxy.faces),), usual).byte())


def simplified(surface: Surface, faces: int) -> Surface:
    """Return a mesh with about so many faces; with as many as it has where those are fewer.

    Args:
        surface: The mesh.
        faces: How many.

    Raises:
        SetupError: The package is missing.
    """
    if len(surface.faces) <= faces:
        return surface
    simplification = module("fast_simplification", "moving through a mesh this large", "viewer")
    vertices, triangles = simplification.simplify(
        np.ascontiguousarray(surface.vertices.cpu().numpy(), np.float32),
        np.ascontiguousarray(surface.faces.cpu().numpy(), np.int32),
        target_count=faces,
    )[:2]
    mesh = Mesh(
        vertices=np.ascontiguousarray(vertices, np.float32),
        faces=np.ascontiguousarray(triangles, np.int32),
        origin=np.zeros(3),
    )
    return build_surface(mesh, surface.vertices.device)


def _stored(run: Run, faces: int) -> Surface | None:
    """Return the proxy that the run's folder holds; None where there is no good one."""
    if not run.folder.has(SIMPLIFIED):
        return None
    try:
        arrays = dict(run.folder.read(SIMPLIFIED))
        source = arrays.pop(_SOURCE, np.zeros(1, np.int64))
        # Vertices that a later training moved leave the faces as they were: no reason to discard.
        if source.tolist() != [faces]:
            return None
        return stored_surface(arrays, torch.device(run.device), run.path / SIMPLIFIED)
    except IntegrityError as error:
        run.warnings.append(f"W-PROXY: the simplified mesh is made again: {error}")
        return None

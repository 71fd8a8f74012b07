"""A small picture on an adapter, for ``xscale doctor``."""

from __future__ import annotations

import numpy as np

from xscale import ops
from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.ops._selftest import frame_problem
from xscale.webgpu.device import Device
from xscale.webgpu.painter import Painter

TOLERANCE = 1.001 / 255
"""Largest error of a pixel whose face is the reference's, as a share of white: float32 positions
move a colour by less than a step of the byte."""


def self_test(device: Device) -> float:
    """Return the error of the pixels that show the reference's face, as a share of white.

    Infinity where more than 0.3 % show another face: graphics chips place corners on a grid of
    1/256 pixel, so that only pixels on edges may differ.
    """
    (vertices, faces), packed, face_id, grid, shader = frame_problem("relu")
    mesh = Mesh(vertices=vertices.numpy(), faces=faces.numpy(), origin=np.zeros(3))
    painter = Painter(device, build_surface(mesh), grid, shader)
    height, width = face_id.shape
    found = painter.paint(
        pinhole(packed.numpy(), width, height), (0, 0, width, height), shader, faces=True
    )
    with ops.use_backend("reference"):
        exact = ops.fused_frame(vertices, faces, packed, face_id, grid, shader).numpy()
    same = found.face == face_id.numpy()
    if same.mean() < 0.997:
        return float("inf")
    return float(np.abs(found.colour[same].astype(int) - exact[same]).max()) / 255


def pinhole(packed: np.ndarray, width: int, height: int) -> Camera:
    """Return the pinhole camera that 32 packed numbers hold."""
    K = np.array([[packed[12], packed[16], packed[14]], [0, packed[13], packed[15]], [0, 0, 1]])
    return Camera(
        "PINHOLE", width, height, K, packed[:9].reshape(3, 3), packed[9:12], near=packed[17]
    )
